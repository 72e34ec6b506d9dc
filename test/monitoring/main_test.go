// Package monitoring tests manifests/monitoring with Prometheus: Prometheus scrapes the operator
// under load, evaluates the alerts, and has data for every panel of the dashboard.
// hack/monitoring.sh starts a cluster, provides Prometheus and runs the tests.
package monitoring

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// Set by hack/monitoring.sh.
var (
	root       = flag.String("root", "../..", "root of the repository")
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of a cluster administrator")
	prometheus = flag.String("prometheus", "", "directory that contains prometheus and promtool")
	loadTime   = flag.Duration("load-time", 20*time.Second, "duration of the load")
	picture    = flag.String("picture", "", "file to render the dashboard into, as SVG")
)

// timeout limits how long a test waits for a condition.
const timeout = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if *kubeconfig == "" || *prometheus == "" {
		fmt.Fprintln(os.Stderr, "these tests need a cluster and Prometheus: run make test-monitoring")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// path returns the path of a file in the repository.
func path(name string) string { return filepath.Join(*root, name) }

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
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, path("bin/cluster/kubectl"), args...)
}

// start starts a process. It is stopped by stop or at the end of the test.
func start(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	logFile := filepath.Join(t.TempDir(), filepath.Base(name)+".log")
	log, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command(name, args...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // A process that is stopped may exit with an error.
		close(exited)
	}()
	stop = func() {
		_ = command.Process.Signal(syscall.SIGTERM) // Fails if the process has exited already.
		select {
		case <-exited:
		case <-time.After(timeout):
			t.Errorf("%s has not exited %s after SIGTERM", name, timeout)
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
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("timed out after %s waiting until %s: %v", timeout, description, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
