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

// namespacedFor returns the directory of the overlay for some namespaces, made of the shipped
// one as its comment says.
func namespacedFor(t *testing.T, namespaces ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(path("manifests"))); err != nil {
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

// TestNamespacedManifests looks at what the namespaced installation consists of: the operator
// has the same rights as else, but in the namespaces that it is told to serve alone.
func TestNamespacedManifests(t *testing.T) {
	t.Parallel()
	everything := render(t, path("manifests/default"))
	for _, test := range []struct {
		dir        string
		namespaces []string
	}{
		{path(overlay), []string{"team-a"}},
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
			t.Errorf("there are objects in %q, want them in %q", places, want)
		}
		var served []string
		for _, arg := range shippedArgs(t, objects) {
			if namespace, found := strings.CutPrefix(arg, "--namespace="); found {
				served = append(served, namespace)
			}
		}
		if !slices.Equal(served, test.namespaces) {
			t.Errorf("the operator is told to serve %q, want %q", served, test.namespaces)
		}
		for _, namespace := range test.namespaces {
			rights := rightsOf(shippedRules(t, slices.DeleteFunc(slices.Clone(objects), func(object unstructured.Unstructured) bool {
				return !slices.Contains([]string{namespace, "ray-system"}, object.GetNamespace())
			})))
			// To ask about others takes a right in the whole cluster, so there are no metrics.
			if want := slices.DeleteFunc(rightsOf(shippedRules(t, everything)), right.isReview); !slices.Equal(rights, want) {
				t.Errorf("in %s the operator has the rights %q, want %q", namespace, rights, want)
			}
		}
	}
	// The other half is what an administrator of the cluster installs. Together they are all else.
	var names []string
	for _, object := range slices.Concat(render(t, path(overlay)), render(t, path(overlay+"/cluster"))) {
		names = append(names, strings.TrimPrefix(object.GetKind(), "Cluster")+"/"+object.GetName())
	}
	var want []string
	for _, object := range everything {
		if object.GetName() == "ray-operator-metrics" || object.GetName() == "ray-operator-metrics-auth" && object.GetKind() == "ClusterRoleBinding" {
			continue // for metrics, which are not served there
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

// TestNamespaced runs an operator that has the rights of the namespaced installation alone,
// with its arguments. It serves the namespaces of those, and needs nothing else.
func TestNamespaced(t *testing.T) {
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	others := newUser(t)
	served := []*user{newUser(t), newUser(t)}
	var namespaces []string
	for _, u := range served {
		namespaces = append(namespaces, u.namespace)
	}

	system := &user{T: t, namespace: "ray-system"}
	system.kubectl("delete", "clusterrolebinding/ray-operator", "clusterrole/ray-operator")
	t.Cleanup(func() { restoreRights(t) })
	dir := namespacedFor(t, namespaces...)
	if out := runKubectl(t.Context(), "", "apply", "-k", dir); out.err != nil {
		t.Fatal(out.stderr)
	}
	t.Cleanup(func() {
		system.delete("deployment/ray-operator", "poddisruptionbudget/ray-operator", "networkpolicy/ray-operator")
	})
	objects := render(t, dir)
	for _, u := range served {
		u.waitAllowed(accountName("ray-system", "ray-operator"), right{"apps", "deployments", "create"})
	}

	mark := markAudit(t)
	o, err := newProcess("namespaced", shippedArgs(t, objects)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.stop)
	others.kubectl("apply", "-f", path(seedManifest))
	for _, u := range served {
		u.runSeed()
		u.waitEvent("sample-cluster", "Normal", "SuccessfullyCreate", "service sample-cluster-head")
	}
	if status := others.ray("sample-cluster").Status; status.StartTime != nil {
		t.Errorf("a Ray of another namespace has the status %v", status)
	}
	o.stop()
	for _, request := range operatorRequests(t, mark, append(namespaces, "ray-system")...) {
		if request.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("refused: %s", request)
		}
	}
}
