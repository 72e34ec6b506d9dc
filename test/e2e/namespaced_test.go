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
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const overlay = "manifests/overlays/namespaced"

// namespacedFor returns the directory of the overlay for some namespaces, created from the shipped
// one as its comment describes.
func namespacedFor(t *testing.T, namespaces ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(cluster.Path("manifests"))); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "overlays", "namespaced")
	each := func(text string) string {
		var lines strings.Builder
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") || !strings.Contains(line, "team-a") {
				lines.WriteString(line)
				continue
			}
			for _, namespace := range namespaces {
				lines.WriteString(strings.ReplaceAll(line, "team-a", namespace))
			}
		}
		return lines.String()
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main := filepath.Join(dir, "kustomization.yaml")
	write(main, each(readFile(t, main)))
	one := readFile(t, filepath.Join(dir, "team-a", "kustomization.yaml"))
	for _, namespace := range namespaces {
		write(filepath.Join(dir, namespace, "kustomization.yaml"), strings.ReplaceAll(one, "team-a", namespace))
	}
	return dir
}

// TestNamespacedManifests compares the namespaced installation with the default one: the operator
// has the same permissions, but only in the namespaces that it watches.
func TestNamespacedManifests(t *testing.T) {
	t.Parallel()
	everything := render(t, cluster.Path("manifests/default"))
	for _, test := range []struct {
		dir        string
		namespaces []string
	}{
		{cluster.Path(overlay), []string{"team-a"}},
		{namespacedFor(t, "one", "two"), []string{"one", "two"}},
	} {
		objects := render(t, test.dir)
		var places []string
		for _, object := range objects {
			if !slices.Contains(places, object.GetNamespace()) {
				places = append(places, object.GetNamespace())
			}
		}
		slices.Sort(places)
		if want := append(slices.Clone(test.namespaces), "ray-system"); !sameElements(places, want) {
			t.Errorf("the objects are in namespaces %q, want %q", places, want)
		}
		var watched []string
		for _, arg := range operatorArgs(t, objects) {
			if namespace, found := strings.CutPrefix(arg, "--namespace="); found {
				watched = append(watched, namespace)
			}
		}
		if !slices.Equal(watched, test.namespaces) {
			t.Errorf("the operator watches %q, want %q", watched, test.namespaces)
		}
		for _, namespace := range test.namespaces {
			permissions := permissionsOf(operatorRules(t, slices.DeleteFunc(slices.Clone(objects), func(object unstructured.Unstructured) bool {
				return !slices.Contains([]string{namespace, "ray-system"}, object.GetNamespace())
			})))
			// Reviews are cluster-scoped, so metrics are not served.
			if want := slices.DeleteFunc(permissionsOf(operatorRules(t, everything)), permission.isReview); !slices.Equal(permissions, want) {
				t.Errorf("in namespace %s the operator has the permissions %q, want %q", namespace, permissions, want)
			}
		}
	}
	// Together with what a cluster administrator installs, these are all objects of the default
	// installation.
	var names []string
	for _, object := range slices.Concat(render(t, cluster.Path(overlay)), render(t, cluster.Path(overlay+"/cluster"))) {
		names = append(names, strings.TrimPrefix(object.GetKind(), "Cluster")+"/"+object.GetName())
	}
	var want []string
	for _, object := range everything {
		if object.GetName() == "ray-operator-metrics" || object.GetName() == "ray-operator-metrics-auth" && object.GetKind() == "ClusterRoleBinding" {
			continue // only required for metrics
		}
		want = append(want, strings.TrimPrefix(object.GetKind(), "Cluster")+"/"+object.GetName())
	}
	if !sameElements(names, want) {
		t.Errorf("the namespaced installation consists of\n%q\nwant\n%q", names, want)
	}
}

func sameElements(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestNamespaced runs an operator with the permissions and arguments of the namespaced installation.
func TestNamespaced(t *testing.T) {
	stopOperator(t)
	others := newUser(t)
	watched := []*user{newUser(t), newUser(t)}
	var namespaces []string
	for _, u := range watched {
		namespaces = append(namespaces, u.namespace)
	}

	system := &user{T: t, namespace: "ray-system"}
	system.kubectl("delete", "clusterrolebinding/ray-operator", "clusterrole/ray-operator")
	t.Cleanup(func() { restoreRoles(t) })
	dir := namespacedFor(t, namespaces...)
	if out := cluster.Kubectl(t.Context(), "", "apply", "-k", dir); out.Err != nil {
		t.Fatal(out.Err)
	}
	t.Cleanup(func() {
		system.delete("deployment/ray-operator", "poddisruptionbudget/ray-operator", "networkpolicy/ray-operator")
	})
	objects := render(t, dir)
	for _, u := range watched {
		u.waitAllowed(accountName("ray-system", "ray-operator"), permission{"apps", "deployments", "create"})
	}

	mark := markAudit(t)
	o := newOperator(t, "namespaced", operatorArgs(t, objects)...)
	start(t, o)
	others.kubectl("apply", "-f", cluster.Path(sampleManifest))
	for _, u := range watched {
		u.applySample()
		u.waitEvent("sample-cluster", "Normal", "SuccessfullyCreate", "service sample-cluster-head")
	}
	if status := others.ray("sample-cluster").Status; status.StartTime != nil {
		t.Errorf("a Ray in another namespace has the status %v", status)
	}
	o.Stop()
	for _, request := range operatorRequests(t, mark, append(namespaces, "ray-system")...) {
		if request.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("forbidden: %s", request)
		}
	}
}
