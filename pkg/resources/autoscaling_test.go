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
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestAutoscaling has settings as the API server stores them, and some that an older schema accepts.
func TestAutoscaling(t *testing.T) {
	tests := []struct {
		name         string
		replicas     *int32
		spec         *rayv1.AutoscalingSpec
		want         *Autoscaling
		wantReplicas int32
	}{
		{"no autoscaling", new(int32(7)), nil, nil, 7},
		{"defaults", nil, &rayv1.AutoscalingSpec{MaxReplicas: 3}, &Autoscaling{0, 3, time.Minute}, 1},
		{"all settings", new(int32(3)), &rayv1.AutoscalingSpec{MinReplicas: new(int32(2)), MaxReplicas: 4, IdleTimeoutSeconds: new(int32(5))}, &Autoscaling{2, 4, 5 * time.Second}, 3},
		{"fewer replicas than the minimum", new(int32(0)), &rayv1.AutoscalingSpec{MinReplicas: new(int32(2)), MaxReplicas: 4}, &Autoscaling{2, 4, time.Minute}, 2},
		{"more replicas than the maximum", new(int32(9)), &rayv1.AutoscalingSpec{MaxReplicas: 4}, &Autoscaling{0, 4, time.Minute}, 4},
		{"no nodes at all", new(int32(9)), &rayv1.AutoscalingSpec{}, &Autoscaling{0, 0, time.Minute}, 0},
		{"values that are not valid", new(int32(1)), &rayv1.AutoscalingSpec{MinReplicas: new(int32(-1)), MaxReplicas: -2, IdleTimeoutSeconds: new(int32(0))}, &Autoscaling{0, 0, time.Second}, 0},
		{"a minimum above the maximum", new(int32(1)), &rayv1.AutoscalingSpec{MinReplicas: new(int32(5)), MaxReplicas: 2}, &Autoscaling{5, 5, time.Minute}, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := &rayv1.Ray{}
			ray.Spec.Worker = &rayv1.WorkerSpec{Replicas: test.replicas, Autoscaling: test.spec}
			head, worker := Groups(ray)[0], Groups(ray)[1]
			if diff := cmp.Diff(test.want, worker.Autoscaling); diff != "" {
				t.Errorf("autoscaling (-want +got):\n%s", diff)
			}
			if worker.Replicas != test.wantReplicas {
				t.Errorf("there are %d replicas, want %d", worker.Replicas, test.wantReplicas)
			}
			if autoscaled := test.spec != nil; IsAutoscaled(ray) != autoscaled || head.ExternalAutoscaler != autoscaled || worker.ExternalAutoscaler {
				t.Errorf("the Ray is autoscaled: %t, the head knows: %t, the worker: %t", IsAutoscaled(ray), head.ExternalAutoscaler, worker.ExternalAutoscaler)
			}
			ray.Spec.Suspend = new(true)
			if got := Groups(ray)[1].Replicas; got != 0 {
				t.Errorf("a suspended Ray has %d replicas", got)
			}
		})
	}
}

// workersWith returns a group of workers.
func workersWith(start *rayv1.StartSpec, container corev1.Container) Group {
	template := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
	return Group{Name: "gpu", Role: workerGroupRole("gpu"), Template: template, Start: start}
}

func TestNodeResources(t *testing.T) {
	limits := corev1.ResourceRequirements{Limits: quantities("cpu", "1500m", "memory", "1000", "nvidia.com/gpu", "2", "google.com/tpu", "4")}
	all := map[string]float64{"CPU": 2, "GPU": 2, "TPU": 4, "memory": 700, "object_store_memory": 300}
	own := []string{"ray", "start"}
	tests := []struct {
		name  string
		group Group
		want  map[string]float64
	}{
		{"a generated start has the resources of its flags", workersWith(nil, corev1.Container{Resources: limits}), all},
		{"without limits it has one CPU, and the memory is unknown", workersWith(nil, corev1.Container{}), map[string]float64{"CPU": 1}},
		{
			"resources of the user",
			workersWith(&rayv1.StartSpec{Resources: map[string]resource.Quantity{"CPU": resource.MustParse("0"), "slot": resource.MustParse("2k")}}, corev1.Container{}),
			map[string]float64{"slot": 2000},
		},
		{"a command has the resources of the container", workersWith(nil, corev1.Container{Command: own, Resources: limits}), all},
		{
			"a command and a request",
			workersWith(nil, corev1.Container{Command: own, Resources: corev1.ResourceRequirements{Requests: quantities("cpu", "3")}}),
			map[string]float64{"CPU": 3},
		},
		{"a command and no CPUs", workersWith(nil, corev1.Container{Args: own, Resources: corev1.ResourceRequirements{Limits: quantities("memory", "1000")}}), nil},
		{"no container", Group{Template: &corev1.PodTemplateSpec{}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, NodeResources(test.group)); diff != "" {
				t.Errorf("resources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNodeLabels(t *testing.T) {
	for _, test := range []struct {
		start *rayv1.StartSpec
		want  map[string]string
	}{
		{nil, map[string]string{"ray.io/node-group": "gpu"}},
		{&rayv1.StartSpec{Labels: map[string]string{"zone": "a"}}, map[string]string{"ray.io/node-group": "gpu", "zone": "a"}},
	} {
		if diff := cmp.Diff(test.want, NodeLabels(workersWith(test.start, corev1.Container{}))); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
	}
}

// TestMissingHeadSettings has containers of heads, and what autoscaling lacks there.
func TestMissingHeadSettings(t *testing.T) {
	const variable, flag = "RAY_enable_autoscaler_v2=1", "--no-monitor"
	env := func(value string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "RAY_enable_autoscaler_v2", Value: value}}
	}
	reference := []corev1.EnvVar{{Name: "RAY_enable_autoscaler_v2", ValueFrom: &corev1.EnvVarSource{}}}
	tests := []struct {
		name      string
		container corev1.Container
		want      []string
	}{
		{"a generated start", corev1.Container{}, nil},
		{"a generated start, and the user disables it", corev1.Container{Env: env("0")}, []string{variable}},
		{"a command", corev1.Container{Command: []string{"ray", "start", "--head"}}, []string{variable, flag}},
		{"a shell command", corev1.Container{Command: []string{"sh", "-c"}, Args: []string{"ulimit -n 9; exec /bin/ray  start --head"}}, []string{variable, flag}},
		{"a command with the flag", corev1.Container{Args: []string{"ray", "start", "--no-monitor"}}, []string{variable}},
		{"a command with the variable", corev1.Container{Command: []string{"ray", "start"}, Env: env("1")}, []string{flag}},
		{"a shell command with both", corev1.Container{Args: []string{"RAY_enable_autoscaler_v2=1 ray start --head --no-monitor"}}, nil},
		{"a variable that is false", corev1.Container{Command: []string{"ray", "start", "--no-monitor"}, Env: env("false")}, []string{variable}},
		{"a variable that is defined twice", corev1.Container{Command: []string{"ray", "start", "--no-monitor"}, Env: append(env("0"), env("True")...)}, nil},
		{"a variable from a reference", corev1.Container{Command: []string{"ray", "start", "--no-monitor"}, Env: reference}, nil},
		{"variables from a ConfigMap", corev1.Container{Command: []string{"ray", "start", "--no-monitor"}, EnvFrom: make([]corev1.EnvFromSource, 1)}, nil},
		{"a script in the image", corev1.Container{Command: []string{"/start-head.sh"}}, []string{variable}},
		{"a script in the image, and the variable", corev1.Container{Command: []string{"/start-head.sh"}, Env: env("1")}, nil},
		{"another command", corev1.Container{Command: []string{"myray", "started"}, Env: env("1")}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := &rayv1.Ray{}
			ray.Spec.Head.Template.Spec.Containers = []corev1.Container{test.container}
			if diff := cmp.Diff(test.want, MissingHeadSettings(ray)); diff != "" {
				t.Errorf("missing settings (-want +got):\n%s", diff)
			}
		})
	}
	if got := MissingHeadSettings(&rayv1.Ray{}); got != nil {
		t.Errorf("without a container, %v is missing", got)
	}
}

func TestUsesTLS(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true, "True": true} {
		ray := &rayv1.Ray{}
		ray.Spec.Head.Template.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{{Name: "RAY_USE_TLS", Value: value}}}}
		if got := UsesTLS(ray); got != want {
			t.Errorf("with RAY_USE_TLS=%s, it is %t, want %t", value, got, want)
		}
	}
	if UsesTLS(&rayv1.Ray{}) {
		t.Error("a Ray without a container uses TLS")
	}
}
