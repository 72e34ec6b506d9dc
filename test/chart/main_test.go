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

// Package chart tests the Helm chart with helm and a real API server: it installs the same objects
// as the kustomize manifests, the API server accepts the objects for all values, and a release can
// be installed, upgraded and uninstalled. hack/test-chart.sh starts a cluster and runs the tests.
package chart

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// cluster is the cluster that hack/test-chart.sh starts.
var cluster harness.Cluster

// namespace is the operator's namespace in the kustomize manifests.
const namespace = "ray-system"

func TestMain(m *testing.M) {
	cluster.AddFlags(flag.CommandLine)
	harness.ParseFlags("test-chart", "kubeconfig")
	os.Exit(m.Run())
}

// path returns the path of a file in the repository.
func path(name string) string { return cluster.Path(name) }

// run runs a command and returns its standard output. Errors contain all of its output.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	out := cluster.Run(ctx, stdin, name, args...)
	return out.Stdout, out.Err
}

// helm runs a helm command on the chart, with values in YAML.
func helm(ctx context.Context, values string, args ...string) (string, error) {
	args = append(args, path("manifests/chart"), "--namespace", namespace, "--values", "-")
	return run(ctx, values, path("bin/helm"), args...)
}

// kubectl runs kubectl and fails the test on an error.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), stdin, path("bin/cluster/kubectl"), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects maps kind, namespace and name, such as "Role team-a/ray-operator", to the object.
type objects map[string]*unstructured.Unstructured

// template renders the chart with values in YAML.
func template(t *testing.T, values string) objects {
	t.Helper()
	out, err := helm(t.Context(), values, "template", "ray-operator")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

// kustomize renders a kustomization in manifests.
func kustomize(t *testing.T, name string) objects {
	t.Helper()
	return parse(t, kubectl(t, "", "kustomize", path(filepath.Join("manifests", name))))
}

func parse(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(object.Object) == 0 {
			continue // Only comments.
		}
		key := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		if _, found := all[key]; found {
			t.Errorf("%s occurs twice", key)
		}
		all[key] = &object
	}
	return all
}
