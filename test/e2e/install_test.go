package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestInstall installs all that manifests/default has. The API server admits the
// operator's Pod into a namespace that enforces the restricted Pod Security Standard.
func TestInstall(t *testing.T) {
	u := &user{T: t, namespace: "ray-system"}
	out := u.kubectl("apply", "-k", path("manifests/default"))
	t.Cleanup(func() { u.delete("deployment/ray-operator") })
	if out.stderr != "" {
		t.Errorf("kubectl apply warns: %s", out.stderr)
	}
	u.kubectl("rollout", "status", "--timeout=60s", "deployment/ray-operator")
	pods, err := kube.CoreV1().Pods(u.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=ray-operator"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 1 || pods.Items[0].Spec.ServiceAccountName != "ray-operator" {
		t.Errorf("the operator's Pods are %v", pods.Items)
	}
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
