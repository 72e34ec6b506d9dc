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

// rollout is what the Deployment controller knows of a Deployment's Pods.
type rollout struct {
	// template is that of the updated Pods.
	template string
	// available counts Pods of both templates.
	updated, old, available int32
	// failure is why no Pods can be made, or "".
	failure string
	// finished is the version of the Deployment when all was as wanted.
	finished string
}

// step makes, lets start or takes one Pod. It returns false if all is as wanted.
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

// rollOut has the Deployment controller see a Deployment, and do so many things about its
// Pods; if all is set, as many as it takes, and without failure.
func (w *world) rollOut(role rayv1.Role, steps int, all bool) string {
	d, found := w.server.objects[deployIDs[role]].(*appsv1.Deployment)
	if !found || d.DeletionTimestamp != nil {
		return ""
	}
	r := w.rollouts[d.UID]
	if r == nil {
		r = &rollout{}
		w.rollouts[d.UID] = r
	}
	if all && r.finished == d.ResourceVersion {
		return ""
	}
	if template := toText(&d.Spec.Template); template != r.template {
		r.template, r.old, r.updated = template, r.old+r.updated, 0
	}
	if all {
		r.failure = ""
		for r.step(*d.Spec.Replicas) {
		}
	}
	for range steps {
		r.step(*d.Spec.Replicas)
	}
	before := w.server.revision
	change(w, deployIDs[role], "status", r.describe)
	r.finished = ""
	if all {
		r.finished = w.server.objects[deployIDs[role]].GetResourceVersion()
	}
	if w.server.revision == before {
		return ""
	}
	return fmt.Sprintf("the Deployment controller says of the %s: generation %d, %d updated, %d old, %d available, failure %q", role, d.Generation, r.updated, r.old, r.available, r.failure)
}

// describe writes the status of a Deployment.
func (r *rollout) describe(d *appsv1.Deployment) {
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

// failPods has Pods refused, or one of them lost.
func (w *world) failPods(n, m int) string {
	role := roles[n%2]
	d := stored[*appsv1.Deployment](w, deployIDs[role])
	if d == nil || w.rollouts[d.UID] == nil {
		return ""
	}
	r := w.rollouts[d.UID]
	if m%2 == 0 {
		r.failure = fmt.Sprintf(`pods "%s-%s" is forbidden: exceeded quota`, d.Name, strings.Repeat("bcdfg"[m/2%5:m/2%5+1], 5))
	}
	r.available = max(0, r.available-1)
	return w.rollOut(role, 0, false)
}

// collect has the garbage collector do one thing, if there is any to do.
func (w *world) collect(n int) string {
	var todo []func() string
	for _, id := range append([]objectID{rayID}, childIDs...) {
		if o := w.server.objects[id]; o != nil {
			if action := w.collectable(id, o); action != nil {
				todo = append(todo, action)
			}
		}
	}
	if len(todo) == 0 {
		return ""
	}
	return "the garbage collector " + todo[n%len(todo)]()
}

// collectable returns what the garbage collector has to do about an object, if anything.
func (w *world) collectable(id objectID, o object) func() string {
	switch finalizers := o.GetFinalizers(); {
	case o.GetDeletionTimestamp() != nil && slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return func() string { return w.orphan(id, o) }
	case o.GetDeletionTimestamp() != nil && slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return w.deleteDependents(id, o)
	case o.GetDeletionTimestamp() == nil && len(o.GetOwnerReferences()) > 0 && !slices.ContainsFunc(o.GetOwnerReferences(), w.exists):
		return func() string {
			w.remove(id, metav1.DeletePropagationBackground)
			return "deletes " + id.resource + " " + id.name + ", whose owner is gone"
		}
	default:
		return nil
	}
}

// exists tells whether an owner does.
func (w *world) exists(owner metav1.OwnerReference) bool {
	ray := w.server.objects[rayID]
	return ray != nil && ray.GetUID() == owner.UID
}

func (w *world) orphan(id objectID, o object) string {
	if dependents := w.dependents(o.GetUID()); len(dependents) > 0 {
		change(w, dependents[0], "", func(child object) { child.SetOwnerReferences(nil) })
		return "makes an orphan of " + dependents[0].resource + " " + dependents[0].name
	}
	return w.finalize(id, metav1.FinalizerOrphanDependents)
}

// deleteDependents returns what comes next in a deletion that takes the children first.
func (w *world) deleteDependents(id objectID, o object) func() string {
	dependents := w.dependents(o.GetUID())
	if len(dependents) == 0 {
		return func() string { return w.finalize(id, metav1.FinalizerDeleteDependents) }
	}
	for _, dependent := range dependents {
		if w.server.objects[dependent].GetDeletionTimestamp() != nil {
			continue
		}
		policy := metav1.DeletePropagationBackground
		if dependent.resource == deploymentResource {
			policy = metav1.DeletePropagationForeground // it has ReplicaSets
		}
		return func() string {
			w.remove(dependent, policy)
			return "deletes " + dependent.resource + " " + dependent.name + " before its owner"
		}
	}
	return nil
}

func (w *world) finalize(id objectID, finalizer string) string {
	change(w, id, "", func(o object) {
		o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), func(f string) bool { return f == finalizer }))
	})
	return "lets " + id.resource + " " + id.name + " go"
}

// dependents returns the children that an owner has.
func (w *world) dependents(owner types.UID) []objectID {
	return slices.DeleteFunc(slices.Clone(childIDs), func(id objectID) bool {
		o := w.server.objects[id]
		return o == nil || !slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == owner })
	})
}
