package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestKilledInBetween kills the operator, changes Rays while there is none, and starts it.
func TestKilledInBetween(t *testing.T) {
	u := newUser(t)
	for _, name := range []string{"scaled", "changed", "shrunk", "deleted", "broken"} {
		u.kubectlWith(u.seed("name: sample-cluster", "name: "+name), "apply", "-f", "-")
	}
	for _, name := range []string{"scaled", "changed", "shrunk", "deleted", "broken"} {
		u.waitHealthy(name)
	}

	operator.kill(t)
	u.kubectl("scale", "ray/scaled", "--replicas=5")
	u.kubectlWith(u.seed("name: sample-cluster", "name: changed", "examples:1", "examples:2"), "apply", "-f", "-")
	u.kubectl("patch", "ray", "shrunk", "--type=json", "-p", `[{"op":"remove","path":"/spec/worker"}]`)
	u.kubectl("delete", "ray", "deleted")
	u.kubectl("delete", "deployment", "broken-head")
	u.kubectlWith(u.seed("name: sample-cluster", "name: created"), "apply", "-f", "-")
	u.waitDeploymentGone("deleted-head")
	operator.restart(t)

	for _, name := range []string{"scaled", "changed", "shrunk", "broken", "created"} {
		u.waitHealthy(name)
	}
	if got := *u.deployment("scaled-worker").Spec.Replicas; got != 5 {
		t.Errorf("scaled-worker has %d replicas, want 5", got)
	}
	if got := u.deployment("changed-head").Spec.Template.Spec.Containers[0].Image; got != "rayproject/examples:2" {
		t.Errorf("changed-head has the image %s", got)
	}
	u.waitDeploymentGone("shrunk-worker")
}

// TestKilledAnywhere kills the operator again and again while Rays are made.
func TestKilledAnywhere(t *testing.T) {
	u := newUser(t)
	const count = 10
	for i := range count {
		u.kubectlWith(u.seed("name: sample-cluster", fmt.Sprintf("name: r%d", i)), "create", "-f", "-")
		operator.kill(t)
		operator.restart(t)
	}
	for i := range count {
		u.waitHealthy(fmt.Sprintf("r%d", i))
	}
	deployments, err := kube.AppsV1().Deployments(u.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(deployments.Items); got != 2*count {
		t.Errorf("there are %d Deployments, want %d", got, 2*count)
	}
}

// TestRest counts what is written when there is nothing to do, also by a new operator.
func TestRest(t *testing.T) {
	u := newUser(t)
	const count = 20
	for i := range count {
		u.kubectlWith(u.seed("name: sample-cluster", fmt.Sprintf("name: r%d", i)), "create", "-f", "-")
	}
	for i := range count {
		u.waitHealthy(fmt.Sprintf("r%d", i))
	}
	time.Sleep(3 * time.Second) // for the last of the status
	before := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").stdout

	mark := markAudit(t)
	time.Sleep(10 * time.Second)
	operator.kill(t)
	operator.restart(t)
	time.Sleep(10 * time.Second)
	if writes := operatorWrites(t, mark, ""); len(writes) > 0 {
		t.Errorf("at rest the operator wrote %v", writes)
	}
	if after := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").stdout; after != before {
		t.Errorf("the resourceVersions were\n%s\nand are\n%s", before, after)
	}
}

// TestHandover stops a replica that leads: it finishes, gives up the lease, and the other
// one acts. A replica that stands by does not act.
func TestHandover(t *testing.T) {
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	var replicas []*process
	for _, name := range []string{"first", "second"} {
		replica, err := newProcess(name, "--leader-elect")
		if err != nil {
			t.Fatal(err)
		}
		if err := replica.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(replica.stop)
		replicas = append(replicas, replica)
		if len(replicas) == 1 {
			waitLog(t, replica, "Starting workers")
		}
	}
	u := newUser(t)
	u.runSeed()
	if text := readFile(t, replicas[1].log); strings.Contains(text, "Starting workers") {
		t.Fatal("both replicas act")
	}

	if err := replicas[0].signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if code := replicas[0].command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the first replica exited with %d, want 0", code)
	}
	text := readFile(t, replicas[0].log)
	drained, released := strings.Index(text, "Workers have stopped"), strings.Index(text, "Stopped leading")
	if drained < 0 || released < drained {
		t.Errorf("the lease must be given up after the queue was drained; the log has\n%s", text)
	}
	waitLog(t, replicas[1], "Starting workers")
	if took := time.Since(stopped); took > 2*time.Second {
		t.Errorf("the successor acted after %s, want at most 2s", took)
	}
	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// waitLog waits until the log of an operator has a text.
func waitLog(t *testing.T, p *process, text string) {
	t.Helper()
	(&user{T: t}).eventually("the log has "+text, func() error {
		if !strings.Contains(readFile(t, p.log), text) {
			return fmt.Errorf("the log is %s", p.log)
		}
		return nil
	})
}

// TestUnusable starts operators that cannot work. Each says why in one line, and exits.
func TestUnusable(t *testing.T) {
	unreachable := strings.ReplaceAll(readFile(t, operator.kubeconfig), "server: https://127.0.0.1:", "server: https://127.0.0.1:1")
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T) []string
		want    string
	}{
		{"no cluster", func(*testing.T) []string { return nil }, "say with --kubeconfig which cluster to serve"},
		{"no kubeconfig", func(*testing.T) []string { return []string{"--kubeconfig=/nowhere"} }, "/nowhere: no such file or directory"},
		{"a flag that does not exist", func(*testing.T) []string { return []string{"--frobnicate"} }, "unknown flag: --frobnicate"},
		{"no workers", func(*testing.T) []string { return []string{"--workers=0"} }, "--workers=0: at least 1 is needed"},
		{"an argument", func(*testing.T) []string { return []string{"run"} }, `unexpected argument "run"`},
		{"a server that is not there", func(t *testing.T) []string {
			return []string{"--kubeconfig", writeFile(t, unreachable)}
		}, "cannot be reached"},
		{"a port that is in use", func(*testing.T) []string {
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address", operator.health}
		}, "--health-bind-address: listen tcp " + operator.health + ": bind: address already in use"},
		{"a permission that is missing", func(t *testing.T) []string {
			changeRights(t, `[{"op":"remove","path":"/rules/4"}]`)
			return []string{"--kubeconfig", operator.kubeconfig, "--health-bind-address="}
		}, `cannot list resource "deployments" in API group "apps" at the cluster scope`},
	} {
		t.Run(test.name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), path("bin/ray-operator"), test.prepare(t)...)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			if err := command.Run(); command.ProcessState == nil || command.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended with %v, want exit status 1", err)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "ray-operator: ") || !strings.Contains(last, test.want) {
				t.Errorf("it says %q, want it to say %q", last, test.want)
			}
			for _, line := range lines[:len(lines)-1] {
				if !strings.HasPrefix(line, "I") {
					t.Errorf("it also says %q", line)
				}
			}
		})
	}
}

// changeRights changes the operator's ClusterRole, until the test ends.
func changeRights(t *testing.T, patch string) {
	t.Helper()
	if out := runKubectl(t.Context(), "", "patch", "clusterrole", "ray-operator", "--type=json", "-p", patch); out.err != nil {
		t.Fatal(out.stderr)
	}
	t.Cleanup(func() { restoreRights(t) })
}

func restoreRights(t *testing.T) {
	t.Helper()
	if out := runKubectl(context.Background(), "", "apply", "-k", path("manifests/rbac")); out.err != nil {
		t.Error(out.stderr)
	}
}

// writeFile writes a file that goes when the test ends.
func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMissingRight takes a right to write away: the Ray says which one is missing.
func TestMissingRight(t *testing.T) {
	u := newUser(t)
	changeRights(t, `[{"op":"replace","path":"/rules/4/verbs","value":["get","list","watch"]}]`)
	u.eventually("the right is gone", func() error {
		if out := runKubectl(t.Context(), "", "auth", "can-i", "create", "deployments", "--as=system:serviceaccount:ray-system:ray-operator"); !strings.HasPrefix(out.stdout, "no") {
			return fmt.Errorf("kubectl auth can-i says %s", out.stdout)
		}
		return nil
	})
	u.kubectl("apply", "-f", path(seedManifest))
	u.waitHealth("sample-cluster", corev1.ConditionFalse, `cannot create resource "deployments" in API group "apps" in the namespace "`+u.namespace+`"`)
	restoreRights(t)
	u.waitHealthy("sample-cluster")
	if got := len(u.pods(rayv1.RoleWorker)); got != 3 {
		t.Errorf("there are %d workers, want 3", got)
	}
}
