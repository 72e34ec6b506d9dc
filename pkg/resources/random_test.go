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
	"flag"
	"maps"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/podtemplate"
)

var randomSeed = flag.Int64("random.seed", 1, "seed of TestRandomTemplates")

// TestRandomTemplates renders random Pod templates with commands. The result must equal the template
// except for the labels and variables that the operator adds.
func TestRandomTemplates(t *testing.T) {
	const rays = 1500
	filler := newFiller(*randomSeed)
	for i := range rays {
		ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x", UID: "u"}, Spec: rayv1.RaySpec{Worker: &rayv1.WorkerSpec{}}}
		filler.Fill(&ray.Spec.Head.Template)
		filler.Fill(&ray.Spec.Worker.Template)
		setCommands(ray, []string{"ray"})
		if i%2 == 0 {
			ray.Spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: "token", Key: "key"}}
		}
		before := ray.DeepCopy()
		for _, group := range Groups(ray) {
			got := NewDeployment(ray, group).Spec.Template
			want := group.Template.DeepCopy()
			if i%2 == 0 {
				addToken(want)
			}
			addToTemplate(want, string(group.Role))
			if !reflect.DeepEqual(*want, got) { // much faster than cmp.Diff
				t.Errorf("the %s template of Ray %d is rendered wrongly (-want +got):\n%s", group.Role, i, cmp.Diff(*want, got))
			}
		}
		if !reflect.DeepEqual(before, ray) {
			t.Errorf("rendering changed Ray %d (-before +after):\n%s", i, cmp.Diff(before, ray))
		}
		if t.Failed() {
			t.Fatalf("to reproduce: go test ./pkg/resources -run TestRandomTemplates -random.seed %d", *randomSeed)
		}
	}
}

// TestRandomTemplatesWithoutCommand renders random Pod templates without commands, half of them with a storage
// for the GCS, and a third autoscaled. What the user set must remain, next to what is generated.
func TestRandomTemplatesWithoutCommand(t *testing.T) {
	filler := newFiller(*randomSeed)
	for i := range 500 {
		ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x", UID: "u"}, Spec: rayv1.RaySpec{Worker: &rayv1.WorkerSpec{}}}
		filler.Fill(&ray.Spec.Head.Template)
		filler.Fill(&ray.Spec.Worker.Template)
		setCommands(ray, nil)
		if i%2 == 0 {
			ray.Spec.GCS = &rayv1.GCSSpec{VolumeClaim: &rayv1.VolumeClaimReference{Name: "claim"}}
		}
		if i%3 == 0 {
			ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 3}
		}
		before := ray.DeepCopy()
		for _, group := range Groups(ray) {
			got := NewDeployment(ray, group).Spec.Template
			if want := UserTemplate(ray, group); !podtemplate.Contains(&got, want) {
				t.Errorf("the %s template of Ray %d lacks fields of the user's (-want +got):\n%s", group.Role, i, cmp.Diff(*want, got))
			}
			if containers := got.Spec.Containers; len(containers) > 0 && len(containers[0].Command) == 0 {
				t.Errorf("the %s of Ray %d has no command", group.Role, i)
			}
		}
		if !reflect.DeepEqual(before, ray) {
			t.Errorf("rendering changed Ray %d (-before +after):\n%s", i, cmp.Diff(before, ray))
		}
		if t.Failed() {
			t.Fatalf("to reproduce: go test ./pkg/resources -run TestRandomTemplatesWithoutCommand -random.seed %d", *randomSeed)
		}
	}
}

// setCommands sets the commands of the first containers of a Ray's templates.
func setCommands(ray *rayv1.Ray, command []string) {
	for _, group := range Groups(ray) {
		if containers := group.Template.Spec.Containers; len(containers) > 0 {
			containers[0].Command, containers[0].Args = command, nil
		}
	}
}

// addToTemplate adds to a template of the Ray x what the operator must add.
func addToTemplate(template *corev1.PodTemplateSpec, role string) {
	labels := map[string]string{
		"app.kubernetes.io/name":       "ray",
		"app.kubernetes.io/instance":   "x",
		"app.kubernetes.io/component":  role,
		"app.kubernetes.io/managed-by": "ray-operator",
	}
	maps.Copy(labels, template.Labels)
	labels["ray.kubeflow.org/name"] = "x"
	labels["ray.kubeflow.org/role"] = role
	template.Labels = labels

	for i := range template.Spec.InitContainers {
		addToContainer(&template.Spec.InitContainers[i])
	}
	for i := range template.Spec.Containers {
		container := &template.Spec.Containers[i]
		addToContainer(container)
		if i == 0 && container.TerminationMessagePolicy == "" {
			container.TerminationMessagePolicy = "FallbackToLogsOnError"
		}
		for _, port := range container.Ports {
			if i == 0 && role == "head" && port.ContainerPort == 6379 && port.Protocol != "UDP" && container.ReadinessProbe == nil {
				container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(6379)}}}
			}
		}
	}
}

// addToken adds the token to the first container of a template. Random templates do not define it.
func addToken(template *corev1.PodTemplateSpec) {
	if len(template.Spec.Containers) == 0 {
		return
	}
	secret := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "token"}, Key: "key"}
	container := &template.Spec.Containers[0]
	container.Env = append([]corev1.EnvVar{
		{Name: "RAY_AUTH_MODE", Value: "token"},
		{Name: "RAY_AUTH_TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: secret}},
	}, container.Env...)
}

// addToContainer adds the variables that the operator must add to a container: before those of the user,
// unless the user defines one with the same name.
func addToContainer(container *corev1.Container) {
	podIP := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}
	defined := map[string]bool{}
	for _, variable := range container.Env {
		defined[variable.Name] = true
	}
	all := []corev1.EnvVar{}
	for _, variable := range []corev1.EnvVar{
		{Name: "RAY_HEAD_SERVICE", Value: "x-head"},
		{Name: "RAY_NODE_IP", ValueFrom: podIP},
		{Name: "MY_POD_IP", ValueFrom: podIP},
	} {
		if !defined[variable.Name] {
			all = append(all, variable)
		}
	}
	container.Env = append(all, container.Env...)
}

// newFiller returns a Filler for Pod templates. Some of them define labels and variables that the
// operator adds, too.
func newFiller(seed int64) *randfill.Filler {
	labels := []string{"ray.kubeflow.org/name", "ray.kubeflow.org/role", "app.kubernetes.io/name", "app.kubernetes.io/component"}
	variables := []string{"RAY_HEAD_SERVICE", "RAY_NODE_IP", "MY_POD_IP"}
	return randfill.NewWithSeed(seed).NilChance(.5).NumElements(0, 2).Funcs(
		func(quantity *resource.Quantity, c randfill.Continue) {
			*quantity = *resource.NewMilliQuantity(c.Int63n(1<<40), resource.DecimalSI)
		},
		func(meta *metav1.ObjectMeta, c randfill.Continue) {
			c.FillNoCustom(meta)
			if c.Intn(4) == 0 {
				meta.Labels = map[string]string{labels[c.Intn(len(labels))]: c.String(10), "team": c.String(10)}
			}
		},
		func(port *corev1.ContainerPort, c randfill.Continue) {
			*port = corev1.ContainerPort{
				ContainerPort: []int32{6379, 8265}[c.Intn(2)],
				Protocol:      []corev1.Protocol{"", "TCP", "UDP"}[c.Intn(3)],
			}
		},
		func(variable *corev1.EnvVar, c randfill.Continue) {
			c.FillNoCustom(variable)
			if c.Intn(4) == 0 {
				variable.Name = variables[c.Intn(len(variables))]
			}
		},
	)
}
