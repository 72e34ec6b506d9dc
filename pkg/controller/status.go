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

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// observation is what a sync observed of a Ray and its children.
type observation struct {
	// rayErr is the problem that the Ray cannot be decoded. Nothing else was observed then.
	rayErr error
	// deleting says what the deletion of the Ray waits for, or is empty if the Ray is not being deleted.
	deleting string
	// serviceErr is the problem of the Service.
	serviceErr error
	// groups has the head first.
	groups []groupObservation
	// recommendation is what is recommended for the autoscaled groups, or nil.
	recommendation *autoscaler.Recommendation
}

// groupObservation is what a sync observed of one group.
type groupObservation struct {
	name string
	role rayv1.Role
	// desired is the number of desired replicas, nil if the spec does not have the group.
	desired *int32
	// autoscaled is set if the spec does not say how many replicas are desired.
	autoscaled bool
	// deployment is nil if it does not exist.
	deployment *appsv1.Deployment
	// err is the problem of the Deployment.
	err error
	// waiting says what the Deployment waits for, since it is not as desired without being a problem.
	waiting string
	// cause says why Pods are not available, if that is known.
	cause string
}

// newGroupObservation returns the observation of a group that the spec has, before its Deployment is read.
func newGroupObservation(group *resources.Group) groupObservation {
	return groupObservation{name: group.Name, role: group.Role, desired: new(group.Replicas), autoscaled: group.Autoscaling != nil}
}

// isRejected returns whether a Deployment cannot be brought to its desired state.
func (o *groupObservation) isRejected() bool {
	return o.err != nil && asProblem(o.err).reason != reasonExternalChanges
}

// isRolledOut returns whether all Pods of a group have the newest template and are available.
func (o *groupObservation) isRolledOut() bool {
	return !o.isRejected() && o.deployment != nil && !o.isUnobserved() && incompleteReplicas(&o.deployment.Status, *o.desired) == ""
}

// isUnobserved returns whether the Deployment controller has yet to observe the newest generation.
func (o *groupObservation) isUnobserved() bool {
	return o.deployment != nil && o.deployment.Status.ObservedGeneration < o.deployment.Generation
}

// isExplainable returns whether a group is incomplete for a reason that only its Pods show.
func (o *groupObservation) isExplainable() bool {
	if o.err != nil || o.desired == nil || o.waiting != "" || o.deployment == nil || o.deployment.Spec.Paused || o.isUnobserved() {
		return false
	}
	failure := findDeploymentCondition(o.deployment, appsv1.DeploymentReplicaFailure)
	return (failure == nil || failure.Status != corev1.ConditionTrue) && o.progress() != ""
}

// isReady returns whether all Pods of a group are ready, and only need time to become available.
func (o *groupObservation) isReady() bool {
	return o.terminatingHeads() == 0 && o.deployment.Status.ReadyReplicas >= *o.desired
}

// terminatingHeads returns the number of head Pods that are terminating.
func (o *groupObservation) terminatingHeads() int32 {
	if terminating := o.deployment.Status.TerminatingReplicas; o.role == rayv1.RoleHead && terminating != nil {
		return *terminating
	}
	return 0
}

// progress returns how the Pods of a group differ from the desired ones, or "". Until an old head has
// terminated, there are two: its Pod, which no count of the Deployment includes, may go on running.
func (o *groupObservation) progress() string {
	progress := incompleteReplicas(&o.deployment.Status, *o.desired)
	old := "1 old Pod is terminating"
	switch terminating := o.terminatingHeads(); {
	case terminating == 0:
		return progress
	case terminating > 1:
		old = fmt.Sprintf("%d old Pods are terminating", terminating)
	}
	if progress == "" {
		return old
	}
	return progress + ": " + old
}

// problems returns the problems of the Ray and its children.
func (o *observation) problems() []error {
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	add(o.rayErr)
	add(o.serviceErr)
	for _, group := range o.groups {
		add(group.err)
	}
	return problems
}

// mirrored has, per role, the conditions of a Deployment that the status of a Ray mirrors.
var mirrored = map[rayv1.Role][]struct {
	from appsv1.DeploymentConditionType
	to   rayv1.RayConditionType
}{
	rayv1.RoleHead: {
		{appsv1.DeploymentProgressing, rayv1.RayHeadDeploymentProgressing},
		{appsv1.DeploymentAvailable, rayv1.RayHeadDeploymentAvailable},
		{appsv1.DeploymentReplicaFailure, rayv1.RayHeadDeploymentReplicaFailure},
	},
	rayv1.RoleWorker: {
		{appsv1.DeploymentProgressing, rayv1.RayWorkerDeploymentProgressing},
		{appsv1.DeploymentAvailable, rayv1.RayWorkerDeploymentAvailable},
		{appsv1.DeploymentReplicaFailure, rayv1.RayWorkerDeploymentReplicaFailure},
	},
}

// maxConditions is the number of conditions of a Ray with a head and workers that was suspended, and is not
// autoscaled.
const maxConditions = 9

// newStatus returns the status of a Ray with the children observed at now. It keeps what has not
// changed, including times, so that it equals the current status if nothing has changed.
func newStatus(ray *rayv1.Ray, observed *observation, now metav1.Time) rayv1.RayStatus {
	current := &ray.Status
	status := rayv1.RayStatus{
		ObservedGeneration: ray.Generation,
		StartTime:          current.StartTime,
		LastReconcileTime:  current.LastReconcileTime,
		Endpoints:          resources.Endpoints(ray),
		Conditions:         make([]rayv1.RayCondition, 0, maxConditions),
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	if observed.rayErr != nil {
		// The counts remain as they were last observed. Nobody would keep the mirrored conditions true.
		copyCounts(&status, current)
		status.Endpoints = current.Endpoints
	}

	health := newHealth(ray, observed)
	health.ObservedGeneration = ray.Generation
	ready := health
	ready.Type = rayv1.RayReady
	status.Conditions = append(status.Conditions, health, ready)
	if suspended := newSuspended(ray, observed); suspended != nil {
		status.Conditions = append(status.Conditions, *suspended)
	}
	status.Conditions = appendScaling(status.Conditions, ray, observed.recommendation)
	for i := range observed.groups {
		group := &observed.groups[i]
		if group.desired == nil && group.err == nil {
			continue
		}
		addCounts(&status, ray, group)
		if group.desired != nil {
			status.Conditions = appendMirrored(status.Conditions, ray, group)
		}
	}
	if observed.rayErr == nil {
		setTotals(&status, observed.groups)
	}
	for i := range status.Conditions {
		setTimes(&status.Conditions[i], findCondition(current.Conditions, status.Conditions[i].Type), now)
	}
	return status
}

// appendMirrored appends the conditions of a group's Deployment. One that the Deployment does not have
// is Unknown.
func appendMirrored(conditions []rayv1.RayCondition, ray *rayv1.Ray, group *groupObservation) []rayv1.RayCondition {
	for _, mirror := range mirrored[group.role] {
		condition := rayv1.RayCondition{Type: mirror.to, Status: corev1.ConditionUnknown, ObservedGeneration: ray.Generation}
		if source := findDeploymentCondition(group.deployment, mirror.from); source != nil {
			condition.Status = source.Status
			condition.Reason = source.Reason
			condition.Message = normalize(source.Message)
			if group.deployment.Status.ObservedGeneration < group.deployment.Generation {
				// The Deployment controller computed it for an earlier generation.
				condition.ObservedGeneration = 0
				if current := findCondition(ray.Status.Conditions, mirror.to); current != nil {
					condition.ObservedGeneration = current.ObservedGeneration
				}
			}
		}
		conditions = append(conditions, condition)
	}
	return conditions
}

// setTimes sets the times of a condition. They change only with the condition.
func setTimes(condition, current *rayv1.RayCondition, now metav1.Time) {
	condition.LastUpdateTime, condition.LastTransitionTime = now, now
	if current == nil || current.Status != condition.Status {
		return
	}
	condition.LastTransitionTime = current.LastTransitionTime
	if current.Reason == condition.Reason && current.Message == condition.Message {
		condition.LastUpdateTime = current.LastUpdateTime
	}
}

func findCondition(conditions []rayv1.RayCondition, conditionType rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range conditions {
		if conditions[i].Type == conditionType {
			return &conditions[i]
		}
	}
	return nil
}
