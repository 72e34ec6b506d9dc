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
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// rollout is what the Deployment controller knows about the Pods of a Deployment.
type rollout struct {
	// template is that of the updated Pods.
	template string
	// available includes old Pods.
	updated, old, available int32
	// failure is why Pods cannot be created, or "".
	failure string
	// finished is the resourceVersion of the Deployment when the rollout was complete.
	finished string
}

// step creates a Pod, makes one available or deletes one. It returns false if the rollout is complete.
func (r *rollout) step(desired int32) bool {
	switch {
	case r.failure == "" && r.updated < desired:
		r.updated++
	case r.available < min(desired, r.updated):
		r.available++
	case r.old > 0:
		r.old--
	case r.updated > desired:
		r.updated--
	default:
		return false
	}
	r.available = min(r.available, r.updated+r.old)
	return true
}

// rollOut lets the Deployment controller observe a Deployment, do a number of steps and write its status.
// With complete, it does all steps and no Pod fails.
func (e *environment) rollOut(role rayv1.Role, steps int, complete bool) string {
	d, found := e.server.objects[deploymentIDs[role]].(*appsv1.Deployment)
	if !found || d.DeletionTimestamp != nil {
		return ""
	}
	r := e.rollouts[d.UID]
	if r == nil {
		r = &rollout{}
		e.rollouts[d.UID] = r
	}
	if complete && r.finished == d.ResourceVersion {
		return ""
	}
	if template := toText(&d.Spec.Template); template != r.template {
		r.template, r.old, r.updated = template, r.old+r.updated, 0
	}
	if complete {
		r.failure = ""
		for r.step(*d.Spec.Replicas) {
		}
	}
	for range steps {
		r.step(*d.Spec.Replicas)
	}
	before := e.server.revision
	update(e, deploymentIDs[role], "status", r.setStatus)
	r.finished = ""
	if complete {
		r.finished = e.server.objects[deploymentIDs[role]].GetResourceVersion()
	}
	if e.server.revision == before {
		return ""
	}
	return fmt.Sprintf("Deployment controller: status of %s: observedGeneration %d, Pods: %d desired, %d updated, %d old, %d available, failure %q",
		deploymentIDs[role], d.Generation, *d.Spec.Replicas, r.updated, r.old, r.available, r.failure)
}

// setStatus sets the status of a Deployment.
func (r *rollout) setStatus(d *appsv1.Deployment) {
	desired := *d.Spec.Replicas
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, "deployment.kubernetes.io/revision", "1")
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		Replicas:           r.updated + r.old, UpdatedReplicas: r.updated, ReadyReplicas: r.available, AvailableReplicas: r.available,
		UnavailableReplicas: max(0, desired-r.available),
	}
	available, progressing := corev1.ConditionTrue, "NewReplicaSetAvailable"
	if r.available < desired {
		available = corev1.ConditionFalse
	}
	if r.updated != desired || r.available < desired {
		progressing = "ReplicaSetUpdated"
	}
	d.Status.Conditions = []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentAvailable, Status: available},
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: progressing},
	}
	if r.failure != "" {
		d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: r.failure})
	}
}

// failPods makes a Pod of a Deployment unavailable, and may let the creation of Pods fail.
func (e *environment) failPods(n, m int) string {
	role := roles[n%len(roles)]
	d := stored[*appsv1.Deployment](e, deploymentIDs[role])
	if d == nil || e.rollouts[d.UID] == nil {
		return ""
	}
	r := e.rollouts[d.UID]
	if m%2 == 0 {
		r.failure = fmt.Sprintf(`pods "%s-%s" is forbidden: exceeded quota`, d.Name, strings.Repeat("bcdfg"[m/2%5:m/2%5+1], 5))
	}
	r.available = max(0, r.available-1)
	return e.rollOut(role, 0, false)
}

// collectGarbage lets the garbage collector do one of its possible writes.
func (e *environment) collectGarbage(n int) string {
	var pending []func() string
	for _, id := range append([]objectID{rayID}, childIDs...) {
		if o := e.server.objects[id]; o != nil {
			if write := e.garbageCollection(id, o); write != nil {
				pending = append(pending, write)
			}
		}
	}
	if len(pending) == 0 {
		return ""
	}
	return "garbage collector: " + pending[n%len(pending)]()
}

// garbageCollection returns the next write of the garbage collector for an object, or nil.
func (e *environment) garbageCollection(id objectID, o object) func() string {
	switch finalizers := o.GetFinalizers(); {
	case o.GetDeletionTimestamp() != nil && slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return func() string { return e.orphanDependent(id, o) }
	case o.GetDeletionTimestamp() != nil && slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return e.deleteDependent(id, o)
	case o.GetDeletionTimestamp() == nil && len(o.GetOwnerReferences()) > 0 && !slices.ContainsFunc(o.GetOwnerReferences(), e.exists):
		return func() string {
			e.delete(id, metav1.DeletePropagationBackground)
			return fmt.Sprintf("delete %s, since its owner does not exist", id)
		}
	default:
		return nil
	}
}

// exists returns whether an owner exists.
func (e *environment) exists(owner metav1.OwnerReference) bool {
	ray := e.server.objects[rayID]
	return ray != nil && ray.GetUID() == owner.UID
}

// orphanDependent removes the owner from a dependent, or the finalizer from the owner.
func (e *environment) orphanDependent(id objectID, o object) string {
	if dependents := e.dependents(o.GetUID()); len(dependents) > 0 {
		update(e, dependents[0], "", func(child object) { child.SetOwnerReferences(nil) })
		return fmt.Sprintf("remove ownerReferences of %s", dependents[0])
	}
	return e.removeFinalizer(id, metav1.FinalizerOrphanDependents)
}

// deleteDependent returns the next write of a foreground deletion, or nil if dependents are terminating.
func (e *environment) deleteDependent(id objectID, o object) func() string {
	dependents := e.dependents(o.GetUID())
	if len(dependents) == 0 {
		return func() string { return e.removeFinalizer(id, metav1.FinalizerDeleteDependents) }
	}
	for _, dependent := range dependents {
		if e.server.objects[dependent].GetDeletionTimestamp() != nil {
			continue
		}
		policy := metav1.DeletePropagationBackground
		if dependent.resource == deploymentResource {
			policy = metav1.DeletePropagationForeground // it has ReplicaSets
		}
		return func() string {
			e.delete(dependent, policy)
			return fmt.Sprintf("delete %s, before its owner", dependent)
		}
	}
	return nil
}

func (e *environment) removeFinalizer(id objectID, finalizer string) string {
	update(e, id, "", func(o object) {
		o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == finalizer }))
	})
	return fmt.Sprintf("remove the finalizer of %s", id)
}

// dependents returns the children with an owner.
func (e *environment) dependents(owner types.UID) []objectID {
	return slices.DeleteFunc(slices.Clone(childIDs), func(id objectID) bool {
		o := e.server.objects[id]
		return o == nil || !slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == owner })
	})
}
