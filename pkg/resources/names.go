package resources

import (
	"strings"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Every name that is derived from a Ray's is built in this file. The schema limits the
// name of a Ray so that none of them is ever too long.

// ServiceName returns the name of the Service in front of a Ray's head.
func ServiceName(ray *rayv1.Ray) string { return ray.Name + "-head" }

// DeploymentName returns the name of the Deployment of one group of a Ray.
func DeploymentName(ray *rayv1.Ray, role rayv1.Role) string { return ray.Name + "-" + string(role) }

// RayName returns the name of the Ray whose child has a name, or would have it.
func RayName(child string) string {
	if name, found := strings.CutSuffix(child, "-"+string(rayv1.RoleHead)); found {
		return name
	}
	return strings.TrimSuffix(child, "-"+string(rayv1.RoleWorker))
}
