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

package chart

import (
	"strings"
	"testing"
)

const ray = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: sample, namespace: default}
spec: {head: {template: {spec: {containers: [{name: ray-head, image: ray}]}}}}
`

func TestLint(t *testing.T) {
	t.Parallel()
	if _, err := helm(t.Context(), "", "lint", "--strict"); err != nil {
		t.Error(err)
	}
}

// TestRelease installs, upgrades and uninstalls a release. None of these deletes Rays.
func TestRelease(t *testing.T) {
	helmRelease := func(values string, args ...string) {
		t.Helper()
		if out, err := helm(t.Context(), values, args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	helmRelease("", "install", "ray-operator", "--create-namespace")
	kubectl(t, "", "wait", "--for=condition=Established", "crd/rays.ray.kubeflow.org")
	kubectl(t, ray, "create", "-f", "-")

	// The monitoring manifests can be added to an installation.
	kubectl(t, "", "apply", "--dry-run=server", "-k", path("manifests/monitoring"))

	helmRelease("replicas: 3\npodDisruptionBudget: {enabled: false}", "upgrade", "ray-operator")
	if got := kubectl(t, "", "get", "deployment", "ray-operator", "-n", namespace, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("replicas after the upgrade: got %s, want 3", got)
	}
	// Downgrade and upgrade as in docs/upgrading.md. Values set by the user are kept.
	helmRelease("", "upgrade", "ray-operator", "--reset-then-reuse-values", "--set", "crds.enabled=false")
	helmRelease("", "upgrade", "ray-operator", "--reset-then-reuse-values", "--set", "crds.enabled=true")
	if got := kubectl(t, "", "get", "deployment", "ray-operator", "-n", namespace, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("replicas after a downgrade and an upgrade: got %s, want 3", got)
	}
	if got := kubectl(t, "", "get", "rays", "-n", "default", "-o", "name"); strings.TrimSpace(got) != "ray.ray.kubeflow.org/sample" {
		t.Errorf("Rays after an upgrade with crds.enabled=false: got %q, want sample", got)
	}
	if got := kubectl(t, "", "get", "poddisruptionbudget", "-n", namespace, "-o", "name"); got != "" {
		t.Errorf("%s exists after an upgrade with podDisruptionBudget.enabled=false", strings.TrimSpace(got))
	}

	if _, err := run(t.Context(), "", path("bin/helm"), "uninstall", "ray-operator", "--namespace", namespace); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, "", "get", "rays", "-n", "default", "-o", "name"); strings.TrimSpace(got) != "ray.ray.kubeflow.org/sample" {
		t.Errorf("Rays after the uninstallation: got %q, want sample", got)
	}
	if got := kubectl(t, "", "get", "deployments,clusterroles,validatingadmissionpolicies", "-A", "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"); got != "" {
		t.Errorf("the release was uninstalled, but these objects exist:\n%s", got)
	}
}
