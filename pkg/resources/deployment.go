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
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// NewDeployment returns the desired Deployment of a group of a Ray.
func NewDeployment(ray *rayv1.Ray, group Group) *appsv1.Deployment {
	metadata := newObjectMeta(ray, group.Role, DeploymentName(ray, group.Role))
	metadata.Labels = DeploymentLabels(ray, group)
	template := newPodTemplate(ray, group)
	return &appsv1.Deployment{
		ObjectMeta: metadata,
		Spec: appsv1.DeploymentSpec{
			Replicas:        new(group.Replicas),
			MinReadySeconds: minReadySeconds(group, &template),
			Selector:        &metav1.LabelSelector{MatchLabels: selectorLabels(ray, group.Role)},
			Strategy:        newStrategy(group),
			Template:        template,
		},
	}
}

// newStrategy returns the strategy of a group: the default, except for what the user sets.
func newStrategy(group Group) appsv1.DeploymentStrategy {
	strategy := defaultStrategy(group.Role)
	if group.Strategy == nil {
		return strategy
	}
	if value := group.Strategy.MaxUnavailable; value != nil {
		strategy.RollingUpdate.MaxUnavailable = new(*value)
	}
	if value := group.Strategy.MaxSurge; value != nil {
		strategy.RollingUpdate.MaxSurge = new(*value)
	}
	return strategy
}

// defaultStrategy returns the strategy of a role. With a rolling update of the head, two GCS would run
// behind one Service for a while, and split the cluster in two. A rollout of workers starts no
// additional Pods, since a quota or the GPUs of a cluster may have no room for them; of fewer than four
// workers, the Deployment controller replaces one at a time.
func defaultStrategy(role rayv1.Role) appsv1.DeploymentStrategy {
	if role == rayv1.RoleHead {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}
	return appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: new(intstr.FromString("25%")),
			MaxSurge:       new(intstr.FromInt32(0)),
		},
	}
}

// AllAtOnceStrategy returns the strategy for workers of which the cluster is gone.
func AllAtOnceStrategy() appsv1.DeploymentStrategy {
	strategy := defaultStrategy(rayv1.RoleWorker)
	strategy.RollingUpdate.MaxUnavailable = new(intstr.FromString("100%"))
	return strategy
}

// UserTemplate returns the user's template, except for the labels that a user cannot override. Every
// version of the operator renders a template that contains it.
func UserTemplate(ray *rayv1.Ray, group Group) *corev1.PodTemplateSpec {
	template := group.Template.DeepCopy()
	if len(template.Labels) > 0 {
		maps.Copy(template.Labels, selectorLabels(ray, group.Role))
	}
	return template
}

// newPodTemplate returns the user's template with the labels and the environment of a Ray node, what
// shows whether one works and, if the user gives no command, what starts one. All other fields are the
// user's and are not changed.
func newPodTemplate(ray *rayv1.Ray, group Group) corev1.PodTemplateSpec {
	template := *group.Template.DeepCopy()

	// A user may override the recommended labels, but not those that select.
	labels := Labels(ray, group.Role)
	maps.Copy(labels, template.Labels)
	maps.Copy(labels, selectorLabels(ray, group.Role))
	template.Labels = labels

	if generatesStart(&template) {
		addStart(ray, group, &template)
	}
	if len(template.Spec.Containers) > 0 {
		container := &template.Spec.Containers[0]
		setDiagnostics(container, group.Role)
		container.Env = prependMissing(authenticationEnvironment(group.Authentication), container.Env)
		if group.Autoscaling != nil {
			// The autoscaler must know the group of each node, even if the user's command starts it.
			container.Env = prependMissing(nodeEnvironment(group), container.Env)
		}
		addGCSStorage(ray, group, &template.Spec)
	}
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

// authenticationEnvironment returns Ray's variables for its authentication. The kubelet reads the token.
func authenticationEnvironment(authentication *rayv1.AuthenticationSpec) []corev1.EnvVar {
	if authentication == nil {
		return nil
	}
	return []corev1.EnvVar{
		{Name: "RAY_AUTH_MODE", Value: "token"},
		{Name: "RAY_AUTH_TOKEN", ValueFrom: fromSecret(&authentication.TokenSecretKeyRef)},
	}
}

func fromSecret(reference *rayv1.SecretKeyReference) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: reference.Name}, Key: reference.Key,
	}}
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
	Start    *rayv1.StartSpec        `json:"start,omitempty"`

	Authentication *rayv1.AuthenticationSpec `json:"authentication,omitempty"`
	GCS            *rayv1.GCSSpec            `json:"gcs,omitempty"`

	// Autoscaled is set if autoscaling adds to the Pods, whatever its bounds are.
	Autoscaled bool `json:"autoscaled,omitempty"`
}

// InputsHash returns the hash of the user's inputs that the Pods of a group are made from.
func InputsHash(group Group) string {
	return Hash(groupInputs{
		Template: group.Template, Start: group.Start, Authentication: group.Authentication, GCS: group.GCS,
		Autoscaled: autoscalingAddsToPods(group),
	})
}

// RenderingHash returns the hash of what this version of the operator renders from the inputs of a group. The
// user's strategy is not one of them, since it does not change the Pods.
func RenderingHash(group Group, deployment *appsv1.Deployment) string {
	strategy := deployment.Spec.Strategy
	if group.Strategy != nil {
		strategy = defaultStrategy(group.Role)
	}
	return Hash([]any{&deployment.Spec.Template, strategy, deployment.Spec.MinReadySeconds})
}

// Hash returns a short hash of the JSON encoding of a value.
func Hash(value any) string {
	sum := sha256.Sum256([]byte(mustMarshal(value)))
	return hex.EncodeToString(sum[:8])
}

// mustMarshal returns the JSON encoding of a value, with sorted keys.
func mustMarshal(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		// API types are made from JSON, so this is a bug in one of them.
		panic(fmt.Sprintf("encoding %T: %v", value, err))
	}
	return string(data)
}
