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

// TestInstall installs all that manifests/default has. The API server admits the
// operator's Pods into a namespace that enforces the restricted Pod Security Standard. They
// are on nodes of their own, one may be evicted, and nothing but their metrics can be reached.
func TestInstall(t *testing.T) {
	u := &user{T: t, namespace: "ray-system"}
	out := u.kubectl("apply", "-k", path("manifests/default"))
	t.Cleanup(func() {
		u.delete("deployment/ray-operator", "poddisruptionbudget/ray-operator", "networkpolicy/ray-operator")
	})
	if out.stderr != "" {
		t.Errorf("kubectl apply warns: %s", out.stderr)
	}
	if got := u.kubectl("get", "namespace", u.namespace, "-o", `jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}`).stdout; got != "restricted" {
		t.Errorf("the namespace enforces %q, want restricted", got)
	}
	u.kubectl("rollout", "status", "--timeout=60s", "deployment/ray-operator")

	budget, err := kube.PolicyV1().PodDisruptionBudgets(u.namespace).Get(t.Context(), "ray-operator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	network, err := kube.NetworkingV1().NetworkPolicies(u.namespace).Get(t.Context(), "ray-operator", metav1.GetOptions{})
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
			t.Errorf("the %s selects Pods on nodes, of ServiceAccounts: %v; want two of the operator on two nodes", what, nodes)
		}
	}
	u.eventually("one Pod may be evicted", func() error {
		return wantText(u.kubectl("get", "poddisruptionbudget/ray-operator", "-o", "jsonpath={.status.expectedPods} Pods, {.status.disruptionsAllowed} may go").stdout, "2 Pods, 1 may go")
	})
}

// selected returns the Pods that a selector selects in the user's namespace.
func (u *user) selected(selector *metav1.LabelSelector) []corev1.Pod {
	u.Helper()
	pods, err := kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)})
	if err != nil {
		u.Fatal(err)
	}
	return pods.Items
}

// TestSamples has the API server check all samples.
func TestSamples(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	out := u.kubectl("apply", "--dry-run=server", "-k", path("manifests/samples"))
	for _, name := range []string{"sample-cluster", "head-only", "autoscaled-cluster"} {
		if !strings.Contains(out.stdout, fmt.Sprintf("ray.ray.kubeflow.org/%s created", name)) {
			t.Errorf("%s is no sample: %s", name, out.stdout)
		}
	}
}

// TestNamespaceGoes deletes a namespace with Rays in it. That is no error to report.
func TestNamespaceGoes(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "goes-"}}
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owner := &user{T: t, namespace: namespace.Name}
	owner.runSeed()
	if err := kube.CoreV1().Namespaces().Delete(t.Context(), namespace.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	u.waitGone("the namespace", func() error {
		_, err := kube.CoreV1().Namespaces().Get(t.Context(), namespace.Name, metav1.GetOptions{})
		return err
	})
	for line := range strings.Lines(readFile(t, operator.log)) {
		if strings.HasPrefix(line, "E") && strings.Contains(line, namespace.Name) {
			t.Errorf("the operator logs an error: %s", line)
		}
	}
}
