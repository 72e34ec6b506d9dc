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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	nodeName = "node"
	// nodeCPUs is the number of CPUs that the node offers to Pods.
	nodeCPUs = 16
	// removeTimeout limits the removal of a node with many processes.
	removeTimeout = time.Minute
	// nodeInit is the process that starts the node. All other processes of the node are in its
	// namespaces, and are killed by the kernel when it exits.
	nodeInit = "node-init"
	// containerdSocket is a path inside of the node.
	containerdSocket = "/run/containerd/containerd.sock"
)

// nodeComponents are the programs of a real node, in the order in which they start.
var nodeComponents = []string{"containerd", "kubelet", "kube-proxy", "kube-router"}

func (c cluster) nodeDir() string { return filepath.Join(c.dir, "node") }

// hasNode reports whether the cluster has a real node.
func (c cluster) hasNode() bool {
	_, err := os.Stat(c.nodeDir())
	return err == nil
}

// nodeID identifies the node on this machine, where other clusters may have the same name.
func (c cluster) nodeID() string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(c.dir))) }

// cgroup is the cgroup of all processes of the node.
func (c cluster) cgroup() string { return fmt.Sprintf("cluster-%s-%s", c.name, c.nodeID()) }

// nodeLink is the machine's network interface to the node.
func (c cluster) nodeLink() string { return "node" + c.nodeID() }

// node is a node that was created and not started.
type node struct {
	config nodeConfig
	start  io.WriteCloser // starts the node when it receives the configuration
}

// createNode creates the namespaces, the cgroup and the network of a node. The control plane requires
// the network, and the node requires the control plane.
func (c cluster) createNode(ctx context.Context) (*node, error) {
	for _, dir := range []string{c.nodeDir(), c.binDir(), c.logDir(), filepath.Dir(c.pidFile(nodeInit))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("creating a directory of the node: %w", err)
		}
	}
	packages := packagesIn(c.bin)
	for _, component := range nodeComponents {
		program := filepath.Join(c.bin, component)
		if component == "containerd" {
			program = packages.program(component)
		}
		if err := os.Symlink(program, filepath.Join(c.binDir(), component)); err != nil {
			return nil, fmt.Errorf("linking %s: %w", component, err)
		}
	}
	pid, start, err := c.startInit(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.pidFile(nodeInit), nil, 0o644); err != nil {
		return nil, fmt.Errorf("writing the pid file of the node: %w", err)
	}
	if err := createCgroup(c.cgroup(), pid); err != nil {
		return nil, err
	}
	n, err := connect(ctx, packages, c.nodeLink(), pid)
	if err != nil {
		return nil, fmt.Errorf("connecting the node to the network: %w", err)
	}
	return &node{start: start, config: nodeConfig{
		Name:             nodeName,
		Dir:              c.nodeDir(),
		ConfigDir:        filepath.Join(c.nodeDir(), "config"),
		BinDir:           c.binDir(),
		LogDir:           c.logDir(),
		PidDir:           filepath.Dir(c.pidFile(nodeInit)),
		KeepDirs:         []string{c.dir, c.bin},
		Environ:          packages.environ(),
		Network:          n,
		Cgroup:           c.cgroup(),
		CNIPlugins:       packages.cniPlugins(),
		PKI:              filepath.Join(c.workDir(), "pki"),
		PauseImage:       pauseImage,
		DNSImage:         dnsImage,
		ContainerdSocket: containerdSocket,
		CPUs:             nodeCPUs,
	}}, nil
}

// startNode starts the node, and waits until it runs Pods.
func (c cluster) startNode(ctx context.Context, n *node, report reporter) error {
	port, err := c.apiServerPort(ctx)
	if err != nil {
		return err
	}
	n.config.APIServerPort = port
	if err := n.config.writeFiles(); err != nil {
		return err
	}
	if err := c.apply(ctx, n, "cpu-policy.yaml"); err != nil {
		return err
	}
	if err := json.NewEncoder(n.start).Encode(n.config); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	if err := n.start.Close(); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}

	report("starting the node", "containerd")
	if err := c.awaitContainerd(ctx); err != nil {
		return err
	}
	for name, program := range map[string]string{pauseImage: "pause", dnsImage: "coredns"} {
		if err := c.loadProgram(ctx, name, filepath.Join(c.bin, program)); err != nil {
			return err
		}
	}
	if err := c.apply(ctx, n, "coredns.yaml"); err != nil {
		return err
	}
	report("starting the node", "kubelet")
	timeout := "--timeout=" + startTimeout.String()
	// The policy may not have been in force yet when the kubelet reported its CPUs. It reports them again only
	// minutes later.
	cpus := fmt.Sprintf(`{"status":{"allocatable":{"cpu":"%[1]d"},"capacity":{"cpu":"%[1]d"}}}`, nodeCPUs)
	for _, args := range [][]string{
		{"wait", "--for=create", "node/" + nodeName, timeout},
		{"wait", "--for=condition=Ready", "node/" + nodeName, timeout},
		{"patch", "node/" + nodeName, "--subresource=status", "--type=merge", "--patch", cpus},
		{"wait", fmt.Sprintf("--for=jsonpath={.status.allocatable.cpu}=%d", nodeCPUs), "node/" + nodeName, timeout},
		{"wait", "--for=create", "serviceaccount/default", "--namespace=default", timeout},
	} {
		if err := c.run(ctx, nil, "kubectl", args...); err != nil {
			return err
		}
	}
	report("starting the node", "kube-proxy")
	if err := awaitOK(ctx, "http://"+net.JoinHostPort(n.config.Network.Node(), "10256")+"/healthz"); err != nil {
		return err
	}
	report("starting the node", "CoreDNS")
	return c.run(ctx, nil, "kubectl", "rollout", "status", "deployment/coredns", "--namespace=kube-system", timeout)
}

// apply applies one of the rendered configuration files of the node.
func (c cluster) apply(ctx context.Context, n *node, file string) error {
	return c.run(ctx, nil, "kubectl", "apply", "-f", filepath.Join(n.config.ConfigDir, file))
}

// apiServerPort returns the port of the API server.
func (c cluster) apiServerPort(ctx context.Context) (string, error) {
	out, err := output(ctx, c.command(ctx, "kubectl", "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"))
	if err != nil {
		return "", err
	}
	server, err := url.Parse(out)
	if err != nil {
		return "", fmt.Errorf("parsing the URL of the API server: %w", err)
	}
	return server.Port(), nil
}

// awaitContainerd waits until containerd accepts connections.
func (c cluster) awaitContainerd(ctx context.Context) error {
	for {
		socket, err := c.containerdSocket(ctx)
		if err == nil {
			err = dialSocket(ctx, socket)
		}
		if err == nil {
			return nil
		}
		if sleep(ctx, pollInterval) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// dialSocket returns nil if a program accepts connections at path.
func dialSocket(ctx context.Context, path string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// awaitOK waits until the URL responds with status 200.
func awaitOK(ctx context.Context, url string) error {
	for {
		err := getOK(ctx, url)
		if err == nil {
			return nil
		}
		if sleep(ctx, pollInterval) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

func getOK(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	// Unlike the default, it does not use the proxy of $HTTP_PROXY.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

// removeNode removes what the killed processes of a node leave: the cgroup. It waits until the kernel
// has removed the rest, of which the network interface is the last.
func (c cluster) removeNode(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	if err := removeCgroup(ctx, c.cgroup()); err != nil {
		return err
	}
	for {
		interfaces, err := net.Interfaces()
		if err != nil {
			return fmt.Errorf("listing network interfaces: %w", err)
		}
		if !slices.ContainsFunc(interfaces, func(i net.Interface) bool { return i.Name == c.nodeLink() }) {
			return nil
		}
		if sleep(ctx, pollInterval) != nil {
			return fmt.Errorf("the network interface %s still exists", c.nodeLink())
		}
	}
}

// restartNode starts the components of the node that have exited.
func (c cluster) restartNode(ctx context.Context) error {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	pid, ok := running[nodeInit]
	if !ok {
		return fmt.Errorf("%s is not running: start the cluster with up", nodeInit)
	}
	return syscall.Kill(pid, syscall.SIGHUP)
}
