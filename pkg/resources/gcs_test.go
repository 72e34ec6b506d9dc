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
	"testing"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// newStoredRay returns a Ray with a GCS that stores its state, and a template for head and workers.
func newStoredRay(spec corev1.PodSpec) *rayv1.Ray {
	ray := &rayv1.Ray{}
	ray.Name = "x"
	ray.Spec.GCS = &rayv1.GCSSpec{VolumeClaim: &rayv1.VolumeClaimReference{Name: "claim"}}
	ray.Spec.Head.Template.Spec = spec
	ray.Spec.Worker = &rayv1.WorkerSpec{Template: corev1.PodTemplateSpec{Spec: spec}}
	return ray
}

// TestGCSStorageOfTemplate checks what is added for a storage beside unusual fields of the user's template.
func TestGCSStorageOfTemplate(t *testing.T) {
	mounts := func(spec *corev1.PodSpec) string {
		var list []string
		for _, mount := range spec.Containers[0].VolumeMounts {
			list = append(list, mount.Name+":"+mount.MountPath)
		}
		return fmt.Sprint(list)
	}
	claims := func(spec *corev1.PodSpec) string {
		var list []string
		for _, volume := range spec.Volumes {
			if volume.PersistentVolumeClaim != nil {
				list = append(list, volume.Name+":"+volume.PersistentVolumeClaim.ClaimName)
			}
		}
		return fmt.Sprint(list)
	}
	topology := func(spec *corev1.PodSpec) string {
		var list []string
		for _, term := range spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			list = append(list, term.TopologyKey)
		}
		return fmt.Sprint(list)
	}
	container := corev1.Container{Command: []string{"ray"}}
	withMount := func(name, path string) []corev1.Container {
		return []corev1.Container{{Command: []string{"ray"}, VolumeMounts: []corev1.VolumeMount{{Name: name, MountPath: path}}}}
	}
	affinity := &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1}},
	}}
	required := affinity.DeepCopy()
	required.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution = []corev1.PodAffinityTerm{{TopologyKey: "mine"}}
	for _, test := range []struct {
		name string
		spec corev1.PodSpec
		get  func(*corev1.PodSpec) string
		want string
	}{
		{"the claim is mounted", corev1.PodSpec{Containers: []corev1.Container{container}}, mounts, "[ray-gcs:/var/lib/ray/gcs]"},
		{"the claim is a volume", corev1.PodSpec{Containers: []corev1.Container{container}}, claims, "[ray-gcs:claim]"},
		{"the user's mount remains", corev1.PodSpec{Containers: withMount("mine", "/var/lib/ray/gcs/")}, mounts, "[mine:/var/lib/ray/gcs/]"},
		{"the user's volume is mounted", corev1.PodSpec{Containers: []corev1.Container{container}, Volumes: []corev1.Volume{{Name: "ray-gcs"}}}, claims, "[]"},
		{"one head at a time", corev1.PodSpec{Containers: []corev1.Container{container}}, topology, "[kubernetes.io/os]"},
		{"a preferred anti-affinity", corev1.PodSpec{Containers: []corev1.Container{container}, Affinity: affinity}, topology, "[kubernetes.io/os]"},
		{"a required anti-affinity of the user's", corev1.PodSpec{Containers: []corev1.Container{container}, Affinity: required}, topology, "[mine]"},
	} {
		ray := newStoredRay(test.spec)
		if got := test.get(&NewDeployment(ray, Groups(ray)[0]).Spec.Template.Spec); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// TestWorkersWithGCSStorage checks that workers wait for a head that is away, do not leave the cluster when it
// returns, and have no access to the storage.
func TestWorkersWithGCSStorage(t *testing.T) {
	ray := newStoredRay(corev1.PodSpec{Containers: []corev1.Container{{}}})
	spec := NewDeployment(ray, Groups(ray)[1]).Spec.Template.Spec
	names := map[string]string{}
	for _, variable := range spec.Containers[0].Env {
		names[variable.Name] = variable.Value
	}
	if names["RAY_gcs_rpc_server_reconnect_timeout_s"] != "600" {
		t.Errorf("the variables of a worker are %v, want 600 seconds to reconnect", names)
	}
	for _, name := range []string{"RAY_raylet_liveness_self_check_interval_ms", "RAY_gcs_storage", "RAY_gcs_storage_path"} {
		if _, found := names[name]; found {
			t.Errorf("a worker has the variable %s", name)
		}
	}
	if spec.Affinity != nil || slices.ContainsFunc(spec.Volumes, func(volume corev1.Volume) bool { return volume.PersistentVolumeClaim != nil }) {
		t.Errorf("a worker has the affinity %v and the volumes %v", spec.Affinity, spec.Volumes)
	}
}
