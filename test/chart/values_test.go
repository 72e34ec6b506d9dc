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

// valueTests has what each value does, for values that are not the default: it shows in one of
// the objects, or an object is there or not.
var valueTests = []struct {
	values string
	object string
	has    string // In the object, as YAML. Empty means that there is no such object.
}{
	{"image: {repository: registry.example/ray-operator}", deployment, "image: registry.example/ray-operator:latest\n"},
	{"image: {tag: v1.2.3}", deployment, "image: ray-operator:v1.2.3\n"},
	{"image: {pullPolicy: Always}", deployment, "imagePullPolicy: Always\n"},
	{"imagePullSecrets: [{name: registry}]", deployment, "imagePullSecrets:\n      - name: registry\n"},
	{"replicas: 0", deployment, "replicas: 0\n"},
	{"resources: {requests: {cpu: 2, memory: 128Mi}, limits: {memory: 1Gi}}", deployment, "memory: 128Mi\n"},
	{"priorityClassName: system-cluster-critical", deployment, "priorityClassName: system-cluster-critical\n"},
	{"nodeSelector: {kubernetes.io/os: linux}", deployment, "nodeSelector:\n        kubernetes.io/os: linux\n"},
	{"tolerations: [{key: dedicated, operator: Exists}]", deployment, "tolerations:\n      - key: dedicated\n"},
	{
		"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}",
		deployment, "affinity:\n        nodeAffinity:\n",
	},
	{"namespaces: [team-a, team-b]\nmetrics: {secure: false}", deployment, "- --namespace=team-a\n        - --namespace=team-b\n"},
	{"namespaces: [team-a, team-b]\nmetrics: {secure: false}", "RoleBinding team-b/ray-operator", "namespace: ray-system\n"},
	{"extraArgs: [--workers=20]", deployment, "- --workers=20\n"},
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
	serviceMonitor = "ServiceMonitor ray-system/ray-operator-metrics"
)

// TestValues renders the chart with other values, and asks a real API server whether it would
// accept all of it.
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
			case test.has == "" && defaults[test.object] == nil:
				t.Errorf("there is no %s by default, so that this shows nothing", test.object)
			case test.has == "" && object != nil:
				t.Errorf("there is a %s", test.object)
			case test.has != "" && object == nil:
				t.Errorf("there is no %s in %v", test.object, slices.Sorted(maps.Keys(all)))
			case test.has != "" && !strings.Contains(asYAML(t, object), test.has):
				t.Errorf("%s has no %q:\n%s", test.object, test.has, asYAML(t, object))
			}
			var documents strings.Builder
			for _, object := range all {
				fmt.Fprintf(&documents, "---\n%s", asYAML(t, object))
			}
			kubectl(t, documents.String(), "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
		})
	}
}

// TestValuesAreTested compares values.yaml with the table: each value is in it.
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
			t.Errorf("no test sets %s", name)
		}
	}
}

// names returns the names of all values, such as "image" and "image.tag".
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
			if below, ok := value.(map[string]any); ok {
				walk(prefix+key+".", below)
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

// TestBadValues has values that Helm refuses, and what it says.
func TestBadValues(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"replica: 3":            "additional properties 'replica' not allowed",
		"replicas: three":       "/replicas",
		"extraArgs: [workers]":  "/extraArgs/0",
		"namespaces: [Team]":    "/namespaces/0",
		"namespaces: [team-a]":  "set metrics.enabled or metrics.secure to false",
		"image: {version: v1}":  "additional properties 'version' not allowed",
		"metrics: {cert: file}": "additional properties 'cert' not allowed",
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
