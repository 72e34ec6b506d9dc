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
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// NewDeployment returns the desired Deployment of a group of a Ray.
func NewDeployment(ray *rayv1.Ray, group Group) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: newObjectMeta(ray, group.Role, DeploymentName(ray, group.Role)),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(group.Replicas),
			Selector: &metav1.LabelSelector{MatchLabels: selectorLabels(ray, group.Role)},
			Strategy: appsv1.DeploymentStrategy{Type: strategies[group.Role]},
			Template: newPodTemplate(ray, group),
		},
	}
}

// strategies has the strategy of each role. With a rolling update of the head, two GCS would run
// behind one Service for a while, and split the cluster in two.
var strategies = map[rayv1.Role]appsv1.DeploymentStrategyType{
	rayv1.RoleHead:   appsv1.RecreateDeploymentStrategyType,
	rayv1.RoleWorker: appsv1.RollingUpdateDeploymentStrategyType,
}

// newPodTemplate returns the user's template with the labels and the environment of a Ray node. All
// other fields are the user's and are not changed.
func newPodTemplate(ray *rayv1.Ray, group Group) corev1.PodTemplateSpec {
	template := *group.Template.DeepCopy()

	// A user may override the recommended labels, but not those that select.
	labels := Labels(ray, group.Role)
	maps.Copy(labels, template.Labels)
	maps.Copy(labels, selectorLabels(ray, group.Role))
	template.Labels = labels

	env := newEnvironment(ray)
	for _, containers := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range containers {
			containers[i].Env = prependMissing(env, containers[i].Env)
		}
	}
	return template
}

// newEnvironment returns the variables that Ray nodes use to find each other.
func newEnvironment(ray *rayv1.Ray) []corev1.EnvVar {
	podIP := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}
	return []corev1.EnvVar{
		{Name: "RAY_HEAD_SERVICE", Value: ServiceName(ray)},
		{Name: "RAY_NODE_IP", ValueFrom: podIP},
		{Name: "MY_POD_IP", ValueFrom: podIP},
	}
}

// prependMissing returns the user's variables, preceded by those defaults that the user does not
// define. Defaults come first because $(NAME) expands only variables that are defined earlier.
func prependMissing(defaults, users []corev1.EnvVar) []corev1.EnvVar {
	missing := slices.DeleteFunc(slices.Clone(defaults), func(variable corev1.EnvVar) bool {
		return slices.ContainsFunc(users, func(user corev1.EnvVar) bool { return user.Name == variable.Name })
	})
	return append(missing, users...)
}

// groupInputs are all fields of a group that its Pods are made from. A new field needs omitempty:
// without a value it must not change the hash of existing groups, or their Pods restart.
type groupInputs struct {
	Template *corev1.PodTemplateSpec `json:"template"`
}

// InputsHash returns the hash of the user's inputs that the Pods of a group are made from.
func InputsHash(group Group) string { return Hash(groupInputs{Template: group.Template}) }

// Hash returns a short hash of the JSON encoding of a value.
func Hash(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		// API types are made from JSON, so this is a bug in one of them.
		panic(fmt.Sprintf("encoding a value to hash: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
