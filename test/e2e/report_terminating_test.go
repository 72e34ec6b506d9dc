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
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	hold    = `{"metadata":{"finalizers":["example.com/hold"]}}`
	release = `{"metadata":{"finalizers":null}}`
)

// TestOldHeadTerminates deletes the head's Pod, which a finalizer keeps. The new head is available, but
// two heads could run, so the Ray is not healthy.
func TestOldHeadTerminates(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample("replicas: 3", "replicas: 1")
	pod := u.pods(rayv1.RoleHead)[0].Name
	u.kubectl("patch", "pod", pod, "--type=merge", "-p", hold)
	u.kubectl("delete", "pod", pod, "--wait=false")
	u.waitHealth("sample-cluster", corev1.ConditionFalse, "head: 1 old Pod is terminating")
	u.eventually("there is a new head", func() error { return wantCount(1, len(u.podsOf("sample-cluster", rayv1.RoleHead))) })
	u.waitProblem("sample-cluster", "PodFailure", "head: 1 old Pod is terminating: Pod does not terminate: finalizers: example.com/hold")

	u.kubectl("patch", "pod", pod, "--type=merge", "-p", release)
	u.waitHealthy("sample-cluster")
}

// TestHeadOnUnresponsiveNode has the head's node fail, and then changes the image. The new head must not
// start before the old one has terminated, which nobody can confirm.
func TestHeadOnUnresponsiveNode(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	node := u.newNode()
	u.kubectlWith(smallRay("sample-cluster", fmt.Sprintf(
		"nodeName: %s, terminationGracePeriodSeconds: 1, containers: [{name: ray-head, image: a, ports: [{containerPort: 6379}]}]", node), 0, ""), "create", "-f", "-")
	u.setPodStatus("sample-cluster", rayv1.RoleHead, setRunning)
	u.waitHealthy("sample-cluster")

	old := u.pods(rayv1.RoleHead)[0].Name
	// This is what the controller manager changes after the node has not reported for 50 seconds.
	u.setPodStatus("sample-cluster", rayv1.RoleHead, func(pod *corev1.Pod) { setReady(pod, corev1.ConditionFalse) })
	u.waitProblem("sample-cluster", "PodFailure", fmt.Sprintf("head: 0 of 1 available: node %q is unresponsive", node))
	u.setImage(rayv1.RoleHead, "b")
	u.waitProblem("sample-cluster", "PodFailure", fmt.Sprintf("head: 0 of 1 available: 1 old Pod is terminating: Pod does not terminate: node %q is unresponsive", node))
	if pods := u.pods(rayv1.RoleHead); len(pods) != 1 || pods[0].Name != old {
		t.Errorf("there are %d Pods, want only the old one", len(pods))
	}

	u.kubectl("delete", "pod", old, "--force", "--grace-period=0")
	u.setPodStatus("sample-cluster", rayv1.RoleHead, setRunning)
	u.waitHealthy("sample-cluster")
}

// TestWorkersTerminate checks that old workers that terminate do not make a Ray unhealthy: another worker
// more is not a second cluster.
func TestWorkersTerminate(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample("replicas: 3", "replicas: 2")
	pod := u.pods(rayv1.RoleWorker)[0].Name
	u.kubectl("patch", "pod", pod, "--type=merge", "-p", hold)
	u.kubectl("delete", "pod", pod, "--wait=false")
	u.eventually("the worker is replaced", func() error { return wantCount(2, len(u.podsOf("sample-cluster", rayv1.RoleWorker))) })
	u.waitHealthy("sample-cluster")
	u.kubectl("patch", "pod", pod, "--type=merge", "-p", release)
}

// TestDeletionIsHeldUp deletes Rays while a finalizer keeps an object. The status says what the deletion
// waits for, and the operator does not write the children.
func TestDeletionIsHeldUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, cascade string
		// held are the objects with a finalizer. They are released one after the other.
		held []string
		// want are the messages before each release.
		want []string
	}{
		{
			"Deployments", "foreground",
			[]string{"deployment/sample-cluster-worker", "deployment/sample-cluster-head"},
			[]string{
				`being deleted, waiting for Deployment "sample-cluster-head", Deployment "sample-cluster-worker"`,
				`being deleted, waiting for Deployment "sample-cluster-head"`,
			},
		},
		{
			"Service", "foreground",
			[]string{"service/sample-cluster-head"},
			[]string{`being deleted, waiting for Service "sample-cluster-head"`},
		},
		{
			"Ray", "background",
			[]string{"ray/sample-cluster"},
			[]string{"being deleted, waiting for finalizer example.com/hold"},
		},
		{
			"Ray, after its children", "foreground",
			[]string{"deployment/sample-cluster-head", "ray/sample-cluster"},
			[]string{"", "being deleted, waiting for finalizer example.com/hold"},
		},
		{
			"object of another client", "foreground",
			[]string{"configmap/mine"},
			[]string{"being deleted, waiting for the garbage collector"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample("replicas: 3", "replicas: 1")
			u.createOwned("mine")
			for _, held := range test.held {
				u.kubectl("patch", held, "--type=merge", "-p", hold)
			}
			mark := markAudit(t)
			u.kubectl("delete", "ray", "sample-cluster", "--cascade="+test.cascade, "--wait=false")
			for i, held := range test.held {
				if test.want[i] == "" {
					u.waitHealth("sample-cluster", corev1.ConditionFalse, "being deleted, waiting for ")
				} else {
					u.waitProblem("sample-cluster", "Terminating", test.want[i])
				}
				u.kubectl("patch", held, "--type=merge", "-p", release)
			}
			u.waitGone("the Ray", func() error {
				_, err := cluster.Rays.RayV1().Rays(u.namespace).Get(t.Context(), "sample-cluster", metav1.GetOptions{})
				return err
			})
			for _, write := range operatorWrites(t, mark, u.namespace) {
				if write.Resource() != "rays/status" {
					t.Errorf("the operator made a write for a Ray that is being deleted: %v", write)
				}
			}
		})
	}
}

// createOwned creates a ConfigMap that another client has made a child of the Ray. The deletion of the Ray
// in the foreground waits for it.
func (u *user) createOwned(name string) {
	u.Helper()
	owner := *metav1.NewControllerRef(u.ray("sample-cluster"), rayv1.SchemeGroupVersionKind)
	owner.Controller = nil
	_, err := cluster.Kube.CoreV1().ConfigMaps(u.namespace).Create(u.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{owner}},
	}, metav1.CreateOptions{})
	if err != nil {
		u.Fatal(err)
	}
}
