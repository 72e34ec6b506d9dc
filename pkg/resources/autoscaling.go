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
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The settings that a head needs if the operator is its autoscaler.
const (
	// noMonitorFlag is the flag of ray start that disables Ray's own autoscaler.
	noMonitorFlag = "--no-monitor"
	// autoscalerEnv is the variable that makes Ray report all demand to the GCS, for a head with the value 1.
	autoscalerEnv = "RAY_enable_autoscaler_v2"
	// tlsEnv is the variable that makes Ray use TLS between its nodes.
	tlsEnv = "RAY_USE_TLS"
	// nodeGroupLabel is the label that Ray gives to a node, with the name of its group.
	nodeGroupLabel = "ray.io/node-group"
)

// defaultIdleTimeout is the default of idleTimeoutSeconds.
const defaultIdleTimeout = 60 * time.Second

// Autoscaling has the settings of an autoscaled group, with defaults.
type Autoscaling struct {
	// MinReplicas and MaxReplicas are bounds of the number of nodes. 0 <= MinReplicas <= MaxReplicas.
	MinReplicas, MaxReplicas int32
	// IdleTimeout is for how long nothing must need a node until it is removed, at least one second.
	IdleTimeout time.Duration
}

// newAutoscaling returns the settings of a group, or nil if it is not autoscaled. A Ray may have been stored
// under a schema without the limits.
func newAutoscaling(spec *rayv1.AutoscalingSpec) *Autoscaling {
	if spec == nil {
		return nil
	}
	autoscaling := &Autoscaling{IdleTimeout: defaultIdleTimeout}
	if spec.MinReplicas != nil {
		autoscaling.MinReplicas = max(0, *spec.MinReplicas)
	}
	autoscaling.MaxReplicas = max(spec.MaxReplicas, autoscaling.MinReplicas)
	if spec.IdleTimeoutSeconds != nil {
		autoscaling.IdleTimeout = time.Duration(max(1, *spec.IdleTimeoutSeconds)) * time.Second
	}
	return autoscaling
}

// Clamp returns the number of nodes within the bounds that is next to another number.
func (a *Autoscaling) Clamp(replicas int32) int32 {
	return min(max(replicas, a.MinReplicas), a.MaxReplicas)
}

// RecordedReplicas returns how many nodes an autoscaled group is to have, which the controller records in the annotation
// last-applied of the Deployment, or nil. It does not for a Ray that is suspended.
func RecordedReplicas(deployment *appsv1.Deployment) *int32 {
	var record struct {
		Replicas *int32 `json:"replicas"`
	}
	if json.Unmarshal([]byte(deployment.Annotations[rayv1.AnnotationLastApplied]), &record) != nil {
		return nil
	}
	return record.Replicas
}

// IsAutoscaled returns whether a Ray has an autoscaled group.
func IsAutoscaled(ray *rayv1.Ray) bool {
	if worker := ray.Spec.Worker; worker != nil && worker.Autoscaling != nil {
		return true
	}
	return slices.ContainsFunc(ray.Spec.WorkerGroups, func(group rayv1.WorkerGroup) bool { return group.Autoscaling != nil })
}

// autoscalingAddsToPods returns whether the Pods of a group differ from those without autoscaling: those of a
// head with a generated start, and those of an autoscaled group without one.
func autoscalingAddsToPods(group Group) bool {
	if group.IsHead() {
		return group.ExternalAutoscaler && generatesStart(group.Template)
	}
	return group.Autoscaling != nil && !generatesStart(group.Template)
}

// NodeResources returns the resources that Ray has on an empty node of a group, by Ray's names; memory is in
// bytes. Resources that Ray takes from the machine are missing. If the user's command starts the node, these are Ray's
// defaults for the container, which the command may override. NodeResources returns nil if it is unknown
// how many CPUs the node has.
func NodeResources(group Group) map[string]float64 {
	spec := &group.Template.Spec
	if len(spec.Containers) == 0 || !generatesStart(group.Template) && limitOrRequest(spec, corev1.ResourceCPU) == 0 {
		return nil
	}
	result := map[string]float64{}
	for name, value := range startResources(group) {
		if value > 0 { // Ray does not have the others
			result[name] = float64(value)
		}
	}
	return result
}

// NodeLabels returns the labels that Ray gives to each node of a group.
func NodeLabels(group Group) map[string]string {
	result := map[string]string{nodeGroupLabel: group.Name}
	if group.Start != nil {
		maps.Copy(result, group.Start.Labels)
	}
	return result
}

// startCommand matches a visible ray start. Otherwise, a script in the image may contain it.
var startCommand = regexp.MustCompile(`\bray\s+start\b`)

// MissingHeadSettings returns the settings for autoscaling by the operator that the head of a Ray lacks, as far as
// its template shows, in a stable order: a variable, as NAME=VALUE, and a flag of ray start. A generated start has
// both, unless the user sets the variable to another value.
func MissingHeadSettings(ray *rayv1.Ray) []string {
	if len(ray.Spec.Head.Template.Spec.Containers) == 0 {
		return nil
	}
	container := &ray.Spec.Head.Template.Spec.Containers[0]
	generated := generatesStart(&ray.Spec.Head.Template)
	text := strings.Join(slices.Concat(container.Command, container.Args), " ")
	var missing []string
	variable := findVariable(container, autoscalerEnv)
	// The value of a reference is unknown.
	set := isTrue(variable) || variable != nil && variable.ValueFrom != nil || variable == nil && len(container.EnvFrom) > 0
	if !set && !strings.Contains(text, autoscalerEnv) && (variable != nil || !generated) {
		missing = append(missing, autoscalerEnv+"=1")
	}
	if startCommand.MatchString(text) && !strings.Contains(text, noMonitorFlag) {
		missing = append(missing, noMonitorFlag)
	}
	return missing
}

// UsesTLS returns whether the template of a Ray's head enables TLS between its nodes.
func UsesTLS(ray *rayv1.Ray) bool {
	containers := ray.Spec.Head.Template.Spec.Containers
	return len(containers) > 0 && isTrue(findVariable(&containers[0], tlsEnv))
}

// findVariable returns the variable of a container with a name, or nil. If it is defined twice, the last one counts.
func findVariable(container *corev1.Container, name string) *corev1.EnvVar {
	for i := len(container.Env) - 1; i >= 0; i-- {
		if container.Env[i].Name == name {
			return &container.Env[i]
		}
	}
	return nil
}

// isTrue returns whether Ray takes the value of a variable for true.
func isTrue(variable *corev1.EnvVar) bool {
	return variable != nil && (variable.Value == "1" || strings.EqualFold(variable.Value, "true"))
}
