// Package monitoring tests what manifests/monitoring has, with the real Prometheus: it scrapes
// the shipped binary under load, evaluates the alerts, and has data for every panel of the
// dashboard. hack/monitoring.sh starts the cluster, gets Prometheus and runs the tests.
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

// Where things are, as hack/monitoring.sh says.
var (
	root       = flag.String("root", "../..", "root of the repository")
	kubeconfig = flag.String("kubeconfig", "", "kubeconfig of the cluster, as its administrator")
	prometheus = flag.String("prometheus", "", "directory that has prometheus and promtool")
	loadTime   = flag.Duration("load-time", 20*time.Second, "how long Rays come, change and go")
	picture    = flag.String("picture", "", "file to draw the dashboard's panels into, as SVG")
)

// patience is how long a test waits for something that has to happen.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	if *kubeconfig == "" || *prometheus == "" {
		fmt.Fprintln(os.Stderr, "these tests need a cluster and Prometheus: run make test-monitoring")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// path returns a path of the repository.
func path(name string) string { return filepath.Join(*root, name) }

// readYAML reads a file of the repository that has one object.
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

// run runs a command, with the cluster in its environment, and returns what it prints.
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

// start starts a process, which the end of the test stops at the latest.
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
		_ = command.Wait() // how it ended is for those to say who ended it
		close(exited)
	}()
	stop = func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it fails if the process has ended already
		select {
		case <-exited:
		case <-time.After(patience):
			t.Errorf("%s still runs %s after it was told to stop", name, patience)
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			content, _ := os.ReadFile(logFile)
			t.Logf("the end of the log of %s:\n%s", filepath.Base(name), content[max(0, len(content)-4000):])
		}
	})
	return stop
}

// eventually waits until a condition returns nil.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s in vain until %s: %v", patience, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
