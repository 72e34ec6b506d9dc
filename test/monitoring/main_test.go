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

// Package monitoring tests manifests/monitoring with Prometheus: Prometheus scrapes the operator
// under load, evaluates the alerts, and has data for every panel of the dashboard.
// hack/monitoring.sh starts a cluster, provides Prometheus and runs the tests.
package monitoring

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// Set by hack/monitoring.sh.
var (
	cluster    harness.Cluster
	prometheus = flag.String("prometheus", "", "directory that contains prometheus and promtool")
	loadTime   = flag.Duration("load-time", 20*time.Second, "duration of the load")
	picture    = flag.String("picture", "", "file to render the dashboard into, as SVG")
)

func TestMain(m *testing.M) {
	cluster.AddFlags(flag.CommandLine)
	harness.ParseFlags("test-monitoring", "kubeconfig", "prometheus")
	os.Exit(m.Run())
}

// path returns the path of a file in the repository.
func path(name string) string { return cluster.Path(name) }

// readYAML reads a file in the repository.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(path(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// run runs a command with KUBECONFIG set and returns its standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out := cluster.Run(t.Context(), "", name, args...)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	return out.Stdout
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, path("bin/cluster/kubectl"), args...)
}

// start starts a process. It is stopped by stop or at the end of the test.
func start(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	logFile := filepath.Join(t.TempDir(), filepath.Base(name)+".log")
	process, err := harness.StartProcess(exec.Command(name, args...), logFile)
	if err != nil {
		t.Fatal(err)
	}
	stop = func() {
		if err := process.Stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			content, _ := os.ReadFile(logFile)
			t.Logf("last lines of the log of %s:\n%s", filepath.Base(name), content[max(0, len(content)-4000):])
		}
	})
	return stop
}

// eventually waits until a condition returns nil.
func eventually(t *testing.T, description string, condition func() error) {
	t.Helper()
	harness.Eventually(t, description, condition)
}
