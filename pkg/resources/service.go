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
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	// gcsPort is the default port of the GCS, with which all nodes of a Ray cluster connect.
	gcsPort = 6379
	// rayletPort is the port of the raylet of a node with a generated start. By default it is random; the
	// probes need a fixed one.
	rayletPort = 6380
	// agentPort is the default port of the dashboard agent of a node.
	agentPort = 52365
	// metricsPort is the port on which a node with a generated start serves its metrics.
	metricsPort = 8080
)

// wellKnownPorts are the default ports of a Ray head
// (https://docs.ray.io/en/latest/ray-core/configure.html, "Ports configurations").
var wellKnownPorts = []corev1.ContainerPort{
	{Name: "gcs", ContainerPort: gcsPort, Protocol: corev1.ProtocolTCP},
	{Name: "dashboard", ContainerPort: 8265, Protocol: corev1.ProtocolTCP},
	{Name: "client", ContainerPort: 10001, Protocol: corev1.ProtocolTCP},
	{Name: "metrics", ContainerPort: metricsPort, Protocol: corev1.ProtocolTCP},
	{Name: "serve", ContainerPort: 8000, Protocol: corev1.ProtocolTCP},
}

// NewService returns the desired Service of a Ray's head. Workers and users connect to the head by
// its name.
func NewService(ray *rayv1.Ray) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: newObjectMeta(ray, rayv1.RoleHead, ServiceName(ray)),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: selectorLabels(ray, rayv1.RoleHead),
			Ports:    newServicePorts(headPorts(ray)),
		},
	}
	setHeadService(service, ray.Spec.HeadService)
	return service
}

// headPorts returns the ports of the head's first container. A generated start listens on more, and
// without any port, the head is expected to use the well-known ones.
func headPorts(ray *rayv1.Ray) []corev1.ContainerPort {
	head := &ray.Spec.Head
	containers := head.Template.Spec.Containers
	switch {
	case generatesStart(&head.Template):
		return addMissingPorts(containers[0].Ports, startPorts(rayv1.RoleHead, head.Start))
	case len(containers) == 0 || len(containers[0].Ports) == 0:
		return wellKnownPorts
	default:
		return containers[0].Ports
	}
}

// isTCPPort returns whether a container port is a TCP port with a number.
func isTCPPort(port corev1.ContainerPort, number int32) bool {
	return port.ContainerPort == number && (port.Protocol == "" || port.Protocol == corev1.ProtocolTCP)
}

// newServicePorts returns a Service port for each container port. The ports of a Service must have
// unique names.
func newServicePorts(ports []corev1.ContainerPort) []corev1.ServicePort {
	used := sets.New[string]()
	for _, port := range ports {
		used.Insert(port.Name)
	}
	type numberAndProtocol struct {
		number   int32
		protocol corev1.Protocol
	}
	seen := sets.New[numberAndProtocol]()
	result := make([]corev1.ServicePort, 0, len(ports))
	for _, port := range ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		// A container may list a port twice, a Service may not.
		key := numberAndProtocol{port.ContainerPort, protocol}
		if seen.Has(key) {
			continue
		}
		seen.Insert(key)
		name := port.Name
		if name == "" {
			name = unusedPortName(port.ContainerPort, protocol, used)
			used.Insert(name)
		}
		result = append(result, corev1.ServicePort{
			Name:       name,
			Protocol:   protocol,
			Port:       port.ContainerPort,
			TargetPort: intstr.FromInt32(port.ContainerPort),
		})
	}
	return result
}

// unusedPortName returns a name for a port without a name: the well-known one, else one from the
// number, else one from number and protocol.
func unusedPortName(port int32, protocol corev1.Protocol, used sets.Set[string]) string {
	for _, known := range wellKnownPorts {
		if known.ContainerPort == port && known.Protocol == protocol && !used.Has(known.Name) {
			return known.Name
		}
	}
	name := "port-" + strconv.Itoa(int(port))
	if used.Has(name) {
		name += "-" + strings.ToLower(string(protocol))
	}
	return name
}
