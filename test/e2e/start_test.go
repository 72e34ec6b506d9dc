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
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// shortSample returns manifests/samples/ray-cluster.yaml with replacements: old, new, old, new...
func shortSample(t *testing.T, replacements ...string) string {
	t.Helper()
	data, err := os.ReadFile(cluster.Path("manifests/samples/ray-cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := string(data)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(manifest, replacements[i]) {
			t.Fatalf("the sample does not contain %q", replacements[i])
		}
		manifest = strings.Replace(manifest, replacements[i], replacements[i+1], 1)
	}
	return manifest
}

// withStart returns the short sample with settings for the start of the workers, in the flow style of YAML.
func withStart(t *testing.T, start string) string {
	return shortSample(t, "    replicas: 2\n", "    replicas: 2\n    start: "+start+"\n")
}

// TestGeneratedStart creates a Ray without commands. The Deployments have the generated ones, and
// nothing is written once the Ray is healthy: the API server stores them as they were rendered.
func TestGeneratedStart(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withStart(t, `{resources: {CPU: 4, slots: "2"}, labels: {zone: a}, args: [--disable-usage-stats]}`), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	head := u.deployment("ray-cluster-head").Spec.Template.Spec.Containers[0]
	worker := u.deployment("ray-cluster-worker").Spec.Template.Spec.Containers[0]
	if got := strings.Join(head.Args, " "); !strings.HasPrefix(got, "start --block ") || !strings.Contains(got, " --head ") {
		t.Errorf("the arguments of the head are %s", got)
	}
	if got, want := strings.Join(worker.Args, " "), ` --num-cpus=4 --num-gpus=0 --memory=1503238568 --object-store-memory=644245080 --resources={"slots":2} --disable-usage-stats`; !strings.HasSuffix(got, want) {
		t.Errorf("the arguments of the workers are %s, want them to end with %s", got, want)
	}

	u.waitSteady()
	mark := markAudit(t)
	u.kubectl("annotate", "ray/ray-cluster", "example.com/note=a")
	time.Sleep(2 * time.Second) // A write would follow at once.
	u.checkRequests("the Ray gets an annotation", u.requestsSince(mark), map[string]int{})

	before := u.deployment("ray-cluster-head").Generation
	u.kubectl("patch", "ray/ray-cluster", "--type=merge", "-p", `{"spec":{"worker":{"start":{"resources":{"CPU":8}}}}}`)
	u.eventually("the workers have the new number of CPUs", func() error {
		args := strings.Join(u.deployment("ray-cluster-worker").Spec.Template.Spec.Containers[0].Args, " ")
		if !strings.Contains(args, "--num-cpus=8 ") {
			return fmt.Errorf("the arguments are %s", args)
		}
		return nil
	})
	if after := u.deployment("ray-cluster-head").Generation; after != before {
		t.Errorf("a change of the workers changes the Deployment of the head")
	}
	if cpus := u.ray("ray-cluster").Spec.Worker.Start.Resources["CPU"]; cpus.Cmp(resource.MustParse("8")) != 0 {
		t.Errorf("the Ray has %v CPUs", cpus)
	}
}

// TestStartValidation creates Rays with settings of the generated start that are not valid.
func TestStartValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	many := func(format string) string {
		items := make([]string, 65)
		for i := range items {
			items[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(items, ", ")
	}
	for _, test := range []struct {
		name, start string
		want        string
	}{
		{"a fraction", "{resources: {CPU: 500m}}", `spec.worker.start.resources.CPU: Invalid value: "500m"`},
		{"a fraction as a number", "{resources: {CPU: 0.5}}", "spec.worker.start.resources.CPU: Invalid value"},
		{"a negative number", "{resources: {CPU: -1}}", "spec.worker.start.resources.CPU: Invalid value: -1: spec.worker.start.resources.CPU in body should be greater than or equal to 0"},
		{"a word", "{resources: {CPU: many}}", `spec.worker.start.resources.CPU: Invalid value: "many"`},
		{"too large a number", "{resources: {CPU: 1234567890123456}}", "spec.worker.start.resources.CPU: Invalid value: 1234567890123456"},
		{"more than Ray counts", "{resources: {CPU: 100T}}", `spec.worker.start.resources.CPU: Invalid value: "100T"`},
		{"a reserved resource", "{resources: {'node:1': 1}}", "spec.worker.start.resources: Invalid value: must not begin with node:"},
		{"too many resources", "{resources: {" + many("r%d: 1") + "}}", "spec.worker.start.resources: Too many: 65: must have at most 64 items"},
		{"a label with a space", "{labels: {zone: a b}}", `spec.worker.start.labels.zone: Invalid value: "a b"`},
		{"a long label", "{labels: {zone: " + strings.Repeat("x", 64) + "}}", "spec.worker.start.labels.zone: Too long: may not be more than 63 bytes"},
		{"a label that expands", "{labels: {zone: $(A)}}", `spec.worker.start.labels.zone: Invalid value: "$(A)"`},
		{"a label without a name", "{labels: {'': a}}", "spec.worker.start.labels: Invalid value: must have keys of 1 to 317 characters"},
		{"a reserved label", "{labels: {ray.io/node-group: a}}", "spec.worker.start.labels: Invalid value: must not have keys that begin with ray.io/"},
		{"an argument that is no flag", "{args: [verbose]}", "spec.worker.start.args: Invalid value: must be flags that begin with --"},
		{"a flag twice", "{args: [--a=1, --b, --a=2]}", "spec.worker.start.args: Invalid value: must not contain a flag twice"},
		{"too many arguments", "{args: [" + many("--a%d") + "]}", "spec.worker.start.args: Too many: 65: must have at most 64 items"},
		{"a long argument", "{args: [--a=" + strings.Repeat("x", 1024) + "]}", "spec.worker.start.args[0]: Too long: may not be more than 1024 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) { u.checkRejected(t, withStart(t, test.start), test.want) })
	}
	for flags, want := range map[string]string{
		"--num-cpus --num-gpus --memory --object-store-memory --resources --labels --labels-file":                         "spec.worker.start.args: Forbidden: must not set resources or labels: set start.resources or start.labels instead",
		"--head --block --address --port --node-ip-address --node-name --node-manager-port --dashboard-agent-listen-port": "spec.worker.start.args: Forbidden: must not contain --head, --block, --address",
	} {
		for flag := range strings.FieldsSeq(flags) {
			t.Run(flag, func(t *testing.T) { u.checkRejected(t, withStart(t, "{args: ["+flag+"=1]}"), want) })
		}
	}
	const image = "image: rayproject/ray:2.60.0\n"
	u.checkRejected(t, strings.Replace(withStart(t, "{args: [--verbose]}"), "- name: ray-worker", "- name: ray-worker\n            command: [ray]", 1),
		"spec.worker.start: Forbidden: must be omitted if the first container has command or args")
	for _, test := range []struct{ name, old, new, want string }{
		{
			"start beside a command", "- name: ray-head", "- name: ray-head\n            command: [ray]",
			"spec.head.start: Forbidden: must be omitted if the first container has command or args",
		},
		{
			"start beside arguments", image, image + "            args: [ray]\n",
			"spec.head.start: Forbidden: must be omitted if the first container has command or args",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			manifest := shortSample(t, "  head:\n", "  head:\n    start: {args: [--verbose]}\n", test.old, test.new)
			u.checkRejected(t, manifest, test.want)
		})
	}
}

// TestMemoryPolicy creates Rays with less memory than Ray needs.
func TestMemoryPolicy(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const limits, commands = "limits:\n                cpu: \"1\"\n                memory: 2Gi", "- name: ray-head"
	u.eventually("the policy is enforced", func() error {
		out := u.try(shortSample(t, "2Gi", "1Mi"), "create", "--dry-run=server", "-f", "-")
		if out.Err == nil {
			return errors.New("the request was allowed")
		}
		return wantText(out.Stderr, "ray-memory.ray.kubeflow.org")
	})
	for _, test := range []struct {
		name        string
		replacement []string
		want        string
	}{
		{"the head", []string{"2Gi", "1023Mi"}, "Ray ray-cluster: the head has 1023Mi of memory and needs at least 1Gi; raise resources.limits.memory of container ray-head"},
		{"a worker", []string{"2Gi", "1Gi", "2Gi", "500M"}, "Ray ray-cluster: a worker has 500M of memory and needs at least 512Mi; raise resources.limits.memory of container ray-worker"},
		{"a request", []string{limits, "requests:\n                memory: 1000"}, "the head has 1000 of memory and needs at least 1Gi"},
		{"a request of a worker", []string{"2Gi", "1Gi", limits, "requests:\n                memory: 1000"}, "a worker has 1000 of memory and needs at least 512Mi"},
		{"an empty command", []string{"2Gi", "1Mi", commands, commands + "\n            command: []"}, "the head has 1Mi of memory and needs at least 1Gi"},
		{"a small object store", []string{"  head:\n", "  head:\n    start: {resources: {object_store_memory: 50Mi}}\n"}, "Ray ray-cluster: the object store of the head has 50Mi and needs at least 75Mi, and no more than the memory of container ray-head; change start.resources.object_store_memory"},
		{"a large object store", []string{"    replicas: 2\n", "    replicas: 2\n    start: {resources: {object_store_memory: 3G}}\n"}, "Ray ray-cluster: the object store of a worker has 3G and needs at least 75Mi, and no more than the memory of container ray-worker"},
		{"a number", []string{"2Gi", "1000"}, "the head has 1000 of memory and needs at least 1Gi"},
	} {
		t.Run(test.name, func(t *testing.T) { u.checkRejected(t, shortSample(t, test.replacement...), test.want) })
	}
	for name, replacement := range map[string][]string{
		"just enough":                    {"2Gi", "1Gi", "2Gi", "512Mi"},
		"a limit":                        {limits, limits + "\n              requests:\n                memory: 1Mi"},
		"no memory":                      {"                memory: 2Gi\n", ""},
		"null":                           {"2Gi", "null"},
		"its own command":                {"2Gi", "1Mi", commands, commands + "\n            command: [ray]"},
		"its own arguments":              {"2Gi", "1Mi", commands, commands + "\n            args: [ray]"},
		"a worker's own command":         {"2Gi", "1Gi", "2Gi", "1Mi", "- name: ray-worker", "- name: ray-worker\n            command: [ray]"},
		"a worker's own arguments":       {"2Gi", "1Gi", "2Gi", "1Mi", "- name: ray-worker", "- name: ray-worker\n            args: [ray]"},
		"an object store":                {"  head:\n", "  head:\n    start: {resources: {object_store_memory: 75Mi}}\n"},
		"an object store without memory": {"                memory: 2Gi\n", "", "  head:\n", "  head:\n    start: {resources: {object_store_memory: 9Gi}}\n"},
	} {
		if out := u.try(shortSample(t, replacement...), "create", "--dry-run=server", "-f", "-"); out.Err != nil {
			t.Errorf("%s: %s", name, out.Stderr)
		}
	}
}
