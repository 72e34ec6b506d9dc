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
	"cmp"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// Recommender says how many nodes the autoscaled groups of Rays need.
type Recommender interface {
	// Recommend returns what is recommended for a Ray, or nil if that is not known. Each sync of a Ray with an
	// autoscaled group calls it, which says that the Ray needs recommendations. While the Ray is suspended it
	// returns nil: what it recommended before has no meaning for a Ray that resumes.
	Recommend(ray *rayv1.Ray) *autoscaler.Recommendation
}

// reasonScaled is the reason of an event about a change of the replicas of an autoscaled group.
const reasonScaled = "Scaled"

// scaler sets the replicas of the autoscaled groups of a Ray.
type scaler struct {
	ray *rayv1.Ray
	// recommendation is nil if there is none.
	recommendation *autoscaler.Recommendation
}

// newScaler returns the scaler of a Ray with what is recommended now.
func (r *reconciler) newScaler(ray *rayv1.Ray) scaler {
	s := scaler{ray: ray}
	if r.recommender == nil || !resources.IsAutoscaled(ray) {
		return s
	}
	if recommendation := r.recommender.Recommend(ray); recommendation != nil && recommendation.UID == ray.UID {
		s.recommendation = recommendation
	}
	return s
}

// scale sets the replicas of a group to its target, if the group is autoscaled. The target is what is recommended,
// else the last target, else the number of nodes that run, else the number at creation; and always within the
// bounds. So a restart of the operator changes nothing, and neither does autoscaling that the user adds. The
// Deployment may be nil.
func (s scaler) scale(group *resources.Group, deployment *appsv1.Deployment) {
	if group.Autoscaling == nil || resources.IsSuspended(s.ray) {
		return
	}
	group.Replicas = max(group.Autoscaling.Clamp(s.target(group, deployment)), s.undrained(deployment))
}

// undrained returns the recorded target of a group, below which its replicas must not be lowered now, or 0. If
// maxReplicas has been lowered, the autoscaler drains idle nodes first; else the ReplicaSet could delete busy ones.
func (s scaler) undrained(deployment *appsv1.Deployment) int32 {
	if s.recommendation == nil || !s.recommendation.Outdated || deployment == nil || !isControlledBy(deployment, s.ray) {
		return 0
	}
	return ptr.Deref(readLastApplied(deployment).Replicas, 0)
}

// target returns the target of an autoscaled group, regardless of its bounds.
func (s scaler) target(group *resources.Group, deployment *appsv1.Deployment) int32 {
	if s.recommendation != nil {
		if replicas, found := s.recommendation.Replicas[group.Name]; found {
			return replicas
		}
	}
	if deployment == nil {
		return group.Replicas
	}
	if isControlledBy(deployment, s.ray) {
		if recorded := readLastApplied(deployment).Replicas; recorded != nil {
			return *recorded
		}
	}
	if running := deployment.Spec.Replicas; running != nil && *running > 0 { // else the Ray was suspended
		return *running
	}
	return group.Replicas
}

// message returns the message of the event that an autoscaled group was scaled.
func (s scaler) message(group *resources.Group, before, after *appsv1.Deployment) string {
	from, to := replicasOf(before), replicasOf(after)
	message := fmt.Sprintf("Scaled group %q from %d to %d", group.Name, from, to)
	if reason := s.reason(group, from); reason != "" {
		message += ": " + reason
	}
	return normalize(message)
}

// reason returns why an autoscaled group has its replicas, or "" if it is the number at creation. Its Deployment had
// another number before.
func (s scaler) reason(group *resources.Group, before int32) string {
	if suspended := suspension(s.ray); suspended != "" {
		return suspended
	}
	if s.recommendation != nil {
		recommended, found := s.recommendation.Replicas[group.Name]
		if found && cmp.Compare(recommended, before) == cmp.Compare(group.Replicas, before) { // else the bounds have changed
			return s.recommendation.Reasons[group.Name]
		}
	}
	switch autoscaling := group.Autoscaling; {
	case before < group.Replicas && group.Replicas == autoscaling.MinReplicas:
		return fmt.Sprintf("minReplicas is %d", group.Replicas)
	case before > group.Replicas && group.Replicas == autoscaling.MaxReplicas:
		return fmt.Sprintf("maxReplicas is %d", group.Replicas)
	default:
		return ""
	}
}

// newTarget returns the target to be recorded of a group, or nil if it has none.
func newTarget(ray *rayv1.Ray, group resources.Group) *int32 {
	if group.Autoscaling == nil || resources.IsSuspended(ray) {
		return nil
	}
	return new(group.Replicas)
}
