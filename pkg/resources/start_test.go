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
	"fmt"
	"slices"
	"strconv"
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
			want: "--num-cpus=1 --num-gpus=0",
		},
		{
			name:         "a fraction of a CPU is rounded up",
			requirements: corev1.ResourceRequirements{Limits: quantities("cpu", "2100m")},
			want:         "--num-cpus=3 --num-gpus=0",
		},
		{
			name:         "requests count where there is no limit",
			requirements: corev1.ResourceRequirements{Limits: quantities("memory", "1000"), Requests: quantities("cpu", "2", "memory", "5")},
			want:         "--num-cpus=2 --num-gpus=0 --memory=700 --object-store-memory=300",
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
			want:         "--num-cpus=1 --num-gpus=0 --memory=400 --object-store-memory=600",
		},
		{
			name:         "an object store that exceeds the memory leaves none for tasks",
			requirements: corev1.ResourceRequirements{Limits: quantities("memory", "1000")},
			start:        map[string]resource.Quantity{"object_store_memory": resource.MustParse("6000")},
			want:         "--num-cpus=1 --num-gpus=0 --memory=0 --object-store-memory=6000",
		},
		{
			name:         "Ray counts the GPUs of a claim",
			requirements: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "gpu"}}},
			want:         "--num-cpus=1",
		},
		{
			name:         "GPUs and parts of them are added up",
			requirements: corev1.ResourceRequirements{Limits: quantities("nvidia.com/gpu", "1", "amd.com/gpu", "2", "nvidia.com/mig-1g.5gb", "4", "nvidia.com/gpu.shared", "1", "gpu.intel.com/i915", "1", "example.com/gpu-memory", "8")},
			want:         "--num-cpus=1 --num-gpus=9",
		},
		{
			name:         "other accelerators have names of their own",
			requirements: corev1.ResourceRequirements{Limits: quantities("google.com/tpu", "4", "aws.amazon.com/neuroncore", "2")},
			want:         `--num-cpus=1 --num-gpus=0 --resources={"TPU":4,"neuron_cores":2}`,
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

// TestPodLevelResources checks which of the resources of container and Pod count.
func TestPodLevelResources(t *testing.T) {
	for _, test := range []struct {
		name           string
		container, pod corev1.ResourceRequirements
		want           string
	}{
		{"only the Pod has resources", corev1.ResourceRequirements{}, corev1.ResourceRequirements{Limits: quantities("cpu", "8", "memory", "1000")}, "--num-cpus=8 --num-gpus=0 --memory=700"},
		{"the limit of the container comes first", corev1.ResourceRequirements{Limits: quantities("cpu", "2")}, corev1.ResourceRequirements{Limits: quantities("cpu", "8")}, "--num-cpus=2 "},
		{"a limit of the Pod comes before a request", corev1.ResourceRequirements{Requests: quantities("cpu", "2")}, corev1.ResourceRequirements{Limits: quantities("cpu", "8")}, "--num-cpus=8 "},
		{"a request of the Pod comes last", corev1.ResourceRequirements{}, corev1.ResourceRequirements{Requests: quantities("cpu", "4")}, "--num-cpus=4 "},
	} {
		ray := &rayv1.Ray{}
		ray.Spec.Head.Template.Spec = corev1.PodSpec{Resources: &test.pod, Containers: []corev1.Container{{Resources: test.container}}}
		args := strings.Join(NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec.Containers[0].Args, " ") + " "
		if !strings.Contains(args, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, args, test.want)
		}
	}
}

// TestStartArgs checks that arguments of the user come last, and replace generated ones.
func TestStartArgs(t *testing.T) {
	args := newStart(corev1.ResourceRequirements{}, &rayv1.StartSpec{Args: []string{"--metrics-export-port=9090", "--node", "--verbose"}})
	got := strings.Join(args, " ")
	want := "start --block --node-ip-address=$(MY_POD_IP) --node-name=$(RAY_CLOUD_INSTANCE_ID) --address=x-head:6379" +
		" --node-manager-port=6380 --dashboard-agent-listen-port=52365 --num-cpus=1 --num-gpus=0 --metrics-export-port=9090 --node --verbose"
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
		checkTLS(t, corev1.Container{Env: []corev1.EnvVar{test.variable}}, test.want)
	}
	checkTLS(t, corev1.Container{EnvFrom: []corev1.EnvFromSource{{}}}, true)
}

// checkTLS checks that the probes of a head only connect if they must expect TLS.
func checkTLS(t *testing.T, container corev1.Container, want bool) {
	t.Helper()
	ray := &rayv1.Ray{}
	ray.Spec.Head.Template.Spec.Containers = []corev1.Container{container}
	got := NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec.Containers[0]
	for _, probe := range []*corev1.Probe{got.StartupProbe, got.LivenessProbe, got.ReadinessProbe} {
		if tcp := probe.TCPSocket != nil; tcp != want || tcp == (probe.GRPC != nil) {
			t.Errorf("env %v, envFrom %v: the probe is %v, want a TCP probe: %t", container.Env, container.EnvFrom, probe, want)
		}
	}
}

// TestStartOfTemplate checks what is generated beside unusual fields of the user's template.
func TestStartOfTemplate(t *testing.T) {
	sharedMemory := func(spec *corev1.PodSpec) string {
		for _, mount := range spec.Containers[0].VolumeMounts {
			if mount.Name == sharedMemoryVolume {
				return mount.MountPath
			}
		}
		return "none"
	}
	ports := func(spec *corev1.PodSpec) string {
		var list []string
		for _, port := range spec.Containers[0].Ports {
			list = append(list, fmt.Sprintf("%s:%d", port.Name, port.ContainerPort))
		}
		return strings.Join(list, " ")
	}
	preStop := func(spec *corev1.PodSpec) string {
		if lifecycle := spec.Containers[0].Lifecycle; lifecycle != nil && lifecycle.PreStop != nil {
			return strconv.FormatBool(lifecycle.PreStop.Sleep != nil)
		}
		return "none"
	}
	withMount := func(path string) corev1.PodSpec {
		return corev1.PodSpec{Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "mine", MountPath: path}}}}}
	}
	plain := corev1.PodSpec{Containers: []corev1.Container{{}}}
	for _, test := range []struct {
		name string
		spec corev1.PodSpec
		args []string
		get  func(*corev1.PodSpec) string
		want string
	}{
		{"the shared memory is mounted", plain, nil, sharedMemory, "/dev/shm"},
		{"the user's mount remains", withMount("/dev/shm"), nil, sharedMemory, "none"},
		{"another notation of the user's mount", withMount("/dev//shm/"), nil, sharedMemory, "none"},
		{"a mount below", withMount("/dev/shm/x"), nil, sharedMemory, "/dev/shm"},
		{"an object store elsewhere", plain, []string{"--plasma-directory=/data"}, sharedMemory, "none"},
		{"an object store in the shared memory", plain, []string{"--plasma-directory=/dev/shm/"}, sharedMemory, "/dev/shm"},
		{"all ports", plain, nil, ports, "gcs:6379 dashboard:8265 client:10001 metrics:8080 serve:8000"},
		{
			"ports that the user moves", plain,
			[]string{"--dashboard-port=1", "--ray-client-server-port=2", "--metrics-export-port=3"},
			ports,
			"gcs:6379 dashboard:1 client:2 metrics:3 serve:8000",
		},
		{
			"a port of a sidecar",
			corev1.PodSpec{Containers: []corev1.Container{{}, {Ports: []corev1.ContainerPort{{ContainerPort: 8000}}}}},
			nil, ports,
			"gcs:6379 dashboard:8265 client:10001 metrics:8080",
		},
		{"a hook", plain, nil, preStop, "true"},
		{"no time for a hook", corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(3)), Containers: plain.Containers}, nil, preStop, "none"},
		{"some time for a hook", corev1.PodSpec{TerminationGracePeriodSeconds: new(int64(4)), Containers: plain.Containers}, nil, preStop, "true"},
		{
			"the user's hook",
			corev1.PodSpec{Containers: []corev1.Container{{Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{}}}}},
			nil, preStop,
			"false",
		},
	} {
		ray := &rayv1.Ray{}
		ray.Spec.Head = rayv1.HeadSpec{Start: &rayv1.StartSpec{Args: test.args}, Template: corev1.PodTemplateSpec{Spec: test.spec}}
		if got := test.get(&NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
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
