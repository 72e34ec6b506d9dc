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
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rayTemplate is the template of a chart with a Ray. No node matches if schedulable is false.
const rayTemplate = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: {{ .Release.Name }}}
spec:
  head:
    template:
      spec:
        {{- if not .Values.schedulable }}
        nodeSelector: {no-node: matches}
        {{- end }}
        containers: [{name: ray-head, image: ray}]
`

// TestWait checks that "helm install --wait" and "helm upgrade --wait" wait until a Ray is ready. Helm
// determines this with kstatus, like Flux and Argo CD, from the condition Ready and the observed
// generation.
func TestWait(t *testing.T) {
	if _, err := helm(t.Context(), "", "install", "ray-operator", "--create-namespace"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := run(context.Background(), "", path("bin/helm"), "uninstall", "ray-operator", "--namespace", namespace); err != nil {
			t.Error(err)
		}
	})
	kubectl(t, "", "wait", "--for=condition=Established", "crd/rays.ray.kubeflow.org")
	operator, err := cluster.NewOperator(t.Context(), "chart")
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(operator.Stop)

	const test = "helm-wait"
	kubectl(t, "", "create", "namespace", test)
	chart := t.TempDir()
	for name, content := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: ray\nversion: 0.1.0\n",
		"values.yaml":        "schedulable: true\n",
		"templates/ray.yaml": rayTemplate,
	} {
		name = filepath.Join(chart, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	deploy := func(verb, release, timeout string, values ...string) error {
		args := []string{verb, release, chart, "--namespace", test, "--wait", "--timeout", timeout}
		for _, value := range values {
			args = append(args, "--set", value)
		}
		_, err := run(t.Context(), "", path("bin/helm"), args...)
		return err
	}
	checkTimeout := func(t *testing.T, err error, release string) {
		t.Helper()
		if want := "resource Ray/" + test + "/" + release + " not ready"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}

	if err := deploy("install", "ready", "60s"); err != nil {
		t.Errorf("a Ray that becomes ready: %v", err)
	}
	if got := kubectl(t, "", "get", "ray", "ready", "-n", test, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); got != "True" {
		t.Errorf("helm install --wait returned while Ready is %q", got)
	}
	t.Run("never ready", func(t *testing.T) {
		checkTimeout(t, deploy("install", "never-ready", "5s", "schedulable=false"), "never-ready")
	})
	t.Run("upgrade never ready", func(t *testing.T) {
		checkTimeout(t, deploy("upgrade", "ready", "5s", "schedulable=false"), "ready")
	})
	t.Run("not reconciled", func(t *testing.T) {
		operator.Stop()
		checkTimeout(t, deploy("install", "not-reconciled", "5s"), "not-reconciled")
	})
}
