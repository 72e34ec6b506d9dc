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
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestInstall applies manifests/default. The namespace enforces the restricted Pod Security
// Standard. The operator's Pods run on different nodes, and one of them may be evicted.
func TestInstall(t *testing.T) {
	u := &user{T: t, namespace: "ray-system"}
	out := u.kubectl("apply", "-k", cluster.Path("manifests/default"))
	t.Cleanup(func() {
		u.delete("deployment/ray-operator", "poddisruptionbudget/ray-operator", "networkpolicy/ray-operator")
	})
	if out.Stderr != "" {
		t.Errorf("kubectl apply prints warnings: %s", out.Stderr)
	}
	if got := u.kubectl("get", "namespace", u.namespace, "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`).Stdout; got != "restricted" {
		t.Errorf("the namespace enforces %q, want restricted", got)
	}
	u.kubectl("rollout", "status", "--timeout=60s", "deployment/ray-operator")

	budget, err := cluster.Kube.PolicyV1().PodDisruptionBudgets(u.namespace).Get(t.Context(), "ray-operator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	network, err := cluster.Kube.NetworkingV1().NetworkPolicies(u.namespace).Get(t.Context(), "ray-operator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for what, selector := range map[string]*metav1.LabelSelector{
		"PodDisruptionBudget": budget.Spec.Selector,
		"NetworkPolicy":       &network.Spec.PodSelector,
	} {
		nodes := map[string]string{}
		for _, pod := range u.selected(selector) {
			nodes[pod.Spec.NodeName] = pod.Spec.ServiceAccountName
		}
		if want := slices.Repeat([]string{"ray-operator"}, 2); !slices.Equal(slices.Collect(maps.Values(nodes)), want) {
			t.Errorf("the %s selects Pods on nodes, by ServiceAccount: %v; want two of the operator on two nodes", what, nodes)
		}
	}
	u.eventually("one Pod may be evicted", func() error {
		return wantText(u.kubectl("get", "poddisruptionbudget/ray-operator", "-o", "jsonpath={.status.disruptionsAllowed} of {.status.expectedPods}").Stdout, "1 of 2")
	})
}

// selected returns the Pods in the user's namespace that match a selector.
func (u *user) selected(selector *metav1.LabelSelector) []corev1.Pod {
	u.Helper()
	pods, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
	if err != nil {
		u.Fatal(err)
	}
	return pods.Items
}

// TestSamples checks that the API server accepts all samples.
func TestSamples(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	out := u.kubectl("apply", "--dry-run=server", "-k", cluster.Path("manifests/samples"))
	for _, name := range []string{"sample-cluster", "head-only", "autoscaled-cluster", "hpa-cluster", "authenticated-cluster", "fault-tolerant-cluster"} {
		if !strings.Contains(out.Stdout, fmt.Sprintf("ray.ray.kubeflow.org/%s created", name)) {
			t.Errorf("%s is not among the samples: %s", name, out.Stdout)
		}
	}
}

// TestNamespaceDeletion deletes a namespace that contains a Ray. The operator logs no error.
func TestNamespaceDeletion(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "deleted-"}}
	namespace, err := cluster.Kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owner := &user{T: t, namespace: namespace.Name}
	owner.applySample()
	if err := cluster.Kube.CoreV1().Namespaces().Delete(t.Context(), namespace.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	u.waitGone("the namespace", func() error {
		_, err := cluster.Kube.CoreV1().Namespaces().Get(t.Context(), namespace.Name, metav1.GetOptions{})
		return err
	})
	for line := range strings.Lines(readFile(t, operator.Log)) {
		if strings.HasPrefix(line, "E") && strings.Contains(line, namespace.Name) {
			t.Errorf("the operator logged an error: %s", line)
		}
	}
}
