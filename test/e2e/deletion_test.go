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

package e2e

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestDeletion deletes Rays with each propagation policy.
func TestDeletion(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"background", "foreground"} {
		t.Run(mode+" deletes all children", func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample()
			u.kubectl("delete", "ray", "sample-cluster", "--cascade="+mode)
			u.waitDeploymentGone("sample-cluster-head")
			u.waitDeploymentGone("sample-cluster-worker")
			u.waitServiceGone("sample-cluster-head")
			u.eventually("all Pods are deleted", func() error {
				return wantCount(0, len(u.pods(rayv1.RoleHead))+len(u.pods(rayv1.RoleWorker)))
			})
		})
	}

	t.Run("foreground deletes the Ray after its children", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample()
		u.kubectl("patch", "deployment", "sample-cluster-head", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/hold"]}}`)
		u.kubectl("delete", "ray", "sample-cluster", "--cascade=foreground", "--wait=false")
		u.waitDeploymentGone("sample-cluster-worker")
		mark := markAudit(t)
		if ray := u.ray("sample-cluster"); ray.DeletionTimestamp == nil {
			t.Error("the Ray is not being deleted")
		}
		u.kubectl("patch", "deployment", "sample-cluster-head", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		u.waitGone("the Ray", func() error {
			_, err := cluster.Rays.RayV1().Rays(u.namespace).Get(t.Context(), "sample-cluster", metav1.GetOptions{})
			return err
		})
		if writes := operatorWrites(t, mark, u.namespace); len(writes) > 0 {
			t.Errorf("the operator made writes for a Ray that is being deleted: %v", writes)
		}
	})

	t.Run("orphan keeps the children", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample()
		head, workers := u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker)
		u.kubectl("delete", "ray", "sample-cluster", "--cascade=orphan")
		for _, name := range []string{"sample-cluster-head", "sample-cluster-worker"} {
			if owner := metav1.GetControllerOf(u.deployment(name)); owner != nil {
				t.Errorf("deployment %s still has the controller %v", name, owner)
			}
		}
		if !slices.Equal(u.podUIDs(rayv1.RoleHead), head) || !slices.Equal(u.podUIDs(rayv1.RoleWorker), workers) {
			t.Error("Pods were replaced")
		}
	})
}

// TestRecreateWithSameName creates a Ray with the name of one that was just deleted, while the
// children of that one are still being deleted.
func TestRecreateWithSameName(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	for range 3 {
		before := u.ray("sample-cluster").UID
		u.kubectl("delete", "ray", "sample-cluster")
		u.kubectl("apply", "-f", cluster.Path(sampleManifest))
		u.waitHealthy("sample-cluster")
		ray := u.ray("sample-cluster")
		if ray.UID == before {
			t.Fatal("the Ray has the same UID")
		}
		for _, name := range []string{"sample-cluster-head", "sample-cluster-worker"} {
			if !metav1.IsControlledBy(u.deployment(name), ray) {
				t.Errorf("the Ray is healthy, but does not control deployment %s", name)
			}
		}
	}
}
