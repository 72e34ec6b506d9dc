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
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestImageUpdate changes the image of one group. The Pods of the other group are not replaced, and its
// Deployment is not even sent as a dry run.
func TestImageUpdate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role, other rayv1.Role
	}{
		{rayv1.RoleWorker, rayv1.RoleHead},
		{rayv1.RoleHead, rayv1.RoleWorker},
	} {
		t.Run(string(test.role), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample()
			before, others := u.podUIDs(test.role), u.podUIDs(test.other)

			mark := markAudit(t)
			u.setImage(test.role, "rayproject/examples:2")
			u.waitHealthy("sample-cluster")
			for _, request := range u.requestsSince(mark) {
				if request.ObjectRef.Name == "sample-cluster-"+string(test.other) || request.IsDryRun() {
					t.Errorf("although one template changed, the operator made the request %s %s", request.Verb, request.URI)
				}
			}
			for _, pod := range u.pods(test.role) {
				if pod.Spec.Containers[0].Image != "rayproject/examples:2" || slices.Contains(before, string(pod.UID)) {
					t.Errorf("the Ray is healthy, but the old Pod %s with the image %s exists", pod.Name, pod.Spec.Containers[0].Image)
				}
			}
			if got := u.podUIDs(test.other); !slices.Equal(got, others) {
				t.Errorf("the Pods of the other group were %v and are %v", others, got)
			}
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-"+string(test.role)+": template")
		})
	}
}

// TestAtMostOneHead watches the head's Pods while the head changes. Two at a time would be two
// clusters behind one Service.
func TestAtMostOneHead(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	maxPods := u.watchMaxPods(rayv1.RoleHead)
	for _, image := range []string{"rayproject/examples:2", "rayproject/examples:3", "rayproject/examples:4"} {
		u.setImage(rayv1.RoleHead, image)
		u.waitHealthy("sample-cluster")
	}
	if got := maxPods(); got != 1 {
		t.Errorf("up to %d heads existed at a time, want 1", got)
	}
}

// watchMaxPods watches the Pods of a group until the returned function is called. That returns the
// maximum number of Pods that existed at a time.
func (u *user) watchMaxPods(role rayv1.Role) func() int {
	u.Helper()
	ctx, cancel := context.WithCancel(u.Context())
	options := metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)}
	list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(ctx, options)
	if err != nil {
		u.Fatal(err)
	}
	present := sets.New[string]()
	for _, pod := range list.Items {
		present.Insert(pod.Name)
	}
	options.ResourceVersion = list.ResourceVersion
	pods, err := cluster.Kube.CoreV1().Pods(u.namespace).Watch(ctx, options)
	if err != nil {
		u.Fatal(err)
	}
	highest := present.Len()
	var done sync.WaitGroup
	done.Go(func() {
		for event := range pods.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if event.Type == watch.Deleted {
				present.Delete(pod.Name)
			} else {
				present.Insert(pod.Name)
			}
			highest = max(highest, present.Len())
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return highest
	}
}

// TestPortUpdate changes the head's ports. The Service is updated.
func TestPortUpdate(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	u.kubectlWith(u.sample("- containerPort: 6381\n", "- containerPort: 6381\n              - containerPort: 8265\n"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	u.eventually("the Service has the port", func() error {
		service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(t.Context(), "sample-cluster-head", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wantCount(1, len(slices.DeleteFunc(service.Spec.Ports, func(port corev1.ServicePort) bool {
			return port.Name != "dashboard" || port.Port != 8265
		})))
	})
}

// TestRemoveAndAddWorkers removes the workers from the spec and adds them again.
func TestRemoveAndAddWorkers(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	head := u.podUIDs(rayv1.RoleHead)

	u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p", `[{"op":"remove","path":"/spec/worker"}]`)
	u.waitDeploymentGone("sample-cluster-worker")
	u.waitHealthy("sample-cluster")
	u.eventually("all workers are deleted", func() error { return wantCount(0, len(u.pods(rayv1.RoleWorker))) })
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyDelete", "Successfully delete the deployment sample-cluster-worker")
	status := u.ray("sample-cluster").Status
	if status.Worker != nil {
		t.Errorf("the status still has counts of workers: %v", status.Worker)
	}
	for _, condition := range status.Conditions {
		if strings.HasPrefix(string(condition.Type), "RayWorker") {
			t.Errorf("the status still has the condition %s", condition.Type)
		}
	}
	out := u.try("", "scale", "ray/sample-cluster", "--replicas=2")
	if out.Err == nil || !strings.Contains(out.Stderr, "spec.worker.template: Required value") {
		t.Errorf("scaling a Ray without workers: got %q, want a required value", out.Stderr)
	}

	u.kubectl("apply", "-f", cluster.Path(sampleManifest))
	u.waitHealthy("sample-cluster")
	if workers := u.pods(rayv1.RoleWorker); len(workers) != 3 {
		t.Errorf("there are %d workers, want 3", len(workers))
	}
	if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
		t.Errorf("the head was replaced: it was %v and is %v", head, got)
	}
}

// setImage changes the image of a group's first container.
func (u *user) setImage(role rayv1.Role, image string) {
	u.Helper()
	u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/`+string(role)+`/template/spec/containers/0/image","value":"`+image+`"}]`)
}
