package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestUnusable starts operators that cannot work. Each says why in one line, and exits.
func TestUnusable(t *testing.T) {
	unreachable := strings.ReplaceAll(readFile(t, operator.kubeconfig), "server: https://127.0.0.1:", "server: https://127.0.0.1:1")
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T) []string
		want    string
	}{
		{"no cluster", func(*testing.T) []string { return nil }, "say with --kubeconfig which cluster to serve"},
		{"no kubeconfig", func(*testing.T) []string { return []string{"--kubeconfig=/nowhere"} }, "/nowhere: no such file or directory"},
		{"a flag that does not exist", func(*testing.T) []string { return []string{"--frobnicate"} }, "unknown flag: --frobnicate"},
		{"no workers", func(*testing.T) []string { return []string{"--workers=0"} }, "--workers=0: at least 1 is needed"},
		{"no name of a namespace", func(*testing.T) []string { return []string{"--namespace=a", "--namespace=B"} }, `--namespace="B" is not the name of a namespace`},
		{"a namespace twice", func(*testing.T) []string { return []string{"--namespace=a,a"} }, "--namespace=a is there twice"},
		{"an argument", func(*testing.T) []string { return []string{"run"} }, `unexpected argument "run"`},
		{"a server that is not there", func(t *testing.T) []string {
			return []string{"--kubeconfig", writeFile(t, unreachable)}
		}, "cannot be reached"},
		{"a port that is in use", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address", operator.health}
		}, "--health-bind-address: listen tcp " + operator.health + ": bind: address already in use"},
		{"a port for metrics that is in use", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address=", "--metrics-bind-address", operator.health}
		}, "--metrics-bind-address: listen tcp " + operator.health + ": bind: address already in use"},
		{"a certificate that is not there", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.kubeconfig, "--tls-cert-file=/nowhere.crt", "--tls-private-key-file=/nowhere.key"}
		}, "--tls-cert-file=/nowhere.crt, --tls-private-key-file=/nowhere.key: open /nowhere.crt: no such file or directory"},
		{"a certificate that is none", func(t *testing.T) []string {
			file := writeFile(t, "none")
			return []string{"--kubeconfig", operator.kubeconfig, "--tls-cert-file", file, "--tls-private-key-file", file}
		}, "tls: failed to find any PEM data in certificate input"},
		{"a certificate without a key", func(*testing.T) []string { return []string{"--tls-cert-file=/nowhere.crt"} }, "--tls-cert-file and --tls-private-key-file need each other"},
		{"a lease that cannot be made", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.kubeconfig, "--leader-elect", "--leader-elect-resource-namespace=default"}
		}, `cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "default"`},
		{"a lease that cannot be written", func(t *testing.T) []string {
			changeRole(t, "role/ray-operator-leader-election", `[{"op":"replace","path":"/rules","value":[{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["get"]}]}]`)
			return []string{"--kubeconfig", operator.kubeconfig, "--leader-elect", "--leader-elect-resource-name=another"}
		}, `a permission is missing (manifests/rbac has all that are needed): leases.coordination.k8s.io is forbidden: User "system:serviceaccount:ray-system:ray-operator" cannot create resource "leases"`},
		{"a permission to watch that is missing", func(t *testing.T) []string {
			changeRights(t, `[{"op":"replace","path":"/rules/0/verbs","value":["get","list"]}]`)
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address="}
		}, `cannot watch resource "rays" in API group "ray.kubeflow.org" at the cluster scope`},
		{"a permission that is missing", func(t *testing.T) []string {
			changeRights(t, `[{"op":"remove","path":"/rules/4"}]`)
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address="}
		}, `cannot list resource "deployments" in API group "apps" at the cluster scope`},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), path("bin/ray-operator"), test.prepare(t)...)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			if err := command.Run(); command.ProcessState == nil || command.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended with %v, want exit status 1", err)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ray-operator: ") || !strings.Contains(last, test.want) {
				t.Errorf("it says %q, want it to say %q", last, test.want)
			}
			for _, line := range lines[:len(lines)-1] {
				if !strings.HasPrefix(line, "I") {
					t.Errorf("it also says %q", line)
				}
			}
		})
	}
}

// changeRights changes the operator's ClusterRole, until the test ends.
func changeRights(t *testing.T, patch string) {
	t.Helper()
	changeRole(t, "clusterrole/ray-operator", patch)
}

// changeRole changes a role of the operator's, until the test ends.
func changeRole(t *testing.T, role, patch string) {
	t.Helper()
	if out := runKubectl(t.Context(), "", "patch", role, "--namespace=ray-system", "--type=json", "-p", patch); out.err != nil {
		t.Fatal(out.stderr)
	}
	t.Cleanup(func() { restoreRights(t) })
}

func restoreRights(t *testing.T) {
	t.Helper()
	if out := runKubectl(context.Background(), "", "apply", "-k", path("manifests/rbac")); out.err != nil {
		t.Error(out.stderr)
	}
}

// writeFile writes a file that goes when the test ends.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMissingRight takes a right to write away: the Ray says which one is missing.
func TestMissingRight(t *testing.T) {
	u := newUser(t)
	changeRights(t, `[{"op":"replace","path":"/rules/4/verbs","value":["get","list","watch"]}]`)
	u.eventually("the right is gone", func() error {
		if out := runKubectl(t.Context(), "", "auth", "can-i", "create", "deployments", "--as=system:serviceaccount:ray-system:ray-operator"); !strings.HasPrefix(out.stdout, "no") {
			return fmt.Errorf("kubectl auth can-i says %s", out.stdout)
		}
		return nil
	})
	u.kubectl("apply", "-f", path(seedManifest))
	u.waitHealth("sample-cluster", corev1.ConditionFalse, `cannot create resource "deployments" in API group "apps" in the namespace "`+u.namespace+`"`)
	restoreRights(t)
	u.waitHealthy("sample-cluster")
	if got := len(u.pods(rayv1.RoleWorker)); got != 3 {
		t.Errorf("there are %d workers, want 3", got)
	}
}
