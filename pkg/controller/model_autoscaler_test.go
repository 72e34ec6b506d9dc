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
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The autoscaler of a process recommends random numbers. Another process has no recommendation at first.

// cachedRay returns the Ray that a process has in its cache, or nil.
func (o *operator) cachedRay() *rayv1.Ray {
	found, exists, err := o.caches[rayResource].GetByKey(sampleKey.String())
	if err != nil || !exists {
		return nil
	}
	return found.(*rayv1.Ray) //nolint:errcheck,forcetypeassert // the cache has Rays only
}

// recommend makes the autoscaler recommend replicas of some groups.
func (e *environment) recommend(n, m int) string {
	if e.operator.killed {
		return ""
	}
	ray := e.operator.cachedRay()
	if ray == nil || !resources.IsAutoscaled(ray) || resources.IsSuspended(ray) {
		return ""
	}
	replicas := map[string]int32{}
	for i, name := range []string{"worker", "gpu", "spot"} {
		if n>>i%2 == 0 {
			replicas[name] = int32(m >> (3 * i) % 8)
		}
	}
	status := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse}[n>>3%2]
	e.operator.recommend(ray.UID, replicas, status)
	return fmt.Sprintf("autoscaler: recommend %s, ScalingActive %s", toText(replicas), status)
}

// recommendLast makes the autoscaler recommend what depends on the spec only, so that the final state does.
func (e *environment) recommendLast() {
	if ray := e.ray(); ray != nil && !resources.IsSuspended(ray) {
		e.operator.recommend(ray.UID, map[string]int32{"worker": 1, "gpu": 3, "spot": 0}, corev1.ConditionTrue)
	}
}

func (o *operator) recommend(uid types.UID, replicas map[string]int32, status corev1.ConditionStatus) {
	if ray := o.cachedRay(); ray != nil {
		o.recommendedFor = ray.Generation
	}
	o.recommendation = &autoscaler.Recommendation{
		UID: uid, Replicas: replicas, Reasons: map[string]string{"worker": "tasks wait"},
		Conditions: []autoscaler.Condition{{Type: rayv1.RayScalingActive, Status: status, Reason: "Model"}},
	}
	o.controller.Enqueue(sampleKey)
}

// Recommend implements Recommender. A recommendation is outdated as long as the next action of the autoscaler does not
// recommend for a newer spec.
func (o *operator) Recommend(ray *rayv1.Ray) *autoscaler.Recommendation {
	o.environment.mu.Lock()
	defer o.environment.mu.Unlock()
	o.current.recommendation = nil
	if o.recommendation != nil {
		recommendation := *o.recommendation
		recommendation.Outdated = o.recommendedFor != ray.Generation
		o.current.recommendation = &recommendation
	}
	return o.current.recommendation
}

// sawRay drops the recommendation for a Ray that is suspended or another one.
func (o *operator) sawRay(next any) {
	if ray, ok := next.(*rayv1.Ray); ok && o.recommendation != nil && (resources.IsSuspended(ray) || ray.UID != o.recommendation.UID) {
		o.recommendation = nil
	}
}

// autoscaleModel makes some groups of a spec autoscaled.
func autoscaleModel(spec *rayv1.RaySpec, m int) {
	settings := rayv1.AutoscalingSpec{MinReplicas: new(int32(m % 3)), MaxReplicas: int32(m%3 + m/3%4)}
	if spec.Worker != nil && m/12%3 < 2 {
		spec.Worker.Autoscaling = settings.DeepCopy()
	}
	for i := range spec.WorkerGroups {
		if m/12%3 > 0 {
			spec.WorkerGroups[i].Autoscaling = settings.DeepCopy()
		}
	}
}

// removeAutoscaling makes no group of a spec autoscaled.
func removeAutoscaling(spec *rayv1.RaySpec) {
	if spec.Worker != nil {
		spec.Worker.Autoscaling = nil
	}
	for i := range spec.WorkerGroups {
		spec.WorkerGroups[i].Autoscaling = nil
	}
}

// checkTarget checks the replicas and the recorded target of a Deployment that the operator has written.
func (c *checker) checkTarget(owner types.UID, before object, after *appsv1.Deployment) {
	ray, role := c.rayAt(owner, rayGeneration(after)), rayv1.Role(after.Labels[rayv1.LabelRole])
	if ray == nil || !hasGroup(ray, role) {
		return
	}
	group, recorded := groupOf(ray, role), readLastApplied(after).Replicas
	want := group.Replicas
	switch autoscaled := group.Autoscaling != nil && !resources.IsSuspended(ray); {
	case autoscaled != (recorded != nil):
		c.environment.violationf("the %s is autoscaled: %t, but its recorded target is %s", role, autoscaled, toText(recorded))
		return
	case !autoscaled:
	case c.isDelayed:
		want = max(group.Autoscaling.Clamp(*recorded), min(*recorded, c.undrained(owner, before)))
	default:
		want = max(group.Autoscaling.Clamp(c.target(owner, group, before)), c.undrained(owner, before))
	}
	if *after.Spec.Replicas != want || ptr.Deref(recorded, want) != want {
		c.environment.violationf("the %s has %d replicas and the target %s, want %d", role, *after.Spec.Replicas, toText(recorded), want)
	}
}

// target returns how many nodes an autoscaled group is to have, regardless of its bounds.
func (c *checker) target(owner types.UID, group resources.Group, before object) int32 {
	if recommendation := c.environment.operator.current.recommendation; recommendation != nil && recommendation.UID == owner {
		if replicas, found := recommendation.Replicas[group.Name]; found {
			return replicas
		}
	}
	d, ok := before.(*appsv1.Deployment)
	if !ok {
		return group.Replicas
	}
	ref, recorded := metav1.GetControllerOf(d), readLastApplied(d).Replicas
	switch {
	case ref != nil && ref.UID == owner && recorded != nil:
		return *recorded
	case *d.Spec.Replicas > 0:
		return *d.Spec.Replicas
	default:
		return group.Replicas
	}
}

// undrained returns the recorded target of a Deployment if idle nodes are to be drained before it can be lowered, else 0.
func (c *checker) undrained(owner types.UID, before object) int32 {
	d, ok := before.(*appsv1.Deployment)
	if !ok || !c.isOutdated(owner) {
		return 0
	}
	if ref := metav1.GetControllerOf(d); ref == nil || ref.UID != owner {
		return 0
	}
	return ptr.Deref(readLastApplied(d).Replicas, 0)
}

// isOutdated returns whether the recommendation for a Ray is outdated, or may be, since the sync of a write has ended.
func (c *checker) isOutdated(owner types.UID) bool {
	if c.isDelayed {
		return true
	}
	recommendation := c.environment.operator.current.recommendation
	return recommendation != nil && recommendation.UID == owner && recommendation.Outdated
}

// lastTarget returns how many nodes a Deployment is to have: the recorded target of an autoscaled group.
func lastTarget(d *appsv1.Deployment, group resources.Group) int32 {
	return ptr.Deref(readLastApplied(d).Replicas, group.Replicas)
}

// checkDesired checks the numbers of desired workers in a status.
func (c *checker) checkDesired(after *rayv1.Ray) {
	status, ray := &after.Status, c.rayAt(after.UID, after.Status.ObservedGeneration)
	if ray == nil || status.DesiredWorkerReplicas == nil {
		return
	}
	got := map[string]*int32{}
	if status.Worker != nil {
		got["worker"] = status.Worker.DesiredReplicas
	}
	for _, group := range status.WorkerGroups {
		got[group.Name] = group.DesiredReplicas
	}
	total := int32(0)
	for _, group := range resources.Groups(ray)[1:] {
		desired := ptr.Deref(got[group.Name], group.Replicas)
		outside := group.Autoscaling != nil && !resources.IsSuspended(ray) && group.Autoscaling.Clamp(desired) != desired
		if c.isOutdated(after.UID) {
			outside = outside && desired < group.Autoscaling.MinReplicas // idle nodes are to be drained first
		}
		if (got[group.Name] != nil) != (group.Autoscaling != nil) || outside {
			c.environment.violationf("desiredReplicas of the %s is %s, with the settings %s", group.Name, toText(got[group.Name]), toText(group.Autoscaling))
		}
		total += desired
	}
	if total != *status.DesiredWorkerReplicas {
		c.environment.violationf("desiredWorkerReplicas is %d, want %d", *status.DesiredWorkerReplicas, total)
	}
}
