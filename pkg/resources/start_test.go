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
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// newStart returns the arguments of a generated start of a worker.
func newStart(requirements corev1.ResourceRequirements, start *rayv1.StartSpec) []string {
	ray := &rayv1.Ray{}
	ray.Name = "x"
	ray.Spec.Worker = &rayv1.WorkerSpec{Start: start}
	ray.Spec.Worker.Template.Spec.Containers = []corev1.Container{{Resources: requirements}}
	return NewDeployment(ray, Groups(ray)[1]).Spec.Template.Spec.Containers[0].Args
}

func quantities(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

// TestStartResources checks what Ray may schedule on a node, for containers with various resources.
func TestStartResources(t *testing.T) {
	tests := []struct {
		name         string
		requirements corev1.ResourceRequirements
		start        map[string]resource.Quantity
		want         string
	}{
		{
			name: "without resources a node has one CPU, and Ray determines the memory",
			want: "--num-cpus=1",
		},
		{
			name:         "a fraction of a CPU is rounded up",
			requirements: corev1.ResourceRequirements{Limits: quantities("cpu", "2100m")},
			want:         "--num-cpus=3",
		},
		{
			name:         "requests count where there is no limit",
			requirements: corev1.ResourceRequirements{Limits: quantities("memory", "1000"), Requests: quantities("cpu", "2", "memory", "5")},
			want:         "--num-cpus=2 --memory=700 --object-store-memory=300",
		},
		{
			name:  "resources of the user replace those of the container",
			start: map[string]resource.Quantity{"CPU": resource.MustParse("0"), "GPU": resource.MustParse("1"), "b": resource.MustParse("2"), "a": resource.MustParse("1k")},
			want:  `--num-cpus=0 --num-gpus=1 --resources={"a":1000,"b":2}`,
		},
		{
			name:         "the memory for tasks is what the object store leaves",
			requirements: corev1.ResourceRequirements{Limits: quantities("memory", "1000")},
			start:        map[string]resource.Quantity{"object_store_memory": resource.MustParse("600")},
			want:         "--num-cpus=1 --memory=400 --object-store-memory=600",
		},
		{
			name:         "an object store that exceeds the memory leaves none for tasks",
			requirements: corev1.ResourceRequirements{Limits: quantities("memory", "1000")},
			start:        map[string]resource.Quantity{"object_store_memory": resource.MustParse("6000")},
			want:         "--num-cpus=1 --memory=0 --object-store-memory=6000",
		},
		{
			name:         "GPUs and parts of them are added up",
			requirements: corev1.ResourceRequirements{Limits: quantities("nvidia.com/gpu", "1", "amd.com/gpu", "2", "nvidia.com/mig-1g.5gb", "4", "example.com/gpu-memory", "8")},
			want:         "--num-cpus=1 --num-gpus=7",
		},
		{
			name:         "other accelerators have names of their own",
			requirements: corev1.ResourceRequirements{Limits: quantities("google.com/tpu", "4", "aws.amazon.com/neuroncore", "2")},
			want:         `--num-cpus=1 --resources={"TPU":4,"neuron_cores":2}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := newStart(test.requirements, &rayv1.StartSpec{Resources: test.start})
			const lastCommon = "--metrics-export-port=8080 "
			if _, got, _ := strings.Cut(strings.Join(args, " "), lastCommon); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// TestStartArgs checks that arguments of the user come last, and replace generated ones.
func TestStartArgs(t *testing.T) {
	args := newStart(corev1.ResourceRequirements{}, &rayv1.StartSpec{Args: []string{"--metrics-export-port=9090", "--node", "--verbose"}})
	got := strings.Join(args, " ")
	want := "start --block --node-ip-address=$(MY_POD_IP) --node-name=$(RAY_CLOUD_INSTANCE_ID) --address=x-head:6379" +
		" --node-manager-port=6380 --dashboard-agent-listen-port=52365 --num-cpus=1 --metrics-export-port=9090 --node --verbose"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestProbesWithTLS checks that the probes do not speak gRPC to a node that requires TLS.
func TestProbesWithTLS(t *testing.T) {
	fromSecret := &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "tls"}}
	for _, test := range []struct {
		variable corev1.EnvVar
		want     bool // TLS
	}{
		{corev1.EnvVar{Name: "RAY_USE_TLS", Value: "1"}, true},
		{corev1.EnvVar{Name: "RAY_USE_TLS", Value: "True"}, true},
		{corev1.EnvVar{Name: "RAY_USE_TLS", ValueFrom: fromSecret}, true},
		{corev1.EnvVar{Name: "RAY_USE_TLS", Value: "0"}, false},
		{corev1.EnvVar{Name: "RAY_USE_TLS", Value: "false"}, false},
		{corev1.EnvVar{Name: "RAY_TLS_SERVER_CERT", Value: "1"}, false},
	} {
		ray := &rayv1.Ray{}
		ray.Spec.Head.Template.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{test.variable}}}
		container := NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec.Containers[0]
		for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
			if got := probe.TCPSocket != nil; got != test.want || got == (probe.GRPC != nil) {
				t.Errorf("%v: the probe is %v, want a TCP probe: %t", test.variable, probe, test.want)
			}
		}
	}
}

// TestOwnCommand checks that nothing is generated for a container with a command or arguments of its own.
func TestOwnCommand(t *testing.T) {
	for _, container := range []corev1.Container{{Command: []string{"ray"}}, {Args: []string{"ray"}}} {
		ray := &rayv1.Ray{}
		ray.Spec.Head.Template.Spec.Containers = []corev1.Container{container}
		spec := NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec
		got := spec.Containers[0]
		if !slices.Equal(got.Command, container.Command) || !slices.Equal(got.Args, container.Args) || got.LivenessProbe != nil || got.Ports != nil || spec.Volumes != nil {
			t.Errorf("for command %q and args %q, the container is %v", container.Command, container.Args, got)
		}
	}
}
