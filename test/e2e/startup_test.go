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

// TestStartupErrors starts operators that cannot work. Each exits with an error of one line.
func TestStartupErrors(t *testing.T) {
	unreachable := strings.ReplaceAll(readFile(t, operator.Kubeconfig), "server: https://127.0.0.1:", "server: https://127.0.0.1:1")
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T) []string
		want    string
	}{
		{"not in a cluster", func(*testing.T) []string { return nil }, "not running in a cluster: set --kubeconfig"},
		{"missing kubeconfig", func(*testing.T) []string { return []string{"--kubeconfig=/nowhere"} }, "/nowhere: no such file or directory"},
		{"unknown flag", func(*testing.T) []string { return []string{"--frobnicate"} }, "unknown flag: --frobnicate"},
		{"no workers", func(*testing.T) []string { return []string{"--workers=0"} }, "--workers=0: must be at least 1"},
		{"invalid namespace", func(*testing.T) []string { return []string{"--namespace=a", "--namespace=B"} }, `--namespace="B" is not a valid namespace name`},
		{"duplicate namespace", func(*testing.T) []string { return []string{"--namespace=a,a"} }, "--namespace=a is set more than once"},
		{"unexpected argument", func(*testing.T) []string { return []string{"run"} }, `unexpected argument "run"`},
		{"unreachable API server", func(t *testing.T) []string {
			return []string{"--kubeconfig", writeFile(t, unreachable)}
		}, "cannot be reached"},
		{"health port in use", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.Kubeconfig, "--health-bind-address", operator.HealthAddress}
		}, "--health-bind-address: listen tcp " + operator.HealthAddress + ": bind: address already in use"},
		{"metrics port in use", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.Kubeconfig, "--health-bind-address=", "--metrics-bind-address", operator.HealthAddress}
		}, "--metrics-bind-address: listen tcp " + operator.HealthAddress + ": bind: address already in use"},
		{"missing certificate", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.Kubeconfig, "--tls-cert-file=/nowhere.crt", "--tls-private-key-file=/nowhere.key"}
		}, "--tls-cert-file=/nowhere.crt, --tls-private-key-file=/nowhere.key: open /nowhere.crt: no such file or directory"},
		{"malformed certificate", func(t *testing.T) []string {
			file := writeFile(t, "none")
			return []string{"--kubeconfig", operator.Kubeconfig, "--tls-cert-file", file, "--tls-private-key-file", file}
		}, "tls: failed to find any PEM data in certificate input"},
		{"certificate without a key", func(*testing.T) []string { return []string{"--tls-cert-file=/nowhere.crt"} }, "--tls-cert-file and --tls-private-key-file must be set together"},
		{"missing permission to get the lease", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.Kubeconfig, "--leader-elect", "--leader-elect-resource-namespace=default"}
		}, `cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "default"`},
		{"missing permission to create the lease", func(t *testing.T) []string {
			changeRole(t, "role/ray-operator-leader-election", `[{"op":"replace","path":"/rules","value":[{"apiGroups":["coordination.k8s.io"],"resources":["leases"],"verbs":["get"]}]}]`)
			return []string{"--kubeconfig", operator.Kubeconfig, "--leader-elect", "--leader-elect-resource-name=another"}
		}, `missing permission (apply manifests/rbac): leases.coordination.k8s.io is forbidden: User "system:serviceaccount:ray-system:ray-operator" cannot create resource "leases"`},
		{"missing permission to watch", func(t *testing.T) []string {
			changeClusterRole(t, `[{"op":"replace","path":"/rules/0/verbs","value":["get","list"]}]`)
			return []string{"--kubeconfig", operator.Kubeconfig, "--health-bind-address="}
		}, `cannot watch resource "rays" in API group "ray.kubeflow.org" at the cluster scope`},
		{"missing permission to list", func(t *testing.T) []string {
			changeClusterRole(t, `[{"op":"remove","path":"/rules/4"}]`)
			return []string{"--kubeconfig", operator.Kubeconfig, "--health-bind-address="}
		}, `cannot list resource "deployments" in API group "apps" at the cluster scope`},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), cluster.Path("bin/ray-operator"), test.prepare(t)...)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			if err := command.Run(); command.ProcessState == nil || command.ProcessState.ExitCode() != 1 {
				t.Errorf("the operator exited with %v, want exit status 1", err)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ray-operator: ") || !strings.Contains(last, test.want) {
				t.Errorf("the error is %q, want %q", last, test.want)
			}
			for _, line := range lines[:len(lines)-1] {
				if !strings.HasPrefix(line, "I") {
					t.Errorf("the operator logged %q", line)
				}
			}
		})
	}
}

// changeClusterRole changes the operator's ClusterRole until the test ends.
func changeClusterRole(t *testing.T, patch string) {
	t.Helper()
	changeRole(t, "clusterrole/ray-operator", patch)
}

// changeRole changes a role of the operator until the test ends.
func changeRole(t *testing.T, role, patch string) {
	t.Helper()
	if out := cluster.Kubectl(t.Context(), "", "patch", role, "--namespace=ray-system", "--type=json", "-p", patch); out.Err != nil {
		t.Fatal(out.Err)
	}
	t.Cleanup(func() { restoreRoles(t) })
}

// restoreRoles applies the shipped roles.
func restoreRoles(t *testing.T) {
	t.Helper()
	if out := cluster.Kubectl(context.Background(), "", "apply", "-k", cluster.Path("manifests/rbac")); out.Err != nil {
		t.Error(out.Err)
	}
}

// writeFile writes a temporary file and returns its name.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMissingPermission removes a permission while the operator runs. The Ray reports the denial.
func TestMissingPermission(t *testing.T) {
	u := newUser(t)
	changeClusterRole(t, `[{"op":"replace","path":"/rules/4/verbs","value":["get","list","watch"]}]`)
	u.eventually("the permission is removed", func() error {
		if out := cluster.Kubectl(t.Context(), "", "auth", "can-i", "create", "deployments", "--as=system:serviceaccount:ray-system:ray-operator"); !strings.HasPrefix(out.Stdout, "no") {
			return fmt.Errorf("kubectl auth can-i prints %s", out.Stdout)
		}
		return nil
	})
	u.kubectl("apply", "-f", cluster.Path(sampleManifest))
	u.waitHealth("sample-cluster", corev1.ConditionFalse, `cannot create resource "deployments" in API group "apps" in the namespace "`+u.namespace+`"`)
	restoreRoles(t)
	u.waitHealthy("sample-cluster")
	if got := len(u.pods(rayv1.RoleWorker)); got != 3 {
		t.Errorf("there are %d workers, want 3", got)
	}
}
