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

package resources

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Group is a group of Ray nodes that have the same template. Each group has a Deployment.
type Group struct {
	// Name identifies the group in its Ray, in messages, and for Ray's nodes.
	Name string
	// Role is the role of the group's nodes. Names of children and labels have it.
	Role rayv1.Role
	// Replicas is the number of desired nodes, 0 while the Ray is suspended. For an autoscaled group it is the number
	// at creation, within the bounds.
	Replicas int32
	// Autoscaling has the settings of an autoscaled group of workers, or is nil.
	Autoscaling *Autoscaling
	// Template is the user's Pod template. It is part of the Ray and must not be changed.
	Template *corev1.PodTemplateSpec
	// Start configures the generated start, or is nil. It is part of the Ray and must not be changed.
	Start *rayv1.StartSpec
	// Strategy is the user's strategy of a group of workers, or nil. It is part of the Ray and must not be changed.
	Strategy *rayv1.WorkerStrategy
	// Authentication is that of the Ray, or nil.
	Authentication *rayv1.AuthenticationSpec
	// GCS is that of the Ray, or nil.
	GCS *rayv1.GCSSpec
	// ExternalAutoscaler is set on the head of a Ray with an autoscaled group: the operator scales it, not Ray.
	ExternalAutoscaler bool
}

// IsHead returns whether the group is the head. All other groups are workers.
func (g *Group) IsHead() bool { return g.Role == rayv1.RoleHead }

// Groups returns the groups that a Ray's spec has, the head first.
func Groups(ray *rayv1.Ray) []Group {
	head := &ray.Spec.Head
	groups := make([]Group, 1, 2+len(ray.Spec.WorkerGroups))
	groups[0] = Group{Name: string(rayv1.RoleHead), Role: rayv1.RoleHead, Replicas: replicas(head.Replicas), Template: &head.Template, Start: head.Start}
	if worker := ray.Spec.Worker; worker != nil {
		groups = append(groups, newWorkers(string(rayv1.RoleWorker), rayv1.RoleWorker, worker))
	}
	for i := range ray.Spec.WorkerGroups {
		group := &ray.Spec.WorkerGroups[i]
		groups = append(groups, newWorkers(group.Name, workerGroupRole(group.Name), &group.WorkerSpec))
	}
	suspended := IsSuspended(ray)
	groups[0].ExternalAutoscaler = IsAutoscaled(ray)
	for i := range groups {
		group := &groups[i]
		group.Authentication, group.GCS = ray.Spec.Authentication, ray.Spec.GCS
		if suspended {
			group.Replicas = 0
		}
	}
	return groups
}

// IsSuspended returns whether a Ray is to have no Pods: its user suspends it, or wants no head, without
// which workers only wait.
func IsSuspended(ray *rayv1.Ray) bool {
	return ray.Spec.Suspend != nil && *ray.Spec.Suspend || replicas(ray.Spec.Head.Replicas) == 0
}

func newWorkers(name string, role rayv1.Role, spec *rayv1.WorkerSpec) Group {
	group := Group{
		Name: name, Role: role, Replicas: replicas(spec.Replicas), Autoscaling: newAutoscaling(spec.Autoscaling),
		Template: &spec.Template, Start: spec.Start, Strategy: spec.Strategy,
	}
	if group.Autoscaling != nil {
		group.Replicas = group.Autoscaling.Clamp(group.Replicas)
	}
	return group
}

// workerGroupRole returns the role of the worker group with a name.
func workerGroupRole(name string) rayv1.Role { return rayv1.RoleWorker + "-" + rayv1.Role(name) }

// RemovedGroups returns the groups that an earlier spec of the Ray may have had: the workers, and the
// worker groups with one of these names, that have a Deployment, or that the status names. Only their
// names and roles are set.
func RemovedGroups(ray *rayv1.Ray, names, deployments []string) []Group {
	if ray.Spec.Worker != nil && len(names)+len(deployments)+len(ray.Status.WorkerGroups) == 0 {
		return nil
	}
	known := sets.New[rayv1.Role]()
	for _, group := range Groups(ray) {
		known.Insert(group.Role)
	}
	var removed []Group
	add := func(name string, role rayv1.Role) {
		if !known.Has(role) {
			known.Insert(role)
			removed = append(removed, Group{Name: name, Role: role})
		}
	}
	add(string(rayv1.RoleWorker), rayv1.RoleWorker)
	for _, group := range ray.Status.WorkerGroups {
		names = append(names, group.Name)
	}
	for _, name := range names {
		// A Ray that was stored under another schema may have any name there.
		if len(validation.IsDNS1123Label(name)) == 0 {
			add(name, workerGroupRole(name))
		}
	}
	for _, deployment := range deployments {
		if name, isGroup := workerGroupName(ray.Name, deployment); isGroup {
			add(name, workerGroupRole(name))
		}
	}
	return removed
}

// replicas returns the value of a field replicas. Its default is in the schema, but a Ray may have
// been stored under a schema without it.
func replicas(field *int32) int32 {
	if field == nil {
		return 1
	}
	return *field
}
