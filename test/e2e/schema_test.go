package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// maxSchemaBytes keeps room in the CRD for one more Pod template: kubectl apply stores
// what it applies in an annotation, of which an object can have 262,144 bytes.
const maxSchemaBytes = 175_000

// TestRefusals tries all that the schema refuses, and reads what the user is told.
func TestRefusals(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	name := func(to string) []string { return []string{"name: sample-cluster", "name: " + to} }
	for _, test := range []struct {
		name    string
		replace []string
		want    []string
	}{
		{"a name of 64 characters", name(strings.Repeat("x", 64)), []string{
			"metadata.name: Invalid value: must have at most 58 characters",
		}},
		{"a name of 59 characters", name(strings.Repeat("x", 59)), []string{
			"metadata.name: Invalid value: must have at most 58 characters",
		}},
		{"a name that begins with a digit", name("1st"), []string{
			"metadata.name: Invalid value: must be a DNS-1035 label",
		}},
		{"a name with a dot", name("a.b"), []string{
			"metadata.name: Invalid value: must be a DNS-1035 label",
		}},
		{"two heads", []string{"replicas: 1", "replicas: 2"}, []string{
			"spec.head.replicas: Invalid value: must be 0 or 1: two heads behind one Service would be two clusters",
		}},
		{"a negative number of heads", []string{"replicas: 1", "replicas: -1"}, []string{
			"spec.head.replicas: Invalid value: -1: must not be negative",
		}},
		{"a negative number of workers", []string{"replicas: 3", "replicas: -3"}, []string{
			"spec.worker.replicas: Invalid value: -3: must not be negative",
		}},
		{"a number of workers that is no number", []string{"replicas: 3", "replicas: many"}, []string{
			`spec.worker.replicas: Invalid value: "string"`,
		}},
		{"a restart policy", []string{"      spec:\n        containers:\n          - name: ray-head", "      spec:\n        restartPolicy: Never\n        containers:\n          - name: ray-head"}, []string{
			"spec.head.template.spec: Invalid value: restartPolicy must be Always or left out",
		}},
		{"a field that does not exist", []string{"image: rayproject/examples:1", "imagee: rayproject/examples:1"}, []string{
			`unknown field "spec.head.template.spec.containers[0].imagee"`,
		}},
		{"a container without a name", []string{"- name: ray-worker\n            image", "- image"}, []string{
			"spec.worker.template.spec.containers[0].name: Required value",
		}},
		{"a port that is no number", []string{"containerPort: 6380", "containerPort: redis"}, []string{
			"spec.head.template.spec.containers[0].ports[1].containerPort: Invalid value",
		}},
		{"a port twice", []string{"containerPort: 6380", "containerPort: 6379"}, []string{
			`spec.head.template.spec.containers[0].ports[1]: Duplicate value`,
		}},
		{"a quantity that is none", []string{"cpu: 500m", "cpu: much"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "much"`,
		}},
		// What the Go types cannot hold would stop the operator for all Rays: it could
		// no longer read a list with such a Ray in it.
		{"a quantity with a fraction for an exponent", []string{"cpu: 500m", `cpu: "1e1.5"`}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "1e1.5"`,
		}},
		{"a quantity with a huge exponent", []string{"cpu: 500m", `cpu: "1e99999999999999999999"`}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "1e99999999999999999999"`,
		}},
		{"a quantity that is a huge number", []string{"cpu: 500m", "cpu: 99999999999999999999"}, []string{
			"spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value",
		}},
		{"a divisor that is no quantity", []string{"            resources:\n", `            env: [{name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: "1e1.5"}}}]` + "\n            resources:\n"}, []string{
			`env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "1e1.5"`,
		}},
		{"a probe of a port that does not fit", []string{"            resources:\n", "            readinessProbe: {tcpSocket: {port: 99999999999}}\n            resources:\n"}, []string{
			"readinessProbe.tcpSocket.port: Invalid value",
		}},
		{"a hook to a port that does not fit", []string{"            resources:\n", "            lifecycle: {preStop: {httpGet: {port: -3000000000}}}\n            resources:\n"}, []string{
			"lifecycle.preStop.httpGet.port: Invalid value",
		}},
		{"a port that does not fit", []string{"containerPort: 6380", "containerPort: 99999999999"}, []string{
			"must be of type integer with format int32 in spec.head.template.spec.containers[0].ports[1].containerPort",
		}},
		{"a number of workers that does not fit", []string{"replicas: 3", "replicas: 99999999999"}, []string{
			"spec.worker.replicas: Invalid value",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.refuses(t, u.seed(test.replace...), test.want...)
		})
	}

	for _, test := range []struct {
		name, spec string
		want       []string
	}{
		{"no spec", "{}", []string{"spec.head: Required value"}},
		{"no template", "{head: {}}", []string{"spec.head.template: Required value"}},
		{"an empty template", "{head: {template: {}}}", []string{
			"spec.head.template.spec: Invalid value: must have at least one container under containers",
		}},
		{"no containers", "{head: {template: {spec: {containers: []}}}, worker: {template: {spec: {containers: []}}}}", []string{
			"spec.head.template.spec: Invalid value: must have at least one container under containers",
			"spec.worker.template.spec: Invalid value: must have at least one container under containers",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.refuses(t, "apiVersion: ray.kubeflow.org/v1\nkind: Ray\nmetadata: {name: x}\nspec: "+test.spec, test.want...)
		})
	}
	if out := u.kubectl("get", "rays,deployments,services").stdout; out != "" {
		t.Errorf("there is something left of what was refused:\n%s", out)
	}
}

// refuses checks that the API server refuses a manifest in given words.
func (u *user) refuses(t *testing.T, manifest string, want ...string) {
	t.Helper()
	out := u.try(manifest, "create", "-f", "-")
	if out.err == nil {
		t.Fatal("it was accepted")
	}
	for _, text := range want {
		if !strings.Contains(out.stderr, text) {
			t.Errorf("kubectl says\n%s\nwant it to say %q", out.stderr, text)
		}
	}
}

// TestAccepted applies what is unusual but right.
func TestAccepted(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	longest := strings.Repeat("x", 58)
	u.kubectlWith(u.seed("name: sample-cluster", "name: "+longest), "apply", "-f", "-")
	u.waitHealthy(longest)
	u.kubectlWith(u.seed("name: sample-cluster", "name: asleep", "replicas: 1", "replicas: 0", "replicas: 3", "replicas: 0"), "apply", "-f", "-")
	u.waitHealthy("asleep")
	u.kubectl("apply", "-f", path("manifests/samples/head-only.yaml"))
	u.waitHealthy("head-only")
	if replicas := u.ray("head-only").Spec.Head.Replicas; replicas == nil || *replicas != 1 {
		t.Errorf("head.replicas is %v by default, want 1", replicas)
	}
}

// TestTypos reads the warnings about keys that are accepted and ignored.
func TestTypos(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, test := range []struct {
		name    string
		replace []string
		want    string
	}{
		{"limit", nil, "resources.limit of a container is ignored, since the key is limits"},
		{"request", []string{"limit:", "limits:", "requests:", "request:"}, "resources.request of a container is ignored, since the key is requests"},
		{"neither", []string{"limit:", "limits:"}, ""},
	} {
		out := u.kubectlWith(u.seed(test.replace...), "apply", "--dry-run=server", "-f", "-")
		if test.want == "" && out.stderr != "" || !strings.Contains(out.stderr, test.want) {
			t.Errorf("%s: kubectl warns %q, want %q", test.name, out.stderr, test.want)
		}
	}
}

// TestExplain checks that kubectl explain has texts for the API's own fields and for what
// users look up most.
func TestExplain(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for field, want := range map[string]string{
		"ray.spec.head.replicas":                          "a head has 0 or 1",
		"ray.spec.worker.template.spec.containers.image":  "Container image name.",
		"ray.status.lastReconcileTime":                    "stands still when nothing changes",
		"ray.spec.worker.template.spec.nodeSelector":      "NodeSelector is a selector",
		"ray.spec.head.template.spec.containers.env.name": "FIELD: name",
	} {
		// The texts are wrapped.
		if out := strings.Join(strings.Fields(u.kubectl("explain", field).stdout), " "); !strings.Contains(out, want) {
			t.Errorf("kubectl explain %s says\n%s\nwant it to say %q", field, out, want)
		}
	}
	if out := u.kubectl("explain", "ray", "--recursive").stdout; !strings.Contains(out, "availableReplicas") {
		t.Errorf("kubectl explain ray --recursive says\n%s", out)
	}
}

// TestSchemaSize guards the CRD against growing out of kubectl apply.
func TestSchemaSize(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(path("manifests/crd/ray.kubeflow.org_rays.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	compact, err := json.Marshal(crd)
	if err != nil {
		t.Fatal(err)
	}
	if len(compact) > maxSchemaBytes {
		t.Errorf("the CRD has %d bytes of JSON, want at most %d", len(compact), maxSchemaBytes)
	}
}
