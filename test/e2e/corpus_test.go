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
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// corpusModules are Go modules with manifests that were written for other purposes: examples, and
// test data with all fields, with invalid values, and with every security setting. The local
// cluster is built from these modules, so they are in the module cache.
var corpusModules = []string{
	"k8s.io/api", "k8s.io/kubectl", "k8s.io/kubernetes", "k8s.io/pod-security-admission", "sigs.k8s.io/kwok",
}

// corpusTemplate is a Pod template from a manifest.
type corpusTemplate struct {
	// source is the file with the manifest.
	source   string
	template map[string]any
	// outcome is the expected outcome, or "" if any that is the same for both.
	outcome string
}

// readCorpus returns the different Pod templates of the manifests in some modules.
func readCorpus(t *testing.T) []corpusTemplate {
	t.Helper()
	var corpus []corpusTemplate
	seen := map[string]bool{}
	for _, dir := range moduleDirs(t) {
		err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && isOldVersion(name) {
				return fs.SkipDir
			}
			if entry.IsDir() || !slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(name)) {
				return nil
			}
			data, err := os.ReadFile(name)
			if err != nil || !bytes.Contains(data, []byte("containers")) {
				return err
			}
			source, err := filepath.Rel(filepath.Dir(filepath.Dir(dir)), name)
			if err != nil {
				return err
			}
			for _, template := range readTemplates(data) {
				key, err := json.Marshal(template["spec"])
				if err != nil {
					return err
				}
				if !seen[string(key)] {
					seen[string(key)] = true
					corpus = append(corpus, corpusTemplate{source: source, template: template})
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return corpus
}

// versionDir matches the name of a directory with test data of a Kubernetes version.
var versionDir = regexp.MustCompile(`^v1\.(\d+)(\.0)?$`)

// isOldVersion returns whether a directory has test data of a Kubernetes version, and one of a newer
// version is beside it. They differ little.
func isOldVersion(dir string) bool {
	minor := func(name string) int {
		match := versionDir.FindStringSubmatch(filepath.Base(name))
		if match == nil {
			return -1
		}
		number, err := strconv.Atoi(match[1])
		if err != nil {
			return -1
		}
		return number
	}
	if minor(dir) < 0 {
		return false
	}
	siblings, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "v1.*"))
	return err == nil && slices.ContainsFunc(siblings, func(sibling string) bool { return minor(sibling) > minor(dir) })
}

// moduleDirs returns the directories of corpusModules in the module cache.
func moduleDirs(t *testing.T) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"mod", "download", "-json"}, corpusModules...)...)
	command.Dir = cluster.Path("hack/cluster")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	var dirs []string
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var module struct{ Dir string }
		err := decoder.Decode(&module)
		if errors.Is(err, io.EOF) {
			return dirs
		}
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, module.Dir)
	}
}

// readTemplates returns the Pod templates in a file. It skips documents that are not objects, such
// as those with placeholders.
func readTemplates(data []byte) []map[string]any {
	var templates []map[string]any
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := reader.Read()
		if err != nil {
			return templates
		}
		var object map[string]any
		if yaml.Unmarshal(document, &object) == nil {
			templates = append(templates, templatesOf(object)...)
		}
	}
}

// templateFields has the path of the Pod template in each kind.
var templateFields = map[string][]string{
	"Pod":                   {},
	"PodTemplate":           {"template"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template"},
	"DaemonSet":             {"spec", "template"},
	"Deployment":            {"spec", "template"},
	"Job":                   {"spec", "template"},
	"ReplicaSet":            {"spec", "template"},
	"ReplicationController": {"spec", "template"},
	"StatefulSet":           {"spec", "template"},
}

// templatesOf returns the Pod templates in an object, which may be a list.
func templatesOf(object map[string]any) []map[string]any {
	if items, found := object["items"].([]any); found {
		var templates []map[string]any
		for _, item := range items {
			if item, ok := item.(map[string]any); ok {
				templates = append(templates, templatesOf(item)...)
			}
		}
		return templates
	}
	kind, _ := object["kind"].(string)
	path, found := templateFields[kind]
	if !found {
		return nil
	}
	template, found, err := unstructured.NestedMap(object, path...)
	if err != nil || !found {
		return nil
	}
	if spec, ok := template["spec"].(map[string]any); !ok || spec["containers"] == nil {
		return nil
	}
	return []map[string]any{template}
}

// handwritten are Pod templates, or their specs, as people write them by hand and generators such as
// Helm and jsonnet emit them, with the expected outcome.
var handwritten = []struct{ outcome, text string }{
	// Numbers for quantities.
	{accepted, `containers: [{name: a, image: b, resources: {requests: {cpu: 0.5, memory: 1e9}, limits: {cpu: 1, memory: 2000000000}}}]`},
	{accepted, `containers: [{name: a, image: b, resources: {limits: {cpu: 1.10, memory: 1.5e9, nvidia.com/gpu: 1, ephemeral-storage: 0}}}]`},
	{accepted, `containers: [{name: a, image: b, resources: {requests: {cpu: .25}, limits: {cpu: 0.333333}}}]`},
	{accepted, `containers: [{name: a, image: b, resources: {requests: {cpu: " 1 ", memory: "1e3"}}}]`},
	{accepted, `containers: [{name: a, image: b, resources: {requests: {cpu: 1e-99, memory: 0.0}}}]`},
	{accepted, `{containers: [{name: a, image: b}], initContainers: [{name: i, image: b, resources: {requests: {cpu: 0.1}}}], volumes: [{name: v, emptyDir: {sizeLimit: 1e9}}]}`},
	{accepted, `containers: [{name: a, image: b, resources: {limits: {cpu: 0.5}}, env: [{name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 0.001}}}]}]`},
	{accepted, `{containers: [{name: a, image: b}], volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {creationTimestamp: null}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1e10}}}}}}]}`},
	{failedCreate, `containers: [{name: a, image: b, resources: {requests: {nvidia.com/gpu: 0.5}, limits: {nvidia.com/gpu: 0.5}}}]`},
	{failedCreate, `containers: [{name: a, image: b, resources: {requests: {cpu: 2.5}, limits: {cpu: 1.5}}}]`},
	{failedCreate, `containers: [{name: a, image: b, resources: {requests: {cpu: "-1"}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {cpu: -1}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {cpu: true}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {cpu: {}}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {cpu: [1]}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {memory: 1GB}}}]`},
	{rejected, `containers: [{name: a, image: b, resources: {requests: {memory: ""}}}]`},
	// null.
	{accepted, `{containers: [{name: a, image: b, command: null, args: null, env: null, envFrom: null, ports: null, resources: null, securityContext: null, volumeMounts: null, livenessProbe: null}], volumes: null, initContainers: null, topologySpreadConstraints: null, nodeSelector: null, tolerations: null, affinity: null, imagePullSecrets: null, serviceAccountName: null, hostNetwork: null, terminationGracePeriodSeconds: null}`},
	{accepted, `{metadata: {creationTimestamp: null, annotations: null}, spec: {containers: [{name: a, image: b, resources: {limits: null, requests: null}}]}}`},
	{accepted, `containers: [{name: a, image: b, resources: {limits: {cpu: null}, requests: {cpu: null}}}]`},
	{accepted, `containers: [{name: a, image: b, command: [null], args: [null, x]}]`},
	{accepted, `containers: [{name: a, image: b, env: [{name: A, value: null}, {name: B, valueFrom: null}]}]`},
	{accepted, `{metadata: {annotations: {a: null}, labels: {b: null}}, spec: {containers: [{name: a, image: b}], nodeSelector: {c: null}}}`},
	{accepted, `{containers: [{name: a, image: b}], securityContext: {supplementalGroups: [null, 1], runAsUser: null}}`},
	{accepted, `{containers: [{name: a, image: b}], volumes: [{name: v, emptyDir: null}, {name: w, emptyDir: {sizeLimit: null}}]}`},
	{accepted, `{containers: [{name: a, image: b}], imagePullSecrets: [null, {}, {name: null}]}`},
	{accepted, `{containers: [{name: a, image: b}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [null]}, preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: null}, {weight: 2}]}}}`},
	{accepted, `{containers: [{name: a, image: b}], volumes: [{name: v, projected: {sources: [null]}}]}`},
	{failedCreate, `{containers: [{name: a, image: b}], tolerations: [null]}`},
	{failedCreate, `{containers: [{name: a, image: b, envFrom: [null]}]}`},
	{rejected, `containers: [null]`},
	{rejected, `containers: [{name: null, image: b}]`},
	{rejected, `containers: [{name: a, image: b, env: [null]}]`},
	{rejected, `{containers: [{name: a, image: b}], volumes: [null]}`},
	{rejected, `containers: [{name: a, image: b, ports: [{containerPort: null}]}]`},
	// Duplicates.
	{accepted, `containers: [{name: a, image: b, env: [{name: A, value: "1"}, {name: A, value: "2"}, {name: A, value: "1"}]}]`},
	{accepted, `containers: [{name: a, image: b, ports: [{containerPort: 80}, {containerPort: 80}]}]`},
	{accepted, `containers: [{name: a, image: b, ports: [{containerPort: 80, name: x}, {containerPort: 80, protocol: TCP, name: z}, {containerPort: 80, protocol: UDP}]}]`},
	{accepted, `{containers: [{name: a, image: b}], imagePullSecrets: [{name: s}, {name: s}], hostAliases: [{ip: 10.0.0.1, hostnames: [x]}, {ip: 10.0.0.1, hostnames: [z, z]}], tolerations: [{operator: Exists}, {operator: Exists}]}`},
	{accepted, `containers: [{name: a, image: b, envFrom: [{configMapRef: {name: c}}, {configMapRef: {name: c}}], securityContext: {capabilities: {drop: [ALL, ALL]}}}]`},
	{accepted, `containers: [{name: a, image: b, restartPolicy: Always, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1, 1]}}]}]`},
	{accepted, `{containers: [{name: a, image: b, resources: {claims: [{name: c, request: x}, {name: c, request: z}]}}], resourceClaims: [{name: c, resourceClaimName: d}]}`},
	{rejected, `containers: [{name: a, image: b}, {name: a, image: b}]`},
	{rejected, `{containers: [{name: a, image: b}], volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]}`},
	{rejected, `{containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]}], volumes: [{name: v, emptyDir: {}}]}`},
	{failedCreate, `{containers: [{name: a, image: b}], initContainers: [{name: a, image: b}]}`},
	{failedCreate, `{containers: [{name: a, image: b, ports: [{containerPort: 80, name: x}, {containerPort: 81, name: x}]}]}`},
	// Empty values and zeros.
	{accepted, `{containers: [{name: a, image: b, command: [], args: [], env: [], ports: [], volumeMounts: [], resources: {}, securityContext: {}, workingDir: "", imagePullPolicy: ""}], volumes: [], nodeSelector: {}, tolerations: [], affinity: {}, securityContext: {}, serviceAccountName: "", dnsPolicy: "", hostAliases: [], initContainers: []}`},
	{accepted, `{metadata: {}, spec: {containers: [{name: a, image: b, resources: {limits: {}, requests: {}}, args: [""]}]}}`},
	{accepted, `containers: [{name: a, image: b, env: [{name: A, value: ""}, {name: B}]}]`},
	{accepted, `{containers: [{name: a, image: b, securityContext: {runAsUser: 0, privileged: false}}], terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, enableServiceLinks: false}`},
	{accepted, `containers: [{name: a, image: b, lifecycle: {preStop: {sleep: {}}}, livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: X}]}, initialDelaySeconds: 0, periodSeconds: 0}}]`},
	{accepted, `{containers: [{name: a, image: b}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: []}}, topologySpreadConstraints: []}`},
	{accepted, `{containers: [{name: a, image: b}], securityContext: {sysctls: [{name: kernel.shm_rmid_forced}]}, volumes: [{name: v, iscsi: {targetPortal: 10.0.0.1, iqn: "iqn.2001-04.com.example:storage"}}, {name: w, emptyDir: {}}]}`},
	{failedCreate, `containers: [{name: "", image: b}]`},
	{failedCreate, `containers: [{name: a, image: ""}]`},
	{failedCreate, `containers: [{name: a, image: b, ports: [{containerPort: 0}]}]`},
	{rejected, `containers: []`},
	// Types.
	{accepted, `{containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w}]}], volumes: [{name: v, configMap: {name: c, defaultMode: 0644}}, {name: w, secret: {secretName: s, defaultMode: 420}}]}`},
	{accepted, `containers: [{name: a, image: b, livenessProbe: {httpGet: {port: "http"}}, readinessProbe: {tcpSocket: {port: 80.0}}, ports: [{containerPort: 80.0, name: http}]}]`},
	{failedCreate, `{containers: [{name: a, image: b}], volumes: [{name: v, configMap: {name: c, defaultMode: 644}}]}`},
	{rejected, `{containers: [{name: a, image: b}], volumes: [{name: v, configMap: {name: c, defaultMode: "0644"}}]}`},
	{rejected, `{containers: [{name: a, image: b}], hostNetwork: "true"}`},
	{rejected, `containers: [{name: a, image: b, env: [{name: A, value: 1}]}]`},
	{rejected, `containers: [{name: a, image: b, env: [{name: A, value: true}]}]`},
	{rejected, `containers: [{name: a, image: b, args: [1]}]`},
	{rejected, `containers: [{name: a, image: b, args: "x"}]`},
	{rejected, `containers: [{name: a, image: b, ports: [{containerPort: "80"}]}]`},
	{rejected, `containers: [{name: a, image: b, livenessProbe: {tcpSocket: {port: 80.5}}}]`},
	{rejected, `{metadata: {annotations: {a: 1}}, spec: {containers: [{name: a, image: b}]}}`},
	{rejected, `{metadata: {creationTimestamp: now}, spec: {containers: [{name: a, image: b}]}}`},
	{rejected, `{metadata: {owner: me}, spec: {containers: [{name: a, image: b}]}}`},
	{rejected, `containers: {name: a, image: b}`},
	{rejected, `containers: [{name: a, image: b, unknown: null}]`},
	// Metadata as copied from a Pod, and text.
	{accepted, `{metadata: {name: p, namespace: ns, generateName: p-, uid: u, resourceVersion: "1", generation: 2, creationTimestamp: "2026-01-02T03:04:05Z", ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]}, spec: {containers: [{name: a, image: b}]}}`},
	{accepted, `{metadata: {annotations: {text: "a\nb\tü 日本語 🚀", "example.com/x": ""}}, spec: {containers: [{name: a, image: b, env: [{name: "with space.and-dot", value: "日本語\u0000"}], args: ["\u2028 \" \\ $(A) $$(A)"]}]}}`},
	{failedCreate, `containers: [{name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, image: b}]`},
	{failedCreate, `containers: [{name: ü, image: b}]`},
	{failedCreate, `{metadata: {labels: {a: "not a label"}}, spec: {containers: [{name: a, image: b}]}}`},
}

// readHandwritten returns the handwritten Pod templates.
func readHandwritten(t *testing.T) []corpusTemplate {
	t.Helper()
	corpus := make([]corpusTemplate, 0, len(handwritten))
	for _, entry := range handwritten {
		var template map[string]any
		if err := yaml.Unmarshal([]byte(entry.text), &template); err != nil {
			t.Fatalf("%s: %v", entry.text, err)
		}
		if _, found := template["spec"]; !found {
			template = map[string]any{"spec": template}
		}
		corpus = append(corpus, corpusTemplate{source: entry.text, template: template, outcome: entry.outcome})
	}
	return corpus
}
