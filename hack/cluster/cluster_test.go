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

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpenCluster(t *testing.T) {
	dir := t.TempDir()
	if _, err := openCluster("a", filepath.Join(dir, "missing")); err != nil {
		t.Errorf("opening a missing directory: %v", err)
	}
	a, err := openCluster("a", dir)
	if err != nil {
		t.Fatalf("opening an empty directory: %v", err)
	}
	if err := os.WriteFile(a.marker(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openCluster("a", dir); err != nil {
		t.Errorf("opening the cluster's directory: %v", err)
	}
	if _, err := openCluster("b", dir); err == nil {
		t.Error("no error for the directory of another cluster")
	}
}

func TestClusterDir(t *testing.T) {
	mod := module{repo: "/repo"}
	for _, test := range []struct{ name, dir, want string }{
		{"dev", "", "/repo/.cluster/dev"},
		{"dev", "state", "state"},
		{"../dev", "", ""},
		{"", "", ""},
	} {
		got, err := clusterDir(mod, test.name, test.dir)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("clusterDir(%q, %q) = %q, %v, want %q", test.name, test.dir, got, err, test.want)
		}
	}
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"one\ntwo\n", "one\ntwo"},
		{"one\ntwo\nthree\n", "two\nthree"},
	} {
		if got := lastLines(test.text, 2); got != test.want {
			t.Errorf("lastLines(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestParseSetting(t *testing.T) {
	got, err := parseSetting("kube-apiserver=runtime-config=api/all=true")
	want := setting{component: "kube-apiserver", key: "runtime-config", value: "api/all=true"}
	if err != nil || got != want {
		t.Errorf("parseSetting = %v, %v, want %v", got, err, want)
	}
	for _, wrong := range []string{"", "etcd", "etcd=v", "etcd==1", "kubelet=v=1"} {
		if _, err := parseSetting(wrong); err == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}

// Later arguments override earlier ones, so those of the user must come last.
func TestExtraArgsComeLast(t *testing.T) {
	arg := setting{component: "kube-apiserver", key: "audit-log-maxsize", value: "1"}
	config := newKwokctlConfig("/bin", "/policy.yaml")
	config.add([]setting{arg}, nil)
	last := config.ComponentsPatches[len(config.ComponentsPatches)-1]
	if last.Name != arg.component || !slices.Equal(last.ExtraArgs, []extraArg{{arg.key, arg.value}}) {
		t.Errorf("last argument = %v, want %v", last, arg)
	}
}

func TestExtraEnvs(t *testing.T) {
	config := newKwokctlConfig("/bin", "/policy.yaml")
	config.add(nil, []setting{{component: "etcd", key: "GOGC", value: "200"}})
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	// The format in kwokctl's documentation.
	if want := `{"name":"etcd","extraEnvs":[{"name":"GOGC","value":"200"}]}`; !strings.Contains(string(data), want) {
		t.Errorf("the configuration %s does not contain %s", data, want)
	}
}
