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

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Group is a group of Ray nodes that have the same template. Each group has a Deployment.
type Group struct {
	// Name identifies the group in its Ray, and in messages.
	Name string
	// Role is the role of the group's nodes.
	Role rayv1.Role
	// Replicas is the number of desired nodes.
	Replicas int32
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
}

// Groups returns the groups that a Ray's spec has, the head first.
func Groups(ray *rayv1.Ray) []Group {
	head := &ray.Spec.Head
	groups := make([]Group, 1, 2)
	groups[0] = Group{Name: string(rayv1.RoleHead), Role: rayv1.RoleHead, Replicas: replicas(head.Replicas), Template: &head.Template, Start: head.Start}
	if worker := ray.Spec.Worker; worker != nil {
		groups = append(groups, Group{Name: string(rayv1.RoleWorker), Role: rayv1.RoleWorker, Replicas: replicas(worker.Replicas), Template: &worker.Template, Start: worker.Start, Strategy: worker.Strategy})
	}
	for i := range groups {
		groups[i].Authentication, groups[i].GCS = ray.Spec.Authentication, ray.Spec.GCS
	}
	return groups
}

// RemovedGroups returns the groups that an earlier spec of the Ray may have had. Only their names
// and roles are set.
func RemovedGroups(ray *rayv1.Ray) []Group {
	if ray.Spec.Worker != nil {
		return nil
	}
	return []Group{{Name: string(rayv1.RoleWorker), Role: rayv1.RoleWorker}}
}

// replicas returns the value of a field replicas. Its default is in the schema, but a Ray may have
// been stored under a schema without it.
func replicas(field *int32) int32 {
	if field == nil {
		return 1
	}
	return *field
}
