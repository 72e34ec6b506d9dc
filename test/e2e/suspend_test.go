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
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestSuspend suspends a Ray with a worker group, and resumes it.
func TestSuspend(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(u.withGroups("a", "gpu"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	templates, service := u.templates(), u.serviceIP("sample-cluster-head")
	if got := condition(u.ray("sample-cluster"), rayv1.RaySuspended); got.Status != corev1.ConditionUnknown {
		t.Errorf("a Ray that was never suspended has the condition %v", got)
	}

	u.kubectl("patch", "ray", "sample-cluster", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
	u.waitSuspended("sample-cluster")
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker, "worker-gpu"} {
		if pods := u.pods(role); len(pods) != 0 {
			t.Errorf("Suspended is True, but there are %d Pods of the %s", len(pods), role)
		}
	}
	health := u.waitHealth("sample-cluster", corev1.ConditionFalse, "suspended, since spec.suspend is true")
	if health.Reason != "Suspended" {
		t.Errorf("Health has the reason %s", health.Reason)
	}
	status := u.ray("sample-cluster").Status
	if *status.DesiredWorkerReplicas != 0 || *status.ReadyWorkerReplicas != 0 || status.Head.Replicas != 0 {
		t.Errorf("the status is %v", status)
	}
	u.kubectl("scale", "ray/sample-cluster", "--replicas=5")
	u.waitHealth("sample-cluster", corev1.ConditionFalse, "suspended")
	if got := u.deployment("sample-cluster-worker").Spec.Replicas; *got != 0 {
		t.Errorf("a suspended Ray that was scaled has a Deployment with %d replicas", *got)
	}

	u.kubectl("patch", "ray", "sample-cluster", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	u.waitHealthy("sample-cluster")
	if got := condition(u.ray("sample-cluster"), rayv1.RaySuspended); got.Status != corev1.ConditionFalse || got.Reason != "Resumed" {
		t.Errorf("after the Ray has resumed, the condition is %v", got)
	}
	for role, want := range map[rayv1.Role]int{rayv1.RoleHead: 1, rayv1.RoleWorker: 5, "worker-gpu": 2} {
		if got := len(u.pods(role)); got != want {
			t.Errorf("there are %d Pods of the %s, want %d", got, role, want)
		}
	}
	if diff := cmp.Diff(templates, u.templates()); diff != "" {
		t.Errorf("the Pod templates have changed (-before +after):\n%s", diff)
	}
	if got := u.serviceIP("sample-cluster-head"); got != service {
		t.Errorf("the Service has the address %s, before it was %s", got, service)
	}
}

// TestSuspendNewRay creates a Ray that is suspended, and one without a head.
func TestSuspendNewRay(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(u.sample("name: sample-cluster", "name: a", "spec:\n  head:", "spec:\n  suspend: true\n  head:"), "apply", "-f", "-")
	u.kubectlWith(u.sample("name: sample-cluster", "name: b", "replicas: 1", "replicas: 0"), "apply", "-f", "-")
	for name, message := range map[string]string{"a": "suspended, since spec.suspend is true", "b": "suspended, since spec.head.replicas is 0"} {
		u.waitSuspended(name)
		u.waitHealth(name, corev1.ConditionFalse, message)
		if got := u.deployment(name + "-worker").Spec.Replicas; *got != 0 {
			t.Errorf("Ray %s has %d workers", name, *got)
		}
	}
	u.kubectl("patch", "ray", "a", "--type=merge", "-p", `{"spec":{"suspend":null}}`)
	u.kubectl("patch", "ray", "b", "--type=merge", "-p", `{"spec":{"head":{"replicas":1}}}`)
	for _, name := range []string{"a", "b"} {
		u.waitHealthy(name)
	}
}

// TestQueueLabels sets the queue of a suspended Ray in a template, as Kueue wants it, and removes it again. Only the
// labels of Kueue are passed on to the Deployment.
func TestQueueLabels(t *testing.T) {
	t.Parallel()
	const queue, priority = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
	u := newUser(t)
	u.kubectlWith(u.sample("spec:\n  head:", "spec:\n  suspend: true\n  head:"), "apply", "-f", "-")
	u.waitSuspended("sample-cluster")
	u.kubectl("label", "deployment", "sample-cluster-worker", priority+"=low")
	for _, labels := range []map[string]any{{queue: "a", "team": "a"}, {queue: "b", "team": nil}, {queue: nil}} {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"worker": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": labels}}}}})
		if err != nil {
			t.Fatal(err)
		}
		u.kubectl("patch", "ray/sample-cluster", "--type=merge", "-p", string(patch))
		want, _ := labels[queue].(string)
		u.eventually("the Deployment of the workers has the labels", func() error {
			d := u.deployment("sample-cluster-worker")
			if d.Labels[queue] != want || d.Spec.Template.Labels[queue] != want || d.Labels[priority] != "low" || d.Labels["team"] != "" {
				return fmt.Errorf("it has %v, and its template %v", d.Labels, d.Spec.Template.Labels)
			}
			return nil
		})
	}
}

// templates returns the Pod templates of all Deployments.
func (u *user) templates() map[string]corev1.PodTemplateSpec {
	u.Helper()
	list, err := cluster.Kube.AppsV1().Deployments(u.namespace).List(u.Context(), metav1.ListOptions{})
	if err != nil {
		u.Fatal(err)
	}
	templates := map[string]corev1.PodTemplateSpec{}
	for i := range list.Items {
		templates[list.Items[i].Name] = list.Items[i].Spec.Template
	}
	return templates
}

// serviceIP returns the address of a Service, with its UID.
func (u *user) serviceIP(name string) string {
	u.Helper()
	service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return fmt.Sprintf("%s (UID %s)", service.Spec.ClusterIP, service.UID)
}
