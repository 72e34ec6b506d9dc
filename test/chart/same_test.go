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
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	crd = "CustomResourceDefinition /rays.ray.kubeflow.org"
	// Helm stores its release records in the namespace, so it creates it (--create-namespace).
	ownNamespace = "Namespace /" + namespace
)

// TestSameAsKustomize verifies that the chart and the kustomize manifests install the same objects,
// with two exceptions: the chart has no Namespace, and its CustomResourceDefinition has an
// annotation.
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
			// The chart does not configure Prometheus and Grafana.
			without: []string{
				ownNamespace, "ClusterRoleBinding /ray-operator-metrics-reader",
				"Role ray-system/ray-operator-metrics-discovery", "RoleBinding ray-system/ray-operator-metrics-discovery",
				"PrometheusRule ray-system/ray-operator", "ConfigMap ray-system/ray-operator-dashboard",
			},
		},
		{
			name:   "for selected namespaces",
			values: "namespaces: [team-a]\nmetrics: {enabled: false}",
			want:   []string{"overlays/namespaced/cluster", "overlays/namespaced"},
			// The overlay contains these for an administrator to bind.
			without: []string{ownNamespace, "ClusterRole /ray-operator-metrics-auth", "ClusterRole /ray-operator-metrics-reader"},
		},
		{
			name:   "without cluster-scoped objects",
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
					t.Errorf("%s is excluded but not in the manifests", key)
				}
				delete(want, key)
			}
			// Uninstalling the release must not delete Rays.
			if object := got[crd]; object != nil {
				annotations := object.GetAnnotations()
				if annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("uninstalling the release would delete the CustomResourceDefinition and all Rays: annotations are %v", annotations)
				}
				delete(annotations, "helm.sh/resource-policy")
				object.SetAnnotations(annotations)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects differ (-manifests +chart):\n%s", diff)
			}
		})
	}
}

// TestNoClusterRole verifies that an operator for selected namespaces has no cluster-wide
// permissions.
func TestNoClusterRole(t *testing.T) {
	t.Parallel()
	for key := range template(t, "namespaces: [team-a, team-b]\nmetrics: {secure: false}") {
		kind, _, _ := strings.Cut(key, " ")
		userRole := key == "ClusterRole /ray-viewer" || key == "ClusterRole /ray-editor"
		if kind == "ClusterRoleBinding" || kind == "ClusterRole" && !userRole {
			t.Errorf("the chart renders %s", key)
		}
	}
}
