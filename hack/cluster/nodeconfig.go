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
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// nodeFiles are templates of configuration files. Their data is a nodeConfig.
//
//go:embed node
var nodeFiles embed.FS

// nodeConfig describes a real node. The process that starts the node receives it as JSON.
type nodeConfig struct {
	Name       string
	Dir        string // all files of the node
	ConfigDir  string // rendered configuration files
	BinDir     string // symbolic links to the components
	LogDir     string
	PidDir     string
	KeepDirs   []string // directories that must have the same path inside of the node
	Environ    []string // environment of the components
	Network    network
	Cgroup     string
	CNIPlugins string
	PKI        string // directory of the cluster's certificates

	APIServerPort    string
	PauseImage       string
	DNSImage         string
	ContainerdSocket string
	CPUs             int
}

// writeFiles renders the configuration files of the node.
func (n nodeConfig) writeFiles() error {
	templates, err := template.ParseFS(nodeFiles, "node/*")
	if err != nil {
		return fmt.Errorf("parsing the configuration of the node: %w", err)
	}
	for _, t := range templates.Templates() {
		var content bytes.Buffer
		if err := t.Execute(&content, n); err != nil {
			return fmt.Errorf("rendering the configuration of the node: %w", err)
		}
		path := filepath.Join(n.ConfigDir, t.Name())
		if strings.HasSuffix(path, ".conflist") {
			path = filepath.Join(n.ConfigDir, "cni", t.Name()) // a directory without other files
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("creating the configuration directory: %w", err)
		}
		if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
			return fmt.Errorf("writing the configuration of the node: %w", err)
		}
	}
	return nil
}

// arguments returns the command-line arguments of a component.
func (n nodeConfig) arguments(component string) []string {
	config := func(name string) string { return filepath.Join(n.ConfigDir, name) }
	switch component {
	case "containerd":
		return []string{"--config", config("containerd.toml")}
	case "kubelet":
		return []string{
			"--config", config("kubelet.yaml"), "--kubeconfig", config("kubeconfig"),
			"--hostname-override", n.Name, "--node-ip", n.Network.Node(),
		}
	case "kube-proxy":
		return []string{"--config", config("kube-proxy.yaml")}
	default:
		return []string{
			"--kubeconfig", config("kubeconfig"), "--hostname-override", n.Name,
			"--service-cluster-ip-range", n.Network.Services(),
		}
	}
}
