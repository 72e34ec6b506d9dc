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
					corpus = append(corpus, corpusTemplate{source, template})
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
