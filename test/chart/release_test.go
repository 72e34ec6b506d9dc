package chart

import (
	"strings"
	"testing"
)

const ray = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: stays, namespace: default}
spec: {head: {template: {spec: {containers: [{name: ray-head, image: ray}]}}}}
`

func TestLint(t *testing.T) {
	t.Parallel()
	if _, err := helm(t.Context(), "", "lint", "--strict"); err != nil {
		t.Error(err)
	}
}

// TestRelease installs, upgrades and uninstalls the chart on a real API server. Rays survive.
func TestRelease(t *testing.T) {
	steps := func(values string, args ...string) {
		t.Helper()
		if out, err := helm(t.Context(), values, args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	steps("", "install", "ray-operator", "--create-namespace")
	kubectl(t, "", "wait", "--for=condition=Established", "crd/rays.ray.kubeflow.org")
	kubectl(t, ray, "create", "-f", "-")

	// What is for prometheus-operator is applied beside an installation.
	kubectl(t, "", "apply", "--dry-run=server", "-k", path("manifests/monitoring"))

	steps("replicas: 3\npodDisruptionBudget: {enabled: false}", "upgrade", "ray-operator")
	if got := kubectl(t, "", "get", "deployment", "ray-operator", "-n", namespace, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("after the upgrade, replicas are %s, want 3", got)
	}
	// As docs/upgrading.md has it: back, and on again. What the user has set stays.
	steps("", "upgrade", "ray-operator", "--reset-then-reuse-values", "--set", "crds.enabled=false")
	steps("", "upgrade", "ray-operator", "--reset-then-reuse-values", "--set", "crds.enabled=true")
	if got := kubectl(t, "", "get", "deployment", "ray-operator", "-n", namespace, "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("after two more upgrades, replicas are %s, want 3", got)
	}
	if got := kubectl(t, "", "get", "rays", "-n", "default", "-o", "name"); strings.TrimSpace(got) != "ray.ray.kubeflow.org/stays" {
		t.Errorf("after an upgrade without the CustomResourceDefinition, Rays are %q", got)
	}
	if got := kubectl(t, "", "get", "poddisruptionbudget", "-n", namespace, "-o", "name"); got != "" {
		t.Errorf("after the upgrade, there is still a %s", got)
	}

	if _, err := run(t.Context(), "", path("bin/helm"), "uninstall", "ray-operator", "--namespace", namespace, "--kubeconfig", *kubeconfig); err != nil {
		t.Fatal(err)
	}
	if got := kubectl(t, "", "get", "rays", "-n", "default", "-o", "name"); strings.TrimSpace(got) != "ray.ray.kubeflow.org/stays" {
		t.Errorf("after the release was uninstalled, Rays are %q", got)
	}
	if got := kubectl(t, "", "get", "deployments,clusterroles,validatingadmissionpolicies", "-A", "-l", "app.kubernetes.io/managed-by=Helm", "-o", "name"); got != "" {
		t.Errorf("after the release was uninstalled, there is still\n%s", got)
	}
}
