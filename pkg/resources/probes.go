/*
Copyright 2026 The ray-operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package resources

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	// minReadySecondsWithoutProbe is for how long a Pod without a readiness probe must run until it is
	// available: a container that crashes at its start must never count.
	minReadySecondsWithoutProbe = 5
	// minReadySecondsOfHead is for how long a head with a generated start must be ready until it is
	// available. It is ready when its GCS serves, so that workers reach it, but its raylet registers some
	// seconds later. Meanwhile, workers of a head that was replaced notice it and are not ready. On two
	// cores, both take four seconds. The workers that join next take seven, and need not wait for the head.
	minReadySecondsOfHead = 10
)

// minReadySeconds returns for how long a Pod of a group must be ready until it is available.
func minReadySeconds(group Group, template *corev1.PodTemplateSpec) int32 {
	hasProbe := func(container corev1.Container) bool { return container.ReadinessProbe != nil }
	switch {
	case group.IsHead() && generatesStart(group.Template):
		return minReadySecondsOfHead
	case slices.ContainsFunc(template.Spec.Containers, hasProbe):
		return 0
	default:
		return minReadySecondsWithoutProbe
	}
}

// setDiagnostics sets, in the container that runs Ray, what shows whether Ray works, unless the user
// set it: the last lines of the log explain a crash, and a head is ready when its GCS listens.
func setDiagnostics(container *corev1.Container, role rayv1.Role) {
	if container.TerminationMessagePolicy == "" {
		container.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	}
	listensGCS := slices.ContainsFunc(container.Ports, func(port corev1.ContainerPort) bool { return isTCPPort(port, gcsPort) })
	if role == rayv1.RoleHead && container.ReadinessProbe == nil && listensGCS {
		container.ReadinessProbe = &corev1.Probe{ProbeHandler: tcpProbe(gcsPort)}
	}
}

// addStartProbes adds the probes of a generated start, unless the user set them:
//
//   - A head has started and is ready when its GCS serves: workers can reach it only then.
//   - A worker has started and is ready when its agent reports that it is alive in the GCS. Its raylet
//     listens some seconds earlier.
//   - A node lives while its raylet answers the health check that Ray itself uses. It needs no Python, so a
//     busy node answers, and does not depend on the head, so workers survive its absence.
func addStartProbes(container *corev1.Container, role rayv1.Role) {
	ready := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/api/local_raylet_healthz", Port: intstr.FromInt32(agentPort)}}
	if role == rayv1.RoleHead {
		ready = newHealthProbe(container, gcsPort)
	}
	if container.StartupProbe == nil {
		// A worker waits up to 13 minutes for its head: pulling the head's image can take long.
		container.StartupProbe = newProbe(ready, 2, 600)
	}
	if container.LivenessProbe == nil {
		// After a drain the raylet exits, but ray start does not.
		container.LivenessProbe = newProbe(newHealthProbe(container, rayletPort), 10, 6)
	}
	if container.ReadinessProbe == nil {
		container.ReadinessProbe = newProbe(ready, 5, 3)
	}
}

func newProbe(handler corev1.ProbeHandler, period, failures int32) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: handler, PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5}
}

// newHealthProbe returns a probe of the gRPC health service of a port. If the port may use TLS, it only
// connects, since the kubelet has no certificate of the cluster.
func newHealthProbe(container *corev1.Container, port int32) corev1.ProbeHandler {
	setsTLS := func(variable corev1.EnvVar) bool {
		return variable.Name == "RAY_USE_TLS" && (variable.ValueFrom != nil || slices.Contains([]string{"1", "true"}, strings.ToLower(variable.Value)))
	}
	if slices.ContainsFunc(container.Env, setsTLS) || len(container.EnvFrom) > 0 {
		return tcpProbe(port)
	}
	return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: port}}
}

func tcpProbe(port int32) corev1.ProbeHandler {
	return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}}
}
