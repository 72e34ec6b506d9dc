// Package chart tests the Helm chart with the real helm: that it installs what the kustomize
// manifests do, that a real API server accepts what the values make of it, and that it can be
// installed, upgraded and uninstalled. hack/test-chart.sh starts a cluster and runs the tests.
package chart

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Where things are, as hack/test-chart.sh says.
var (
	root       = flag.String("root", "../..", "root of the repository")
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of the cluster, as its administrator")
)

// namespace is that of the kustomize manifests.
const namespace = "ray-system"

func TestMain(m *testing.M) {
	flag.Parse()
	if *kubeconfig == "" {
		fmt.Fprintln(os.Stderr, "these tests need a cluster: run make test-chart")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// path returns that of a file of the repository.
func path(name string) string { return filepath.Join(*root, name) }

// run runs a command with what it reads, and returns what it prints. The error has what it says.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// helm runs helm on the chart: the verb, with values in YAML and more arguments.
func helm(ctx context.Context, values string, args ...string) (string, error) {
	args = append(args, path("manifests/chart"), "--namespace", namespace, "--values", "-", "--kubeconfig", *kubeconfig)
	return run(ctx, values, path("bin/helm"), args...)
}

// kubectl runs kubectl, and fails the test if it does.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), stdin, path("bin/cluster/kubectl"), append(args, "--kubeconfig", *kubeconfig)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects is manifests by what they are, such as "Role team-a/ray-operator".
type objects map[string]*unstructured.Unstructured

// template returns what the chart makes of the values.
func template(t *testing.T, values string) objects {
	t.Helper()
	out, err := helm(t.Context(), values, "template", "ray-operator")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, out)
}

// kustomize returns what a kustomization of manifests consists of.
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
			continue // Comments alone.
		}
		key := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		if _, twice := all[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		all[key] = &object
	}
	return all
}
