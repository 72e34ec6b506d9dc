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
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// Reasons of the condition ScalingActive. The autoscaler has others.
const (
	// reasonStarting: nothing was recommended for the Ray yet.
	reasonStarting = "Starting"
	// reasonHPA: the workers are autoscaled, and a HorizontalPodAutoscaler has set spec.worker.replicas.
	reasonHPA = "HorizontalPodAutoscaler"
)

const (
	messageStarting = "the demand of Ray has not been read yet; the groups keep their workers"
	messageHPA      = "a HorizontalPodAutoscaler has set spec.worker.replicas, which has no effect with autoscaling; delete the HorizontalPodAutoscaler, and then set spec.worker.replicas to another number"
)

// scalingTypes are the conditions about autoscaling.
var scalingTypes = []rayv1.RayConditionType{rayv1.RayScalingActive, rayv1.RayScalingLimited, rayv1.RayInfeasibleDemand}

// appendScaling appends the conditions about autoscaling, if a group of the Ray is autoscaled. If nothing is
// recommended, such as after a restart of the operator, the last conditions of the same generation remain: otherwise, a
// restart would write each status twice.
func appendScaling(conditions []rayv1.RayCondition, ray *rayv1.Ray, recommendation *autoscaler.Recommendation) []rayv1.RayCondition {
	if !resources.IsAutoscaled(ray) {
		return conditions
	}
	active := rayv1.RayCondition{Type: rayv1.RayScalingActive, Status: corev1.ConditionFalse, ObservedGeneration: ray.Generation}
	last := findCondition(ray.Status.Conditions, rayv1.RayScalingActive)
	switch suspended := suspension(ray); {
	case suspended != "":
		active.Reason, active.Message = reasonSuspended, suspended
		return append(conditions, active)
	case recommendation == nil && (last == nil || last.ObservedGeneration != ray.Generation || last.Reason == reasonStarting):
		active.Reason, active.Message = reasonStarting, messageStarting
		return append(conditions, withHPA(ray, active))
	}
	for _, conditionType := range scalingTypes {
		if condition := newScalingCondition(ray, recommendation, conditionType); condition != nil {
			conditions = append(conditions, *condition)
		}
	}
	return conditions
}

// newScalingCondition returns a condition as recommended, or the last one if nothing is recommended, or nil.
func newScalingCondition(ray *rayv1.Ray, recommendation *autoscaler.Recommendation, conditionType rayv1.RayConditionType) *rayv1.RayCondition {
	if recommendation == nil {
		return findCondition(ray.Status.Conditions, conditionType)
	}
	for _, recommended := range recommendation.Conditions {
		if recommended.Type != conditionType {
			continue
		}
		condition := rayv1.RayCondition{
			Type: conditionType, Status: recommended.Status, ObservedGeneration: ray.Generation,
			Reason: recommended.Reason, Message: normalize(recommended.Message),
		}
		if conditionType == rayv1.RayScalingActive {
			condition = withHPA(ray, condition)
		}
		return &condition
	}
	return nil
}

// withHPA returns the condition ScalingActive, with the problem that a HorizontalPodAutoscaler scales the
// autoscaled workers, too. It has no effect, so the status stays, and the reason of one that is False.
func withHPA(ray *rayv1.Ray, active rayv1.RayCondition) rayv1.RayCondition {
	if !isScaledByHPA(ray) || ray.Spec.Worker == nil || ray.Spec.Worker.Autoscaling == nil {
		return active
	}
	if active.Status == corev1.ConditionTrue {
		active.Reason = reasonHPA
	}
	if active.Message != "" {
		active.Message += "; "
	}
	active.Message += messageHPA
	return active
}
