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

package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// suspension returns why a Ray is suspended, or "" if it is not.
func suspension(ray *rayv1.Ray) string {
	switch {
	case !resources.IsSuspended(ray):
		return ""
	case ray.Spec.Suspend != nil && *ray.Spec.Suspend:
		return "suspended, since spec.suspend is true"
	default:
		return "suspended, since spec.head.replicas is 0"
	}
}

// newSuspended returns the condition Suspended, or nil for a Ray that was never suspended. That of a Ray
// that cannot be decoded remains, since its children do.
func newSuspended(ray *rayv1.Ray, observed *observation) *rayv1.RayCondition {
	current, suspended := findCondition(ray.Status.Conditions, rayv1.RaySuspended), suspension(ray)
	if observed.rayErr != nil || current == nil && suspended == "" {
		return current
	}
	condition := &rayv1.RayCondition{Type: rayv1.RaySuspended, Status: corev1.ConditionFalse, ObservedGeneration: ray.Generation}
	if suspended == "" {
		condition.Reason = reasonResumed
		return condition
	}
	var remaining []string
	for i := range observed.groups {
		if group := &observed.groups[i]; group.mayHavePods() {
			remaining = append(remaining, group.name)
		}
	}
	if len(remaining) > 0 {
		condition.Reason, condition.Message = reasonSuspending, "waiting until there are no Pods of "+strings.Join(remaining, ", ")
		return condition
	}
	condition.Status, condition.Reason, condition.Message = corev1.ConditionTrue, reasonSuspended, suspended
	return condition
}

// mayHavePods returns whether a group of a suspended Ray has Pods, or may have some soon. Those that
// terminate still use the resources of their nodes.
func (o *groupObservation) mayHavePods() bool {
	if o.deployment == nil {
		return o.err != nil // a request that failed may have created it
	}
	spec, status := &o.deployment.Spec, &o.deployment.Status
	terminating := status.TerminatingReplicas
	return o.isUnobserved() || spec.Replicas == nil || *spec.Replicas > 0 || status.Replicas > 0 || terminating != nil && *terminating > 0
}
