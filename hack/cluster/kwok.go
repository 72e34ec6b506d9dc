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
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// controlPlane are the programs of the control plane, by their names in kwokctl, in the order of
// their dependencies.
var controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// kwokController simulates nodes.
const kwokController = "kwok-controller"

// nodeParams gives each simulated node room for 1000 Pods, with sufficient CPU, memory and
// addresses: by default a node has 254 addresses.
var nodeParams = []string{
	`.allocatable = {"cpu": "1k", "memory": "10Ti", "pods": "1k"}`,
	`.podCIDRs = ["10.0.0.0/16"]`,
}

// setting is a command-line argument or an environment variable of a component.
type setting struct {
	component, key, value string
}

func parseSetting(s string) (setting, error) {
	parts := strings.SplitN(s, "=", 3)
	if len(parts) != 3 || parts[1] == "" {
		return setting{}, fmt.Errorf("%q is not of the form component=key=value", s)
	}
	parsed := setting{component: parts[0], key: parts[1], value: parts[2]}
	if components := append(slices.Clone(controlPlane), kwokController); !slices.Contains(components, parsed.component) {
		return setting{}, fmt.Errorf("unknown component %q: must be one of %s", parsed.component, strings.Join(components, ", "))
	}
	return parsed, nil
}

// kwokctlConfig is a subset of the configuration of kwokctl. Flags are not sufficient: there is
// none for the bind address, and kwokctl v0.8.0 panics if two components have two --extra-args
// each.
type kwokctlConfig struct {
	APIVersion        string           `json:"apiVersion"`
	Kind              string           `json:"kind"`
	Options           kwokctlOptions   `json:"options"`
	ComponentsPatches []componentPatch `json:"componentsPatches"`
}

type kwokctlOptions struct {
	Runtime                     string `json:"runtime"`
	BindAddress                 string `json:"bindAddress"`
	DisableQPSLimits            bool   `json:"disableQPSLimits"`
	KubeAuditPolicy             string `json:"kubeAuditPolicy"`
	EtcdBinary                  string `json:"etcdBinary"`
	KubeAPIServerBinary         string `json:"kubeApiserverBinary"`
	KubeControllerManagerBinary string `json:"kubeControllerManagerBinary"`
	KubeSchedulerBinary         string `json:"kubeSchedulerBinary"`
	KwokControllerBinary        string `json:"kwokControllerBinary"`

	KubeApiserverCertSANs []string `json:"kubeApiserverCertSANs,omitempty"`
	Disable               []string `json:"disable,omitempty"`
}

type componentPatch struct {
	Name      string     `json:"name"`
	ExtraArgs []extraArg `json:"extraArgs,omitempty"`
	ExtraEnvs []extraEnv `json:"extraEnvs,omitempty"`
}

type extraArg struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type extraEnv struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newKwokctlConfig returns the configuration of a cluster with simulated nodes.
func newKwokctlConfig(bin, auditPolicy string) *kwokctlConfig {
	config := &kwokctlConfig{
		APIVersion: "config.kwok.x-k8s.io/v1alpha1",
		Kind:       "KwokctlConfiguration",
		Options: kwokctlOptions{
			Runtime:                     "binary",
			BindAddress:                 "127.0.0.1",
			DisableQPSLimits:            true,
			KubeAuditPolicy:             auditPolicy,
			EtcdBinary:                  filepath.Join(bin, "server"), // go build names it after the last element of the package path
			KubeAPIServerBinary:         filepath.Join(bin, "kube-apiserver"),
			KubeControllerManagerBinary: filepath.Join(bin, "kube-controller-manager"),
			KubeSchedulerBinary:         filepath.Join(bin, "kube-scheduler"),
			KwokControllerBinary:        filepath.Join(bin, "kwok"),
		},
	}
	config.add([]setting{
		// The size in MB at which the audit log is rotated. Tests count requests, so the log
		// must stay in one file.
		{component: "kube-apiserver", key: "audit-log-maxsize", value: "100000"},
		// The default range has 254 addresses.
		{component: "kube-apiserver", key: "service-cluster-ip-range", value: "127.96.0.0/12"},
		// An address reserved for documentation; simulated Pods do not connect to it. Without
		// this flag the API server requires a network interface, and exits if there is none.
		{component: "kube-apiserver", key: "advertise-address", value: "192.0.2.254"},
	}, nil)
	return config
}

// useRealNode configures the control plane for a real node with network n. kwokctl stores the
// certificates of the cluster in workDir.
func (c *kwokctlConfig) useRealNode(n network, workDir string) {
	c.Options.Disable = []string{kwokController}
	c.Options.KubeApiserverCertSANs = []string{n.KubernetesService(), n.Host()}
	c.add([]setting{
		// Pods connect to the machine's end of the link, all other clients to 127.0.0.1.
		{component: "kube-apiserver", key: "bind-address", value: "0.0.0.0"},
		{component: "kube-apiserver", key: "advertise-address", value: n.Host()},
		{component: "kube-apiserver", key: "service-cluster-ip-range", value: n.Services()},
		// The API server connects to the kubelet for logs, exec and port-forward. The name of the
		// node has no DNS record.
		{component: "kube-apiserver", key: "kubelet-preferred-address-types", value: "InternalIP"},
		{component: "kube-apiserver", key: "kubelet-client-certificate", value: filepath.Join(workDir, "pki", "admin.crt")},
		{component: "kube-apiserver", key: "kubelet-client-key", value: filepath.Join(workDir, "pki", "admin.key")},
	}, nil)
}

// add adds command-line arguments and environment variables of components. Later arguments override
// earlier ones.
func (c *kwokctlConfig) add(args, envs []setting) {
	for _, arg := range args {
		c.ComponentsPatches = append(c.ComponentsPatches, componentPatch{
			Name:      arg.component,
			ExtraArgs: []extraArg{{Key: arg.key, Value: arg.value}},
		})
	}
	for _, env := range envs {
		c.ComponentsPatches = append(c.ComponentsPatches, componentPatch{
			Name:      env.component,
			ExtraEnvs: []extraEnv{{Name: env.key, Value: env.value}},
		})
	}
}
