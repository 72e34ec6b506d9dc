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

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// copyCounts copies the numbers of Pods of all groups.
func copyCounts(to, from *rayv1.RayStatus) {
	to.Head, to.Worker, to.WorkerGroups = from.Head, from.Worker, from.WorkerGroups
	to.DesiredWorkerReplicas, to.UpdatedWorkerReplicas = from.DesiredWorkerReplicas, from.UpdatedWorkerReplicas
	to.ReadyWorkerReplicas, to.AvailableWorkerReplicas = from.ReadyWorkerReplicas, from.AvailableWorkerReplicas
}

// addCounts adds the numbers of Pods of a group to a status.
func addCounts(status *rayv1.RayStatus, ray *rayv1.Ray, group *groupObservation) {
	counts := newReplicaCounts(group, &ray.Status)
	var desired *int32
	if group.autoscaled {
		desired = group.desired
	}
	switch group.role {
	case rayv1.RoleHead:
		status.Head.ReplicaCounts = counts
	case rayv1.RoleWorker:
		status.Worker = &rayv1.WorkerStatus{ReplicaCounts: counts, DesiredReplicas: desired, Selector: resources.Selector(ray, group.role)}
	default:
		status.WorkerGroups = append(status.WorkerGroups, rayv1.WorkerGroupStatus{Name: group.name, ReplicaCounts: counts, DesiredReplicas: desired})
	}
}

// setTotals sets the totals over all groups of workers, if there are any.
func setTotals(status *rayv1.RayStatus, groups []groupObservation) {
	if status.Worker == nil && len(status.WorkerGroups) == 0 {
		return
	}
	var total struct{ desired, updated, ready, available int32 } // one allocation
	for i := range groups {
		if group := &groups[i]; group.desired != nil && group.role != rayv1.RoleHead {
			total.desired += *group.desired
		}
	}
	add := func(counts *rayv1.ReplicaCounts) {
		total.updated += counts.UpdatedReplicas
		total.ready += counts.ReadyReplicas
		total.available += counts.AvailableReplicas
	}
	if status.Worker != nil {
		add(&status.Worker.ReplicaCounts)
	}
	for i := range status.WorkerGroups {
		add(&status.WorkerGroups[i].ReplicaCounts)
	}
	status.DesiredWorkerReplicas, status.UpdatedWorkerReplicas = &total.desired, &total.updated
	status.ReadyWorkerReplicas, status.AvailableWorkerReplicas = &total.ready, &total.available
}

// newReplicaCounts returns the counts that the Deployment of a group reports, all 0 if there is none.
// If the Deployment could not be read, the counts remain as they were last observed.
func newReplicaCounts(group *groupObservation, current *rayv1.RayStatus) rayv1.ReplicaCounts {
	deployment := group.deployment
	if deployment == nil && group.err != nil && asProblem(group.err).reason == reasonFailedGet {
		return lastCounts(group, current)
	}
	if deployment == nil {
		return rayv1.ReplicaCounts{}
	}
	return rayv1.ReplicaCounts{
		Replicas:            deployment.Status.Replicas,
		UpdatedReplicas:     deployment.Status.UpdatedReplicas,
		ReadyReplicas:       deployment.Status.ReadyReplicas,
		AvailableReplicas:   deployment.Status.AvailableReplicas,
		UnavailableReplicas: deployment.Status.UnavailableReplicas,
	}
}

// lastDesired returns the number of desired nodes of a group: that in the status if the group is autoscaled.
func lastDesired(group *resources.Group, status *rayv1.RayStatus) int32 {
	desired := &group.Replicas
	if group.Autoscaling == nil {
		return *desired
	}
	if group.Role == rayv1.RoleWorker && status.Worker != nil {
		desired = cmp.Or(status.Worker.DesiredReplicas, desired)
	}
	for i := range status.WorkerGroups {
		if status.WorkerGroups[i].Name == group.Name {
			desired = cmp.Or(status.WorkerGroups[i].DesiredReplicas, desired)
		}
	}
	return *desired
}

// lastCounts returns the counts of a group in a status.
func lastCounts(group *groupObservation, status *rayv1.RayStatus) rayv1.ReplicaCounts {
	switch {
	case group.role == rayv1.RoleHead:
		return status.Head.ReplicaCounts
	case group.role == rayv1.RoleWorker && status.Worker != nil:
		return status.Worker.ReplicaCounts
	}
	for i := range status.WorkerGroups {
		if status.WorkerGroups[i].Name == group.name {
			return status.WorkerGroups[i].ReplicaCounts
		}
	}
	return rayv1.ReplicaCounts{}
}
