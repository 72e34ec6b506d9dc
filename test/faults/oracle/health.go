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

package oracle

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkObservedHealth requires that Ready equals Health in every version, and that Health becomes
// True only after each Deployment of the Ray was complete. The Deployment may have changed since, as
// the operator may not have observed that.
func checkObservedHealth(h *history.History, want *Expectation) []string {
	var problems []string
	for i := range h.Versions {
		version := &h.Versions[i]
		if version.Resource == history.Rays && !ReadyEqualsHealth(&rayOf(version).Status) {
			problems = append(problems, describe(version)+": condition Ready differs from Health")
		}
	}
	if !want.ObservedHealth {
		return problems
	}
	for _, change := range changes(h, history.Rays, byUID) {
		ray := rayOf(change.after)
		if change.after.Deleted || !Healthy(ray) || change.before != nil && Healthy(rayOf(change.before)) {
			continue
		}
		for _, deployment := range incomplete(h, ray.UID, revision(change.after)) {
			problems = append(problems, fmt.Sprintf("%s is healthy, but its Deployment %q was not complete", describe(change.after), deployment))
		}
	}
	return problems
}

// ReadyEqualsHealth reports whether the conditions Ready and Health are equal in all but their type,
// or both absent.
func ReadyEqualsHealth(status *rayv1.RayStatus) bool {
	var health, ready rayv1.RayCondition
	for _, condition := range status.Conditions {
		switch condition.Type {
		case rayv1.RayHealth:
			health = condition
		case rayv1.RayReady:
			ready = condition
		default:
		}
	}
	health.Type, ready.Type = "", ""
	return equality.Semantic.DeepEqual(health, ready)
}

// incomplete returns the Deployments of a Ray that were not complete, in their newest generation, in any
// version before a revision.
func incomplete(h *history.History, ray types.UID, until int64) []string {
	newest, completed := map[types.UID]*appsv1.Deployment{}, map[types.UID]int64{}
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
		if complete(deployment) {
			completed[deployment.UID] = deployment.Generation
		}
	}
	var names []string
	for uid, deployment := range newest {
		if completed[uid] != deployment.Generation {
			names = append(names, deployment.Name)
		}
	}
	return names
}

// complete reports whether the newest generation of a Deployment is observed, and all its replicas
// are updated and available.
func complete(deployment *appsv1.Deployment) bool {
	desired, status := *deployment.Spec.Replicas, &deployment.Status
	return status.ObservedGeneration == deployment.Generation &&
		status.Replicas == desired && status.UpdatedReplicas == desired && status.AvailableReplicas == desired
}
