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
	"strings"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// All names of children are built in this file. The schema limits the lengths of the names of a Ray and of
// a worker group, so that none of them is too long.

// ServiceName returns the name of the Service of a Ray's head.
func ServiceName(ray *rayv1.Ray) string { return serviceName(ray.Name) }

func serviceName(ray string) string { return ray + "-head" }

// DeploymentName returns the name of the Deployment of the group with a role.
func DeploymentName(ray *rayv1.Ray, role rayv1.Role) string { return deploymentName(ray.Name, role) }

func deploymentName(ray string, role rayv1.Role) string { return ray + "-" + string(role) }

// IsServiceName returns whether the Service of the Ray with a name has this name.
func IsServiceName(ray, name string) bool { return name == serviceName(ray) }

// IsDeploymentName returns whether a Deployment of the Ray with a name can have this name, under any spec.
func IsDeploymentName(ray, name string) bool {
	return name == deploymentName(ray, rayv1.RoleHead) || name == deploymentName(ray, rayv1.RoleWorker) || IsWorkerGroupName(ray, name)
}

// IsWorkerGroupName returns whether the Deployment of a worker group of the Ray with a name can have this name.
func IsWorkerGroupName(ray, name string) bool {
	_, isGroup := workerGroupName(ray, name)
	return isGroup
}

// workerGroupName returns the name of the worker group that a Deployment of a Ray is for, and whether it is
// for one. Other Rays can have Deployments with such names: the owner says which Ray it is.
func workerGroupName(ray, deployment string) (group string, isGroup bool) {
	return strings.CutPrefix(deployment, deploymentName(ray, workerGroupRole("")))
}

// ChildNames returns the names of all children of a Ray, of any kind.
func ChildNames(ray *rayv1.Ray) []string {
	names := []string{ServiceName(ray)}
	for _, group := range Groups(ray) {
		names = append(names, DeploymentName(ray, group.Role))
	}
	return names
}
