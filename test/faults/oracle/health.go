package oracle

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkObservedHealth wants Health to become True only after each Deployment that the Ray
// then had was seen as wanted: its newest generation observed, and all its replicas
// updated and available. It need not be so any more, as that may be news to the operator.
func checkObservedHealth(h *history.History, want *Expectation) []string {
	if !want.ObservedHealth {
		return nil
	}
	var problems []string
	for _, step := range steps(h, history.Rays, byUID) {
		ray := rayOf(step.after)
		if step.after.Deleted || !Healthy(ray) || step.before != nil && Healthy(rayOf(step.before)) {
			continue
		}
		for _, deployment := range unfinished(h, ray.UID, revision(step.after)) {
			problems = append(problems, fmt.Sprintf("%s is healthy, and its Deployment %s was not", describe(step.after), deployment))
		}
	}
	return problems
}

// unfinished returns the Deployments of a Ray whose newest generation was not complete in
// any version up to a revision.
func unfinished(h *history.History, ray types.UID, until int64) []string {
	newest, complete := map[types.UID]*appsv1.Deployment{}, map[types.UID]int64{}
	for i := range h.Versions {
		version := &h.Versions[i]
		deployment, ok := version.Object.(*appsv1.Deployment)
		if !ok || revision(version) >= until {
			continue
		}
		if owner := metav1.GetControllerOf(deployment); owner == nil || owner.UID != ray {
			continue
		}
		if version.Deleted {
			delete(newest, deployment.UID)
			continue
		}
		newest[deployment.UID] = deployment
		if Complete(deployment) {
			complete[deployment.UID] = deployment.Generation
		}
	}
	var names []string
	for uid, deployment := range newest {
		if complete[uid] != deployment.Generation {
			names = append(names, deployment.Name)
		}
	}
	return names
}

// Complete tells whether the Deployment controller has done all that a Deployment asks for.
func Complete(deployment *appsv1.Deployment) bool {
	wanted, status := *deployment.Spec.Replicas, &deployment.Status
	return status.ObservedGeneration == deployment.Generation &&
		status.Replicas == wanted && status.UpdatedReplicas == wanted && status.AvailableReplicas == wanted
}
