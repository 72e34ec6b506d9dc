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
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// valueTests has a case for each value. Each sets a value that is not the default and verifies its
// effect on an object.
var valueTests = []struct {
	values string
	object string
	want   string // Part of the object in YAML. Empty means that the object is not rendered.
}{
	{"image: {repository: registry.example/ray-operator}", deployment, "image: registry.example/ray-operator:latest\n"},
	{"image: {tag: v1.2.3}", deployment, "image: ray-operator:v1.2.3\n"},
	{"image: {pullPolicy: Always}", deployment, "imagePullPolicy: Always\n"},
	{"imagePullSecrets: [{name: registry}]", deployment, "imagePullSecrets:\n      - name: registry\n"},
	{"replicas: 0", deployment, "replicas: 0\n"},
	{"serviceAccount: {create: false, name: other}", serviceAccount, ""},
	{"serviceAccount: {create: false, name: other}", deployment, "serviceAccountName: other\n"},
	{"serviceAccount: {create: false, name: other}", "ClusterRoleBinding /ray-operator", "name: other\n"},
	{"serviceAccount: {create: false, name: other}", "ClusterRoleBinding /ray-operator-metrics-auth", "name: other\n"},
	{"serviceAccount: {create: false, name: other}", "RoleBinding ray-system/ray-operator-leader-election", "name: other\n"},
	{"serviceAccount: {name: other}\nnamespaces: [team-a]\nmetrics: {secure: false}", "RoleBinding team-a/ray-operator", "name: other\n"},
	{"serviceAccount: {name: other}", "ServiceAccount ray-system/other", "name: other\n"},
	{"serviceAccount: {annotations: {example.com/role: operator}}", serviceAccount, "annotations:\n    example.com/role: operator\n"},
	{"podAnnotations: {example.com/team: a}", deployment, "annotations:\n        example.com/team: a\n        kubectl.kubernetes.io/default-container: ray-operator\n"},
	{"podLabels: {team: a}", deployment, "labels:\n        app.kubernetes.io/name: ray-operator\n        team: a\n"},
	{"resources: {requests: {cpu: 2, memory: 128Mi}, limits: {memory: 1Gi}}", deployment, "memory: 128Mi\n"},
	{"priorityClassName: system-cluster-critical", deployment, "priorityClassName: system-cluster-critical\n"},
	{"nodeSelector: {kubernetes.io/os: linux}", deployment, "nodeSelector:\n        kubernetes.io/os: linux\n"},
	{"tolerations: [{key: dedicated, operator: Exists}]", deployment, "tolerations:\n      - key: dedicated\n"},
	{
		"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}",
		deployment, "affinity:\n        nodeAffinity:\n",
	},
	{"topologySpreadConstraints: []", deployment, "    spec:\n      containers:\n"},
	{
		"topologySpreadConstraints: [{topologyKey: zone, maxSkew: 2, whenUnsatisfiable: ScheduleAnyway}]",
		deployment, "topologySpreadConstraints:\n      - maxSkew: 2\n        topologyKey: zone\n        whenUnsatisfiable: ScheduleAnyway\n",
	},
	{"namespaces: [team-a, team-b]\nmetrics: {secure: false}", deployment, "- --namespace=team-a\n        - --namespace=team-b\n"},
	{"namespaces: [team-a, team-b]\nmetrics: {secure: false}", "RoleBinding team-b/ray-operator", "namespace: ray-system\n"},
	{"extraArgs: [--workers=20]", deployment, "- --leader-elect-resource-namespace=$(POD_NAMESPACE)\n        - --workers=20\n"},
	{"env: {GOMAXPROCS: '2'}", deployment, "- name: GOGC\n          value: \"30\"\n        - name: GOMAXPROCS\n          value: \"2\"\n"},
	{"env: {GOGC: '50', GOMEMLIMIT: 400MiB}", deployment, "- name: GOGC\n          value: \"50\"\n"},
	{"env: {GOGC: '50', GOMEMLIMIT: 400MiB}", deployment, "- name: GOMEMLIMIT\n          value: 400MiB\n"},
	{
		"extraEnv: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]",
		deployment, "- name: NODE_NAME\n          valueFrom:\n            fieldRef:\n              fieldPath: spec.nodeName\n",
	},
	{"metrics: {enabled: false}", deployment, "- --metrics-bind-address=\n"},
	{"metrics: {enabled: false}", "Service ray-system/ray-operator-metrics", ""},
	{"metrics: {enabled: false}", "ClusterRole /ray-operator-metrics-auth", ""},
	{"metrics: {secure: false}", deployment, "- --metrics-secure=false\n"},
	{"metrics: {secure: false}", "ClusterRole /ray-operator-metrics-auth", ""},
	{"metrics: {tlsSecret: metrics-tls}", deployment, "secretName: metrics-tls\n"},
	{"metrics: {tlsSecret: metrics-tls}", deployment, "- --tls-cert-file=/etc/ray-operator/tls/tls.crt\n"},
	{"metrics: {serviceMonitor: {enabled: true}}", serviceMonitor, "insecureSkipVerify: true\n"},
	{"metrics: {tlsSecret: metrics-tls, serviceMonitor: {enabled: true}}", serviceMonitor, "serverName: ray-operator-metrics.ray-system.svc\n"},
	{"metrics: {secure: false, serviceMonitor: {enabled: true}}", serviceMonitor, "scheme: http\n"},
	{"metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}}", serviceMonitor, "release: prometheus\n"},
	{"podDisruptionBudget: {enabled: false}", "PodDisruptionBudget ray-system/ray-operator", ""},
	{"networkPolicy: {enabled: false}", "NetworkPolicy ray-system/ray-operator", ""},
	{"crds: {enabled: false}", crd, ""},
	{"policies: {enabled: false}", "ValidatingAdmissionPolicy /ray-pod-rights.ray.kubeflow.org", ""},
	{"userRoles: {enabled: false}", "ClusterRole /ray-editor", ""},
}

const (
	deployment     = "Deployment ray-system/ray-operator"
	serviceAccount = "ServiceAccount ray-system/ray-operator"
	serviceMonitor = "ServiceMonitor ray-system/ray-operator-metrics"
)

// TestValues renders the chart with the values of each case and verifies that the API server
// accepts all objects.
func TestValues(t *testing.T) {
	for _, name := range []string{namespace, "team-a", "team-b"} {
		kubectl(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}", "apply", "-f", "-")
	}
	defaults := template(t, "")
	for _, test := range valueTests {
		t.Run(test.values, func(t *testing.T) {
			t.Parallel()
			all := template(t, test.values)
			object := all[test.object]
			switch {
			case test.want == "" && defaults[test.object] == nil:
				t.Errorf("%s is not rendered by default either", test.object)
			case test.want == "" && object != nil:
				t.Errorf("%s is rendered", test.object)
			case test.want != "" && object == nil:
				t.Errorf("%s is not rendered, only %v", test.object, slices.Sorted(maps.Keys(all)))
			case test.want != "" && !strings.Contains(asYAML(t, object), test.want):
				t.Errorf("%s does not contain %q:\n%s", test.object, test.want, asYAML(t, object))
			}
			var documents strings.Builder
			for _, object := range all {
				fmt.Fprintf(&documents, "---\n%s", asYAML(t, object))
			}
			kubectl(t, documents.String(), "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		})
	}
}

// TestValuesAreTested verifies that valueTests has a case for each value in values.yaml.
func TestValuesAreTested(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(path("manifests/chart/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, test := range valueTests {
		for _, name := range names(t, test.values) {
			tested[name] = true
		}
	}
	for _, name := range names(t, string(data)) {
		if !tested[name] && !strings.HasPrefix(name, "resources.") {
			t.Errorf("no case sets %s", name)
		}
	}
}

// names returns the names of all values, such as image and image.tag.
func names(t *testing.T, values string) []string {
	t.Helper()
	var tree map[string]any
	if err := yaml.UnmarshalStrict([]byte(values), &tree); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for key, value := range tree {
			all = append(all, prefix+key)
			if nested, ok := value.(map[string]any); ok {
				walk(prefix+key+".", nested)
			}
		}
	}
	walk("", tree)
	return all
}

func asYAML(t *testing.T, object any) string {
	t.Helper()
	data, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestInvalidValues verifies the error messages for invalid values.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"replica: 3":                                 "additional properties 'replica' not allowed",
		"replicas: three":                            "/replicas",
		"extraArgs: [workers]":                       "/extraArgs/0",
		"namespaces: [Team]":                         "/namespaces/0",
		"namespaces: [team-a]":                       "set metrics.enabled or metrics.secure to false",
		"serviceAccount: {create: false}":            "serviceAccount.name is required if serviceAccount.create is false",
		"podLabels: {app.kubernetes.io/name: other}": "/podLabels/app.kubernetes.io~1name",
		"podAnnotations: {kubectl.kubernetes.io/default-container: other}": "/podAnnotations/kubectl.kubernetes.io~1default-container",
		"affinity: {nodeAfinity: {}}":                                      "additional properties 'nodeAfinity' not allowed",
		"env: {GOGC: 30}":                                                  "/env/GOGC",
		"env: {POD_NAMESPACE: other}":                                      "/env/POD_NAMESPACE",
		"extraEnv: [{name: POD_NAMESPACE, value: other}]":                  "/extraEnv/0/name",
		"extraEnv: [{value: other}]":                                       "missing property 'name'",
		"image: {version: v1}":                                             "additional properties 'version' not allowed",
		"metrics: {cert: file}":                                            "additional properties 'cert' not allowed",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			_, err := helm(t.Context(), values, "template", "ray-operator")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
