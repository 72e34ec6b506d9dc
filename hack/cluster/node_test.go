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
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNodeConfigFiles(t *testing.T) {
	n := nodeConfig{ConfigDir: t.TempDir(), Name: nodeName, Network: 210, APIServerPort: "6443", PKI: "/pki"}
	if err := n.writeFiles(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err := filepath.WalkDir(n.ConfigDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"server: https://10.210.255.1:6443", `clusterDNS: ["10.210.128.10"]`, "clusterIP: 10.210.128.10", "clusterCIDR: 10.210.0.0/17", `"subnet": "10.210.0.0/17"`,
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no configuration file contains %q", want)
		}
	}
	if _, err := os.Stat(filepath.Join(n.ConfigDir, "cni", "cni.conflist")); err != nil {
		t.Errorf("containerd reads all CNI configurations of one directory: %v", err)
	}
}

// Each argument of a component that is a file must be one of the rendered files.
func TestNodeArguments(t *testing.T) {
	n := nodeConfig{ConfigDir: t.TempDir(), Name: nodeName, Network: 210}
	if err := n.writeFiles(); err != nil {
		t.Fatal(err)
	}
	for _, component := range nodeComponents {
		for _, argument := range n.arguments(component) {
			if !strings.HasPrefix(argument, n.ConfigDir) {
				continue
			}
			if _, err := os.Stat(argument); err != nil {
				t.Errorf("argument of %s: %v", component, err)
			}
		}
	}
}

func TestNodeNames(t *testing.T) {
	a, b := cluster{name: "test", dir: "/a"}, cluster{name: "test", dir: "/b"}
	if a.cgroup() == b.cgroup() || a.nodeLink() == b.nodeLink() {
		t.Errorf("clusters in %s and %s share the cgroup %s or the network interface %s", a.dir, b.dir, a.cgroup(), a.nodeLink())
	}
	const limit = 15 // of the kernel
	if len(a.nodeLink()) > limit {
		t.Errorf("network interface %s is longer than %d bytes", a.nodeLink(), limit)
	}
}

func TestRemoveCgroupDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	if err := os.MkdirAll(filepath.Join(dir, "pods", "pod"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be removed already
		if err := removeCgroupDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the cgroup still exists")
	}
}
