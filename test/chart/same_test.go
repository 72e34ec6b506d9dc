package chart

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	crd = "CustomResourceDefinition /rays.ray.kubeflow.org"
	// Helm keeps its own records in it, and so has to make it: --create-namespace.
	ownNamespace = "Namespace /" + namespace
)

// TestSameAsKustomize compares each field of each object that the chart and the manifests
// install. There are two differences: the chart has no Namespace, and the
// CustomResourceDefinition has an annotation.
func TestSameAsKustomize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, values string
		want         []string
		without      []string
	}{
		{
			name:    "by default",
			want:    []string{"default"},
			without: []string{ownNamespace},
		},
		{
			name:   "with a ServiceMonitor",
			values: "metrics: {serviceMonitor: {enabled: true}}",
			want:   []string{"default", "monitoring"},
			// Who may scrape, and what Prometheus and Grafana make of it, is not the operator's release.
			without: []string{
				ownNamespace, "ClusterRoleBinding /ray-operator-metrics-reader",
				"Role ray-system/ray-operator-metrics-discovery", "RoleBinding ray-system/ray-operator-metrics-discovery",
				"PrometheusRule ray-system/ray-operator", "ConfigMap ray-system/ray-operator-dashboard",
			},
		},
		{
			name:   "for some namespaces",
			values: "namespaces: [team-a]\nmetrics: {enabled: false}",
			want:   []string{"overlays/namespaced/cluster", "overlays/namespaced"},
			// The overlay has the roles for an administrator to bind.
			without: []string{ownNamespace, "ClusterRole /ray-operator-metrics-auth", "ClusterRole /ray-operator-metrics-reader"},
		},
		{
			name:   "without what belongs to the whole cluster",
			values: "metrics: {enabled: false}\nnamespaces: [team-a]\ncrds: {enabled: false}\npolicies: {enabled: false}\nuserRoles: {enabled: false}",
			want:   []string{"overlays/namespaced"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, want := template(t, test.values), objects{}
			for _, name := range test.want {
				maps.Copy(want, kustomize(t, name))
			}
			for _, key := range test.without {
				if want[key] == nil {
					t.Errorf("the manifests have no %s: it need not be listed here", key)
				}
				delete(want, key)
			}
			// Rays outlive the release.
			if object := got[crd]; object != nil {
				annotations := object.GetAnnotations()
				if annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("the CustomResourceDefinition would go with the release, and all Rays with it: annotations are %v", annotations)
				}
				delete(annotations, "helm.sh/resource-policy")
				object.SetAnnotations(annotations)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the manifests (-) and the chart (+) differ:\n%s", diff)
			}
		})
	}
}

// TestNoClusterRole looks at who has rights in the whole cluster if the operator serves some
// namespaces: nobody gets any.
func TestNoClusterRole(t *testing.T) {
	t.Parallel()
	for key := range template(t, "namespaces: [team-a, team-b]\nmetrics: {secure: false}") {
		kind, _, _ := strings.Cut(key, " ")
		userRole := key == "ClusterRole /ray-viewer" || key == "ClusterRole /ray-editor"
		if kind == "ClusterRoleBinding" || kind == "ClusterRole" && !userRole {
			t.Errorf("there is a %s", key)
		}
	}
}
