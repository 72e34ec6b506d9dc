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
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// maxSchemaBytes leaves 10,000 bytes for other annotations of the CustomResourceDefinition. kubectl apply
// stores the manifest in an annotation, and annotations are limited to 262,144 bytes.
const maxSchemaBytes = 252_144

// TestValidation creates invalid Rays.
func TestValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	rename := func(name string) []string { return []string{"name: sample-cluster", "name: " + name} }
	for _, test := range []struct {
		name    string
		replace []string
		want    []string
	}{
		{"name of 64 characters", rename(strings.Repeat("x", 64)), []string{
			"metadata.name: Invalid value: must be no more than 58 characters",
		}},
		{"name of 59 characters", rename(strings.Repeat("x", 59)), []string{
			"metadata.name: Invalid value: must be no more than 58 characters",
		}},
		{"name that starts with a digit", rename("1st"), []string{
			"metadata.name: Invalid value: must be a DNS-1035 label",
		}},
		{"name with a dot", rename("a.b"), []string{
			"metadata.name: Invalid value: must be a DNS-1035 label",
		}},
		{"two heads", []string{"replicas: 1", "replicas: 2"}, []string{
			"spec.head.replicas: Invalid value: 2: must be 0 or 1: two heads behind one Service are two clusters",
		}},
		{"negative number of heads", []string{"replicas: 1", "replicas: -1"}, []string{
			"spec.head.replicas: Invalid value: -1: must be 0 or 1",
		}},
		{"negative number of workers", []string{"replicas: 3", "replicas: -3"}, []string{
			"spec.worker.replicas: Invalid value: -3: must not be negative",
		}},
		{"number of workers that is a string", []string{"replicas: 3", "replicas: many"}, []string{
			`spec.worker.replicas: Invalid value: "string"`,
		}},
		{"restart policy other than Always", []string{"      spec:\n        containers:\n          - name: ray-head", "      spec:\n        restartPolicy: Never\n        containers:\n          - name: ray-head"}, []string{
			"spec.head.template.spec: Invalid value: restartPolicy must be Always or omitted",
		}},
		{"ephemeral containers", []string{"      spec:\n        containers:\n          - name: ray-head", "      spec:\n        ephemeralContainers: [{name: debug, image: debug}]\n        containers:\n          - name: ray-head"}, []string{
			"spec.head.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template; remove ephemeralContainers",
		}},
		{"unknown field", []string{"image: rayproject/examples:1", "imagee: rayproject/examples:1"}, []string{
			`unknown field "spec.head.template.spec.containers[0].imagee"`,
		}},
		{"container without a name", []string{"- name: ray-worker\n            image", "- image"}, []string{
			"spec.worker.template.spec.containers[0].name: Required value",
		}},
		{"port that is a string", []string{"containerPort: 6380", "containerPort: redis"}, []string{
			"spec.head.template.spec.containers[0].ports[1].containerPort: Invalid value",
		}},
		{"duplicate container", []string{"          - name: ray-head\n", "          - {name: ray-head, image: a}\n          - name: ray-head\n"}, []string{
			`spec.head.template.spec.containers[1]: Duplicate value`,
		}},
		{"malformed quantity", []string{"cpu: 500m", "cpu: much"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "much"`,
		}},
		{"quantity that is an object", []string{"cpu: 500m", "cpu: {amount: 1}"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Too many: 1: must have at most 0 items`,
		}},
		{"quantity that is an empty list", []string{"cpu: 500m", "cpu: []"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu in body should have at least 1 items`,
		}},
		{"quantity that is a boolean", []string{"cpu: 500m", "cpu: true"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu" must not validate the schema (not)`,
		}},
		{"quantity that is a negative number", []string{"cpu: 500m", "cpu: -0.5"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: -0.5`,
		}},
		{"quantity that is a tiny number", []string{"cpu: 500m", "cpu: 1e-100"}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: 1e-100`,
		}},
		// The Go types cannot hold these values. A list that contains them cannot be decoded, which
		// would affect all Rays.
		{"quantity with a fractional exponent", []string{"cpu: 500m", `cpu: "1e1.5"`}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "1e1.5"`,
		}},
		{"quantity with a huge exponent", []string{"cpu: 500m", `cpu: "1e99999999999999999999"`}, []string{
			`spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value: "1e99999999999999999999"`,
		}},
		{"quantity that is a huge number", []string{"cpu: 500m", "cpu: 99999999999999999999"}, []string{
			"spec.head.template.spec.containers[0].resources.requests.cpu: Invalid value",
		}},
		{"divisor that is not a quantity", []string{"            resources:\n", `            env: [{name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: "1e1.5"}}}]` + "\n            resources:\n"}, []string{
			`env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "1e1.5"`,
		}},
		{"probe with a port out of range", []string{"            resources:\n", "            readinessProbe: {tcpSocket: {port: 99999999999}}\n            resources:\n"}, []string{
			"readinessProbe.tcpSocket.port: Invalid value",
		}},
		{"hook with a port out of range", []string{"            resources:\n", "            lifecycle: {preStop: {httpGet: {port: -3000000000}}}\n            resources:\n"}, []string{
			"lifecycle.preStop.httpGet.port: Invalid value",
		}},
		{"port out of range", []string{"containerPort: 6380", "containerPort: 99999999999"}, []string{
			"must be of type integer with format int32 in spec.head.template.spec.containers[0].ports[1].containerPort",
		}},
		{"number of workers out of range", []string{"replicas: 3", "replicas: 99999999999"}, []string{
			"spec.worker.replicas: Invalid value",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.checkRejected(t, u.sample(test.replace...), test.want...)
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
			u.checkRejected(t, "apiVersion: ray.kubeflow.org/v1\nkind: Ray\nmetadata: {name: x}\nspec: "+test.spec, test.want...)
		})
	}
	if out := u.kubectl("get", "rays,deployments,services").Stdout; out != "" {
		t.Errorf("a rejected Ray exists:\n%s", out)
	}
}

// checkRejected checks that the API server rejects a manifest with messages.
func (u *user) checkRejected(t *testing.T, manifest string, want ...string) {
	t.Helper()
	out := u.try(manifest, "create", "-f", "-")
	if out.Err == nil {
		t.Fatal("the manifest was accepted")
	}
	for _, text := range want {
		if !strings.Contains(out.Stderr, text) {
			t.Errorf("got\n%s\nwant a message with %q", out.Stderr, text)
		}
	}
}

// TestUnusualRays applies Rays that are unusual but valid.
func TestUnusualRays(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	longest := strings.Repeat("x", 58)
	u.kubectlWith(u.sample("name: sample-cluster", "name: "+longest), "apply", "-f", "-")
	u.waitHealthy(longest)
	u.kubectlWith(u.sample("name: sample-cluster", "name: scaled-to-zero", "replicas: 1", "replicas: 0", "replicas: 3", "replicas: 0"), "apply", "-f", "-")
	u.waitSuspended("scaled-to-zero") // it has no head
	u.kubectl("apply", "-f", cluster.Path("manifests/samples/head-only.yaml"))
	u.waitHealthy("head-only")
	if replicas := u.ray("head-only").Spec.Head.Replicas; replicas == nil || *replicas != 1 {
		t.Errorf("head.replicas defaults to %v, want 1", replicas)
	}
}

// TestAdmissionWarnings checks the warnings about fields that are accepted but ignored.
func TestAdmissionWarnings(t *testing.T) {
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
		out := u.kubectlWith(u.sample(test.replace...), "apply", "--dry-run=server", "-f", "-")
		if test.want == "" && out.Stderr != "" || !strings.Contains(out.Stderr, test.want) {
			t.Errorf("%s: the warning is %q, want %q", test.name, out.Stderr, test.want)
		}
	}
}

// TestExplain checks that kubectl explain describes the fields of the API and the most common
// fields of Pods.
func TestExplain(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for field, want := range map[string]string{
		"ray.spec.head.replicas":                          "Number of desired head nodes, 0 or 1",
		"ray.spec.suspend":                                "Suspends the Ray",
		"ray.spec.worker.template.spec.containers.image":  "Container image name.",
		"ray.spec.workerGroups.name":                      "Name of the group, at most 20 characters",
		"ray.spec.workerGroups.template":                  "See spec.worker.template for descriptions of its fields",
		"ray.spec.gcs.volumeClaim.name":                   "The operator never creates, changes or deletes it.",
		"ray.spec.gcs.redis.address":                      "HOST:PORT",
		"ray.spec.authentication.tokenSecretKeyRef":       "older versions ignore it",
		"ray.spec.headService.type":                       "Defaults to ClusterIP.",
		"ray.spec.headService.publishNotReadyAddresses":   "a head that is not ready",
		"ray.spec.worker.strategy.maxSurge":               "Defaults to 0.",
		"ray.status.endpoints.client":                     "as ray.init takes it",
		"ray.status.lastReconcileTime":                    "Does not change in the steady state",
		"ray.spec.worker.template.spec.nodeSelector":      "NodeSelector is a selector",
		"ray.spec.head.template.spec.containers.env.name": "FIELD: name",
	} {
		// kubectl wraps lines.
		if out := strings.Join(strings.Fields(u.kubectl("explain", field).Stdout), " "); !strings.Contains(out, want) {
			t.Errorf("kubectl explain %s prints\n%s\nwant %q", field, out, want)
		}
	}
	if out := u.kubectl("explain", "ray", "--recursive").Stdout; !strings.Contains(out, "availableReplicas") {
		t.Errorf("kubectl explain ray --recursive prints\n%s", out)
	}
}

// TestSchemaSize checks that the CustomResourceDefinition is small enough for kubectl apply.
func TestSchemaSize(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(cluster.Path("manifests/crd/ray.kubeflow.org_rays.yaml"))
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
		t.Errorf("the CustomResourceDefinition has %d bytes of JSON, want at most %d", len(compact), maxSchemaBytes)
	}
}
