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
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// ManagedBy is the value of the label app.kubernetes.io/managed-by of every child.
const ManagedBy = "ray-operator"

// newObjectMeta returns the metadata of a child of a Ray.
func newObjectMeta(ray *rayv1.Ray, role rayv1.Role, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       ray.Namespace,
		Name:            name,
		Labels:          Labels(ray, role),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ray, rayv1.SchemeGroupVersionKind)},
	}
}

// Labels returns the labels of a child: the operator's own, which select, and the labels that
// Kubernetes recommends.
func Labels(ray *rayv1.Ray, role rayv1.Role) map[string]string {
	all := selectorLabels(ray, role)
	all["app.kubernetes.io/name"] = "ray"
	all["app.kubernetes.io/instance"] = ray.Name
	all["app.kubernetes.io/component"] = string(role)
	all["app.kubernetes.io/managed-by"] = ManagedBy
	return all
}

// kueuePrefix is the prefix of the labels with which Kueue finds the queue and the priority of a Deployment
// (https://kueue.sigs.k8s.io/docs/tasks/run/deployment/).
const kueuePrefix = "kueue.x-k8s.io/"

// QueueLabels returns the labels for Kueue in a group's template. The group's Deployment has them, too.
func QueueLabels(group Group) map[string]string {
	var labels map[string]string
	for key, value := range group.Template.Labels {
		if strings.HasPrefix(key, kueuePrefix) {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = value
		}
	}
	return labels
}

// DeploymentLabels returns the labels of a group's Deployment.
func DeploymentLabels(ray *rayv1.Ray, group Group) map[string]string {
	all := Labels(ray, group.Role)
	maps.Copy(all, QueueLabels(group))
	return all
}

// Selector returns the label selector of a group's Pods as the scale subresource reports it.
func Selector(ray *rayv1.Ray, role rayv1.Role) string {
	return rayv1.LabelName + "=" + ray.Name + "," + rayv1.LabelRole + "=" + string(role)
}

// selectorLabels returns the labels that select the Pods of a group. The selector of a Deployment is
// immutable, so these labels must never change.
func selectorLabels(ray *rayv1.Ray, role rayv1.Role) map[string]string {
	return map[string]string{
		rayv1.LabelName: ray.Name,
		rayv1.LabelRole: string(role),
	}
}
