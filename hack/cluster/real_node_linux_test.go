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
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var realNode = flag.Bool("real-node", false, "run TestRealNode, which compiles and starts clusters with a real node; requires root")

func TestMain(m *testing.M) {
	// The node's first process is another process of this program.
	if len(os.Args) > 1 && os.Args[1] == nodeInit {
		if err := runInit(context.Background(), os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// TestRealNode runs Pods on a real node, beside a second cluster, and checks that down removes all of
// it from the machine.
func TestRealNode(t *testing.T) {
	if !*realNode {
		t.Skip("starts containers as root: run with -real-node")
	}
	parameters := readKernelParameters(t)
	a, b := startRealNode(t, "node-test-a"), startRealNode(t, "node-test-b")
	loadProbe(t, a)
	kubectl(t, a, "apply", "-f", "testdata/probe.yaml")
	kubectl(t, a, "rollout", "status", "deployment/probe", "--timeout=60s")
	pods := listPods(t, a)

	t.Run("isolation", func(t *testing.T) {
		testIsolation(t, a)
		testIsolation(t, b)
		if got := readKernelParameters(t); !maps.Equal(got, parameters) {
			t.Errorf("kernel parameters of the machine have changed from %v to %v", parameters, got)
		}
	})
	t.Run("host to Pod and Service", func(t *testing.T) {
		for name, address := range pods {
			if got := get(t, address+":8080", "/hostname"); got != name {
				t.Errorf("Pod %s responded with hostname %q", name, got)
			}
		}
		if name := get(t, serviceIP(t, a), "/hostname"); pods[name] == "" {
			t.Errorf("the Service responded with hostname %q, want one of %v", name, pods)
		}
	})
	for name, address := range pods {
		t.Run("from "+name, func(t *testing.T) { testFromPod(t, a, address) })
		t.Run("kubectl "+name, func(t *testing.T) { testKubectl(t, a, name) })
	}
	t.Run("NetworkPolicies", func(t *testing.T) { testNetworkPolicies(t, a, pods) })
	t.Run("restart the kubelet", func(t *testing.T) {
		restartComponent(t, a, "kubelet")
		kubectl(t, a, "scale", "deployment/probe", "--replicas=3")
		kubectl(t, a, "rollout", "status", "deployment/probe", "--timeout=60s")
	})
	t.Run("down", func(t *testing.T) {
		testDown(t, a)
		testDown(t, b)
	})
}

// testIsolation checks that the machine has no mounts and packet filters of the node. It also checks
// that traces finds what the node does have.
func testIsolation(t *testing.T, c cluster) {
	found := traces(t, c)
	for _, kind := range []string{"process", "cgroup", "interface"} {
		if len(found[kind]) == 0 {
			t.Errorf("cluster %s: no %s found: the check after down would detect none", c.name, kind)
		}
	}
	for _, kind := range []string{"mount", "nftables table"} {
		if len(found[kind]) > 0 {
			t.Errorf("cluster %s is not isolated from the machine: %s %q", c.name, kind, found[kind])
		}
	}
}

// testFromPod checks what the Pod with the given address can reach.
func testFromPod(t *testing.T, c cluster, address string) {
	if got, want := get(t, address+":8080", "/resolve?probe"), "["+serviceIP(t, c)+"]"; got != want {
		t.Errorf("the name of the Service resolves to %s, want %s", got, want)
	}
	if got := get(t, address+":8080", "/resolve?example.com"); got != "not found" {
		t.Errorf("a name outside of the cluster resolves to %s, want not found", got)
	}
	for range 10 { // enough to reach each Pod of the Service, including itself
		get(t, address+":8080", "/get?http://probe.default.svc.cluster.local/hostname")
	}
	if got := get(t, address+":8080", "/api-server"); !strings.Contains(got, "gitVersion") {
		t.Errorf("the API server responded with %q, want its version", got)
	}
}

// testKubectl checks the commands that the API server forwards to the kubelet.
func testKubectl(t *testing.T, c cluster, pod string) {
	if got := kubectl(t, c, "exec", pod, "--", "/program", "hostname", ""); got != pod {
		t.Errorf("exec printed %q", got)
	}
	if got := kubectl(t, c, "logs", pod); !strings.Contains(got, "listening") {
		t.Errorf("the log is %q", got)
	}
	if got := get(t, portForward(t, c, pod), "/hostname"); got != pod {
		t.Errorf("the forwarded port responded with hostname %q, want %q", got, pod)
	}
}

// restartComponent kills a component and starts it again.
func restartComponent(t *testing.T, c cluster, name string) {
	t.Helper()
	runCommand(t, []string{"kill", "--name", c.name, "--dir", c.dir, name})
	runCommand(t, []string{"start", "--name", c.name, "--dir", c.dir})
}

// testDown stops the cluster, and checks that nothing remains.
func testDown(t *testing.T, c cluster) {
	runCommand(t, []string{"down", "--name", c.name, "--dir", c.dir})
	for kind, found := range traces(t, c) {
		if len(found) > 0 {
			t.Errorf("cluster %s left: %s %q", c.name, kind, found)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of cluster %s still exists: %v", c.name, err)
	}
}

func runCommand(t *testing.T, args []string) {
	t.Helper()
	if err := run(context.Background(), args, io.Discard, t.Output()); err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

func startRealNode(t *testing.T, name string) cluster {
	t.Helper()
	mod, err := findModule(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{name: name, dir: filepath.Join(mod.repo, ".cluster", name), bin: filepath.Join(mod.repo, "bin", "cluster")}
	t.Cleanup(func() { runCommand(t, []string{"down", "--name", c.name, "--dir", c.dir}) })
	runCommand(t, []string{"up", "--node", "real", "--name", c.name, "--dir", c.dir})
	return c
}

// loadProbe builds testdata/probe and loads an image with it.
func loadProbe(t *testing.T, c cluster) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "probe")
	build := command(t.Context(), "go", "build", "-trimpath", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	runCommand(t, []string{"load", "--name", c.name, "--dir", c.dir, "localhost/probe:1=" + program})
}

func kubectl(t *testing.T, c cluster, args ...string) string {
	t.Helper()
	out, err := output(t.Context(), c.command(t.Context(), "kubectl", args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// listPods returns the addresses of the Pods by name.
func listPods(t *testing.T, c cluster) map[string]string {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ PodIP string }
		}
	}
	if err := json.Unmarshal([]byte(kubectl(t, c, "get", "pods", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	pods := make(map[string]string)
	for _, pod := range list.Items {
		pods[pod.Metadata.Name] = pod.Status.PodIP
	}
	return pods
}

func serviceIP(t *testing.T, c cluster) string {
	t.Helper()
	return kubectl(t, c, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
}

// get requests a path from an address, and returns the response.
func get(t *testing.T, address, path string) string {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s%s: %s: %s", address, path, response.Status, body)
	}
	return string(body)
}

// portForward forwards a local port to the Pod until the test ends, and returns its address.
func portForward(t *testing.T, c cluster, pod string) string {
	t.Helper()
	cmd := c.command(t.Context(), "kubectl", "port-forward", "pod/"+pod, ":8080")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has exited
		_ = cmd.Wait()         // returns an error, since it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("kubectl port-forward: %v", err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if address == "" {
		t.Fatalf("kubectl port-forward printed %q, want an address", line)
	}
	return address
}

// traces returns what a cluster has created on the machine, outside of its directory, by kind.
func traces(t *testing.T, c cluster) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	add := func(kind, text, line string) {
		if strings.Contains(line, text) {
			found[kind] = append(found[kind], line)
		}
	}
	lines, err := commandLines(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		add("process", c.dir+"/", line)
	}
	for _, file := range glob(t, "/proc/[0-9]*/cgroup") {
		if content, err := os.ReadFile(file); err == nil { // else it has exited
			add("process", c.cgroup(), file+": "+string(content))
		}
	}
	for _, dir := range slices.Concat(glob(t, "/sys/fs/cgroup/*"), glob(t, "/sys/fs/cgroup/*/*")) {
		add("cgroup", c.cgroup(), dir)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		add("interface", c.nodeLink(), i.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		add("mount", c.dir+"/", line)
	}
	tables, err := packagesIn(c.bin).run(t.Context(), "nft", "list", "tables")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(tables) {
		add("nftables table", "kube-proxy", line)
	}
	return found
}

// readKernelParameters returns the parameters of the machine that programs of a node set.
func readKernelParameters(t *testing.T) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, parameter := range append([]string{"/proc/sys/net/ipv4/ip_forward"}, kernelParameters...) {
		value, err := os.ReadFile(parameter)
		if err != nil {
			t.Fatal(err)
		}
		values[parameter] = string(value)
	}
	return values
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
