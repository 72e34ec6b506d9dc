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
	"context"
	"errors"
	"slices"

	appsv1 "k8s.io/api/apps/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// What a group waits for.
const (
	waitingCreate = "not created: waiting for the head"
	waitingUpdate = "not updated: waiting for the head"
	waitingGroup  = "not updated: an update of another group was rejected"
)

// errOtherGroup is the error of a group that is not updated, since another one cannot be.
var errOtherGroup = errors.New("an update of another group was rejected")

// syncGroups brings the Deployments of a Ray's groups to their desired state, and deletes those of groups
// that the spec no longer has.
//
// Nodes of two versions of Ray do not form a cluster. So workers get a new template only after the head
// has rolled out its own; and if the templates of both are new, either is rejected before any is written:
// the workers' by a dry run, the head's since it is the first. Replicas do not wait.
func syncGroups(ctx context.Context, scaler scaler, deployments *children[*appsv1.Deployment], removed []resources.Group) []groupObservation {
	ray, groups := scaler.ray, scaledGroups(scaler, deployments)
	observed := make([]groupObservation, 0, len(groups)+len(removed))
	for i := range groups {
		observed = append(observed, newGroupObservation(&groups[i]))
	}

	newWorkers := func() (names []string) {
		for _, group := range groups[1:] {
			// An orphan that is to be adopted is not in the cache.
			if deployment := deployments.cached(resources.DeploymentName(ray, group.Role)); deployment == nil || replacesTemplate(ray, group, deployment) {
				names = append(names, group.Name)
			}
		}
		return names
	}
	head, desired := &observed[0], desiredGroup(ray, &groups[0], templateRollout{newWorkers: newWorkers})
	desired.beforeUpdate = func(diff []string) error {
		if slices.Contains(diff, partTemplate) {
			return checkWorkers(ctx, ray, deployments, groups, observed)
		}
		return nil
	}
	head.deployment, head.err = deployments.ensure(ctx, desired)
	if head.err == nil {
		head.deployment, head.err = deployments.update(ctx, head.deployment, desired)
	}
	if errors.Is(head.err, errOtherGroup) {
		head.err = nil
		for i := range observed {
			if observed[i].err == nil {
				observed[i].waiting = waitingGroup
			}
		}
	}
	if head.isRolledOut() {
		deployments.memory.sawHead(ray)
	}
	for i := 1; i < len(groups) && head.waiting == ""; i++ {
		syncWorkers(ctx, scaler, deployments, &groups[i], head, &observed[i])
	}
	for _, group := range removed {
		state := groupObservation{name: group.Name, role: group.Role}
		state.deployment, state.err = deployments.delete(ctx, resources.DeploymentName(ray, group.Role))
		if state.deployment == nil && state.err == nil {
			deployments.memory.forgetGroup(ray, group.Name)
		}
		observed = append(observed, state)
	}
	return observed
}

// scaledGroups returns the groups that the spec of a Ray has, with the replicas that they are to have.
func scaledGroups(scaler scaler, deployments *children[*appsv1.Deployment]) []resources.Group {
	groups := resources.Groups(scaler.ray)
	for i := range groups {
		if group := &groups[i]; group.Autoscaling != nil {
			scaler.scale(group, deployments.cached(resources.DeploymentName(scaler.ray, group.Role)))
		}
	}
	return groups
}

// removedGroups returns the groups that the spec of a Ray no longer has, and that may have a Deployment. The
// cache does not have a Deployment that has lost its label, so those groups that the status names, or that
// the spec has had since the operator started, are looked up, too.
func removedGroups(ray *rayv1.Ray, caches *caches, memory *memory) []resources.Group {
	return resources.RemovedGroups(ray, memory.sawGroups(ray), caches.workerGroupDeployments(ray))
}

// desiredGroup returns what the Deployment of a group is to be.
func desiredGroup(ray *rayv1.Ray, group *resources.Group, rollout templateRollout) desiredChild[*appsv1.Deployment] {
	return desiredChild[*appsv1.Deployment]{
		name:   resources.DeploymentName(ray, group.Role),
		create: func() *appsv1.Deployment { return newDeployment(ray, *group) },
		update: func(observed *appsv1.Deployment, recorded *lastApplied) (*appsv1.Deployment, []string) {
			return desiredDeployment(ray, *group, observed, recorded, rollout)
		},
	}
}

// checkWorkers checks by dry runs whether the API server accepts the new templates of the workers, if
// any. If it rejects one, checkWorkers returns errOtherGroup. The first one of the groups is the head.
func checkWorkers(ctx context.Context, ray *rayv1.Ray, deployments *children[*appsv1.Deployment], groups []resources.Group, observed []groupObservation) error {
	var rejected error
	head := deployments.cached(resources.DeploymentName(ray, rayv1.RoleHead))
	rollout := templateRollout{newHead: head != nil && replacesTemplate(ray, groups[0], head)}
	for i := 1; i < len(groups); i++ {
		group, state := groups[i], &observed[i]
		desired := desiredGroup(ray, &group, rollout)
		state.deployment = deployments.cached(desired.name)
		if state.deployment != nil && replacesTemplate(ray, group, state.deployment) {
			if state.err = deployments.dryRun(ctx, state.deployment, desired); state.err != nil {
				rejected = errOtherGroup
			}
		}
	}
	return rejected
}

// syncWorkers brings the Deployment of a group of workers to its desired state, as far as the head allows.
func syncWorkers(ctx context.Context, scaler scaler, deployments *children[*appsv1.Deployment], group *resources.Group, head, state *groupObservation) {
	ray, rollout := scaler.ray, templateRollout{head: head.deployment}
	desired := desiredGroup(ray, group, rollout)
	if head.isRejected() && deployments.cached(desired.name) == nil {
		state.waiting = waitingCreate
		return
	}
	state.deployment, state.err = deployments.ensure(ctx, desired)
	if state.err != nil {
		return
	}
	rollout.hold = !head.isRolledOut() && replacesTemplate(ray, *group, state.deployment) && mustWaitForHead(ray, deployments, head, state.deployment)
	if rollout.hold {
		state.waiting, desired = waitingUpdate, desiredGroup(ray, group, rollout)
	}
	scaler.scale(group, state.deployment) // an orphan that is to be adopted is not in the cache
	*state.desired = group.Replicas
	if group.Autoscaling != nil {
		desired.scaled = func(observed, stored *appsv1.Deployment) string { return scaler.message(group, observed, stored) }
	}
	state.deployment, state.err = deployments.update(ctx, state.deployment, desired)
}

// mustWaitForHead returns whether workers must still wait for a head that has not rolled out. They do not
// wait for ever for Pods of the head: the head may need what is new in the workers, such as less of the room
// that both have.
func mustWaitForHead(ray *rayv1.Ray, deployments *children[*appsv1.Deployment], head *groupObservation, workers *appsv1.Deployment) bool {
	if head.isRejected() || head.deployment == nil || head.deployment.Spec.Paused {
		deployments.memory.sawHead(ray)
		return true
	}
	if replicasOf(workers) == 0 && hasRolledOut(workers) {
		return false // No worker has the old template, and none is to start with it.
	}
	remaining := deployments.memory.awaitHead(ray, readLastApplied(head.deployment).Inputs, deployments.clock.Now())
	deployments.retryAfter = earliest(deployments.retryAfter, remaining)
	return remaining > 0
}
