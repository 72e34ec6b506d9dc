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
	stdcmp "cmp"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// seedManifest is the sample in the documentation, which make demo applies.
const seedManifest = "../../manifests/samples/sample-cluster.yaml"

// TestRendering compares all children of a Ray with golden files, so that a reviewer sees what a change
// means for users.
func TestRendering(t *testing.T) {
	for _, manifest := range []string{
		seedManifest, "testdata/head-only.yaml", "testdata/ports.yaml", "testdata/own-template.yaml",
		"testdata/start.yaml", "testdata/start-options.yaml", "testdata/start-own-fields.yaml", "testdata/start-accelerators.yaml",
		"testdata/worker-groups.yaml",
		"testdata/authentication.yaml", "testdata/gcs-volume-claim.yaml", "testdata/gcs-redis.yaml", "testdata/gcs-commands.yaml",
		"testdata/head-service.yaml", "testdata/strategy.yaml", "testdata/worker-group-settings.yaml",
		"testdata/autoscaling.yaml", "testdata/autoscaling-commands.yaml",
	} {
		t.Run(strings.TrimSuffix(filepath.Base(manifest), ".yaml"), func(t *testing.T) {
			ray := readRay(t, manifest)
			before := ray.DeepCopy()
			got := render(t, ray)
			if diff := cmp.Diff(before, ray); diff != "" {
				t.Errorf("rendering changed the Ray (-before +after):\n%s", diff)
			}

			golden := filepath.Join("testdata", strings.TrimSuffix(filepath.Base(manifest), ".yaml")+".golden.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("rendering differs from %s (-want +got); if that is intended, run make update-golden:\n%s", golden, diff)
			}
		})
	}
}

// TestInputsHashIsStable has hashes that earlier versions stored in Deployments. Another hash would look
// like a change by the user, and restart Pods. If this test fails, fix the code, not the test. The hash of
// a rendering may change.
func TestInputsHashIsStable(t *testing.T) {
	for _, test := range []struct {
		manifest     string
		head, worker string
	}{
		{seedManifest, "23da5c054833168e", "e07c6e64e601da09"},
		{"testdata/own-template.yaml", "a5d72ae90eba4195", "19ed9df8ee245ae0"},
	} {
		ray := readRay(t, test.manifest)
		want := map[string]string{"head": test.head, "worker": test.worker}
		for _, group := range Groups(ray) {
			if got := InputsHash(group); got != want[group.Name] {
				t.Errorf("%s, %s: the hash of the inputs is %s, want %s", test.manifest, group.Name, got, want[group.Name])
			}
		}
	}
}

// TestHashes checks which changes of a Ray change the hashes of a group.
func TestHashes(t *testing.T) {
	tests := []struct {
		name       string
		manifest   string // or empty for the seed's
		change     func(*rayv1.Ray)
		wantHead   bool
		wantWorker bool
	}{
		{
			name:   "scaling changes neither group",
			change: func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(9)); ray.Spec.Head.Replicas = new(int32(0)) },
		},
		{
			name:   "a new generation changes neither group",
			change: func(ray *rayv1.Ray) { ray.Generation++ },
		},
		{
			name:     "the image of the head changes the head",
			change:   func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "other" },
			wantHead: true,
		},
		{
			name: "a label of the workers changes the workers",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Template.Labels = map[string]string{"team": "a"}
			},
			wantWorker: true,
		},
		{
			name:     "the start of the workers changes the workers",
			manifest: "testdata/start.yaml",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Start = &rayv1.StartSpec{Labels: map[string]string{"zone": "a"}}
			},
			wantWorker: true,
		},
		{
			name: "the strategy changes neither group",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Strategy = &rayv1.WorkerStrategy{MaxSurge: new(intstr.FromInt32(1))}
			},
		},
		{
			name:     "autoscaling changes a generated start of the head",
			manifest: "testdata/start.yaml",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 3}
			},
			wantHead: true,
		},
		{
			name: "autoscaling of workers with a command changes the workers, not a head with a command",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 3}
			},
			wantWorker: true,
		},
		{
			name:     "other settings of autoscaling change neither group",
			manifest: "testdata/autoscaling.yaml",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MinReplicas: new(int32(2)), MaxReplicas: 8}
			},
		},
		{
			name:     "autoscaling of a second group does not change the head",
			manifest: "testdata/autoscaling.yaml",
			change: func(ray *rayv1.Ray) {
				ray.Spec.WorkerGroups[0].Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 3}
			},
		},
		{
			name: "a token changes both groups",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: "token", Key: "token"}}
			},
			wantHead: true, wantWorker: true,
		},
		{
			name: "a port of the head changes the head",
			change: func(ray *rayv1.Ray) {
				head := &ray.Spec.Head.Template.Spec.Containers[0]
				head.Ports = append(head.Ports, corev1.ContainerPort{ContainerPort: 8265})
			},
			wantHead: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := readRay(t, stdcmp.Or(test.manifest, seedManifest))
			after := before.DeepCopy()
			test.change(after)
			want := map[string]bool{"head": test.wantHead, "worker": test.wantWorker}
			groups := Groups(after)
			for i, group := range Groups(before) {
				if got := InputsHash(group) != InputsHash(groups[i]); got != want[group.Name] {
					t.Errorf("%s: the hash of the inputs changed: %t, want %t", group.Name, got, want[group.Name])
				}
				rendered, again := NewDeployment(before, group), NewDeployment(after, groups[i])
				if got := RenderingHash(group, rendered) != RenderingHash(groups[i], again); got != want[group.Name] {
					t.Errorf("%s: the hash of what is recorded as the rendering changed: %t, want %t", group.Name, got, want[group.Name])
				}
				if got := Hash(rendered.Spec.Template) != Hash(again.Spec.Template); got != want[group.Name] {
					t.Errorf("%s: the hash of the rendering changed: %t, want %t", group.Name, got, want[group.Name])
				}
			}
		})
	}
}

// TestPortNames has ports that could get the same name in the Service.
func TestPortNames(t *testing.T) {
	tests := []struct {
		name  string
		ports []corev1.ContainerPort
		want  string
	}{
		{"a well-known port of Ray", []corev1.ContainerPort{{ContainerPort: 6379}}, "gcs"},
		{"another port", []corev1.ContainerPort{{ContainerPort: 1234}}, "port-1234"},
		{"a named port", []corev1.ContainerPort{{ContainerPort: 6379, Name: "redis"}}, "redis"},
		{"a well-known port over another protocol", []corev1.ContainerPort{{ContainerPort: 6379, Protocol: corev1.ProtocolUDP}}, "port-6379"},
		{"a well-known port with a name that a later port has", []corev1.ContainerPort{{ContainerPort: 6379}, {ContainerPort: 1, Name: "gcs"}}, "port-6379 gcs"},
		{"a port that is listed twice", []corev1.ContainerPort{{ContainerPort: 6379}, {ContainerPort: 6379, Protocol: corev1.ProtocolTCP}}, "gcs"},
		{"one port with two protocols", []corev1.ContainerPort{{ContainerPort: 53}, {ContainerPort: 53, Protocol: corev1.ProtocolUDP}}, "port-53 port-53-udp"},
		{"a port with a generated name that a later port has", []corev1.ContainerPort{{ContainerPort: 53}, {ContainerPort: 1, Name: "port-53"}}, "port-53-tcp port-53"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var names []string
			for _, port := range newServicePorts(test.ports) {
				names = append(names, port.Name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestNames checks names up to the limit of the schema.
func TestNames(t *testing.T) {
	for _, name := range []string{"a", "sample-cluster", "x-head", "x-worker", strings.Repeat("x", 58)} {
		ray := &rayv1.Ray{}
		ray.Name = name
		ray.Spec.Worker = &rayv1.WorkerSpec{}
		longest := strings.Repeat("g", 20)
		ray.Spec.WorkerGroups = []rayv1.WorkerGroup{{Name: "gpu"}, {Name: longest}}
		want := []string{name + "-head", name + "-head", name + "-worker", name + "-worker-gpu", name + "-worker-" + longest}
		if diff := cmp.Diff(want, ChildNames(ray)); diff != "" {
			t.Errorf("names of the children (-want +got):\n%s", diff)
		}
		if errs := validation.IsDNS1035Label(ServiceName(ray)); len(errs) > 0 {
			t.Errorf("the Service of %q cannot be named %q: %v", name, ServiceName(ray), errs)
		}
		for _, group := range Groups(ray) {
			deployment := DeploymentName(ray, group.Role)
			if errs := validation.IsDNS1123Subdomain(deployment); len(errs) > 0 {
				t.Errorf("a Deployment of %q cannot be named %q: %v", name, deployment, errs)
			}
			if !IsDeploymentName(name, deployment) || IsWorkerGroupName(name, deployment) != (!group.IsHead() && group.Role != rayv1.RoleWorker) {
				t.Errorf("%q is not recognized as the name of a Deployment of %q", deployment, name)
			}
			for key, value := range Labels(ray, group.Role) {
				if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
					t.Errorf("label %s of %q: %v", key, name, errs)
				}
			}
		}
	}
}

// TestRemovedGroups has groups that the spec no longer has.
func TestRemovedGroups(t *testing.T) {
	tests := []struct {
		name        string
		worker      bool
		groups      []string
		status      []string
		seen        []string
		deployments []string
		want        string
	}{
		{"a Ray without groups", true, nil, nil, nil, nil, ""},
		{"a Ray without workers", false, nil, nil, nil, nil, "worker"},
		{"the groups of the spec", true, []string{"a", "b"}, []string{"a", "b"}, nil, []string{"x-worker-a", "x-worker-b"}, ""},
		{"a group with a Deployment", true, []string{"a"}, nil, nil, []string{"x-worker-a", "x-worker-b"}, "worker-b"},
		{"a group in the status", true, []string{"a"}, []string{"a", "b"}, nil, nil, "worker-b"},
		{"a group in both", false, nil, []string{"b"}, nil, []string{"x-worker-b", "x-worker-c"}, "worker worker-b worker-c"},
		{"names in the status that no group has", true, nil, []string{"", "a/b", "A", ".."}, nil, nil, ""},
		{"other Deployments of the Ray", true, nil, nil, nil, []string{"x-head", "x-worker", "x-other"}, ""},
		{"a group that the spec has had", true, []string{"a"}, nil, []string{"a", "b"}, nil, "worker-b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
			if test.worker {
				ray.Spec.Worker = &rayv1.WorkerSpec{}
			}
			for _, name := range test.groups {
				ray.Spec.WorkerGroups = append(ray.Spec.WorkerGroups, rayv1.WorkerGroup{Name: name})
			}
			for _, name := range test.status {
				ray.Status.WorkerGroups = append(ray.Status.WorkerGroups, rayv1.WorkerGroupStatus{Name: name})
			}
			var roles []string
			for _, group := range RemovedGroups(ray, test.seen, test.deployments) {
				roles = append(roles, string(group.Role))
			}
			if got := strings.Join(roles, " "); got != test.want {
				t.Errorf("the removed groups are %q, want %q", got, test.want)
			}
		})
	}
}

// readRay reads a Ray from a manifest. Fields that the types do not have are ignored.
func readRay(t testing.TB, path string) *rayv1.Ray {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ray := &rayv1.Ray{}
	if err := yaml.Unmarshal(data, ray); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	return ray
}

// render returns all children of a Ray as one YAML stream.
func render(t *testing.T, ray *rayv1.Ray) []byte {
	t.Helper()
	children := []any{NewService(ray)}
	for _, group := range Groups(ray) {
		children = append(children, NewDeployment(ray, group))
	}
	var stream []byte
	for _, child := range children {
		data, err := yaml.Marshal(child)
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, "---\n"...)
		stream = append(stream, data...)
	}
	return stream
}

// TestSelector checks that the selector in the status, which the scale subresource reports, is that of the
// Deployment.
func TestSelector(t *testing.T) {
	ray := readRay(t, seedManifest)
	for _, group := range Groups(ray) {
		want := metav1.FormatLabelSelector(NewDeployment(ray, group).Spec.Selector)
		if got := Selector(ray, group.Role); got != want {
			t.Errorf("the selector of the %s is %q, want %q", group.Name, got, want)
		}
	}
}

// TestMinReadySeconds has groups that are available only some seconds after their containers run, since
// no probe shows when they are ready.
func TestMinReadySeconds(t *testing.T) {
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	tests := []struct {
		name       string
		containers []corev1.Container
		head       int32
		worker     int32
	}{
		{"no probe", []corev1.Container{{}, {}}, 5, 5},
		{"a readiness probe", []corev1.Container{{ReadinessProbe: probe}}, 0, 0},
		{"a readiness probe of another container", []corev1.Container{{}, {ReadinessProbe: probe}}, 0, 0},
		{"only another probe", []corev1.Container{{LivenessProbe: probe, StartupProbe: probe}}, 5, 5},
		{"the port of the GCS, for which a head gets a probe", []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 6379}}}}, 0, 5},
		{"the port of the GCS over UDP", []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 6379, Protocol: corev1.ProtocolUDP}}}}, 5, 5},
		{"the port of the GCS in another container", []corev1.Container{{}, {Ports: []corev1.ContainerPort{{ContainerPort: 6379}}}}, 5, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.containers[0].Command = []string{"ray"}
			template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: test.containers}}
			ray := &rayv1.Ray{Spec: rayv1.RaySpec{Head: rayv1.HeadSpec{Template: template}, Worker: &rayv1.WorkerSpec{Template: template}}}
			groups := Groups(ray)
			head, worker := NewDeployment(ray, groups[0]).Spec.MinReadySeconds, NewDeployment(ray, groups[1]).Spec.MinReadySeconds
			if head != test.head || worker != test.worker {
				t.Errorf("minReadySeconds of head and workers are %d and %d, want %d and %d", head, worker, test.head, test.worker)
			}
		})
	}
}
