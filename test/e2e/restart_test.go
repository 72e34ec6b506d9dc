package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	u.comesToRest()
	before := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").stdout

	mark := markAudit(t)
	time.Sleep(10 * time.Second)
	operator.kill(t)
	operator.restart(t)
	time.Sleep(10 * time.Second)
	// The namespaces of earlier tests are still going, and are not at rest.
	if writes := operatorWrites(t, mark, u.namespace); len(writes) > 0 {
		t.Errorf("at rest the operator wrote %v", writes)
	}
	if after := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").stdout; after != before {
		t.Errorf("the resourceVersions were\n%s\nand are\n%s", before, after)
	}
}

// comesToRest waits until the operator has stopped writing in the user's namespace. The last words
// of each Ray have a second of their own.
func (u *user) comesToRest() {
	u.Helper()
	const within = time.Minute
	for start := time.Now(); ; {
		mark := markAudit(u.T)
		time.Sleep(3 * time.Second) // over the time that progress in a status is held back
		writes := operatorWrites(u.T, mark, u.namespace)
		if len(writes) == 0 {
			return
		}
		if time.Since(start) > within {
			u.Fatalf("after %s the operator still writes %v", within, writes)
		}
	}
}

// TestHandover stops a replica that leads: it finishes, gives up the lease, and the other
// one acts on what comes then. Then that one is killed, and the first one acts again. A replica
// that stands by does not act. The replicas have the arguments of those that are installed.
func TestHandover(t *testing.T) {
	args := shippedArgs(t, render(t, path("manifests/default")))
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	var replicas []*process
	for _, name := range []string{"first", "second"} {
		replica, err := newProcess(name, args...)
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
	u.checkSuccessor("after", 2*time.Second)
	if code := replicas[0].command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the first replica exited with %d, want 0", code)
	}
	text := readFile(t, replicas[0].log)
	drained, released := strings.Index(text, "Workers have stopped"), strings.Index(text, "Stopped leading")
	if drained < 0 || released < drained {
		t.Errorf("the lease must be given up after the queue was drained; the log has\n%s", text)
	}
	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")

	replicas[0].restart(t)
	replicas[1].kill(t)
	// The lease runs out 15 s after a standby has seen that it was renewed. It looks at it at
	// least each 1.65 s, and so may be late twice by that.
	u.checkSuccessor("crashed", 19*time.Second)
}

// checkSuccessor creates a Ray, and checks how long it takes until an operator acts.
func (u *user) checkSuccessor(name string, limit time.Duration) {
	u.Helper()
	start := time.Now()
	if err := u.createRay(name); err != nil {
		u.Fatal(err)
	}
	u.eventually("the successor acts", func() error {
		_, err := kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name+"-worker", metav1.GetOptions{})
		return err
	})
	if took := time.Since(start); took > limit {
		u.Errorf("the successor acted after %s, want at most %s", took, limit)
	}
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

// TestNamespaces runs an operator for two namespaces: it leaves others alone. It logs JSON.
func TestNamespaces(t *testing.T) {
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	mine, mineToo, others := newUser(t), newUser(t), newUser(t)
	one, err := newProcess("one", "--namespace", mine.namespace, "--namespace", mineToo.namespace, "--logging-format=json")
	if err != nil {
		t.Fatal(err)
	}
	if err := one.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.stop)
	others.kubectl("apply", "-f", path(seedManifest))
	mine.runSeed()
	mineToo.runSeed()
	if status := others.ray("sample-cluster").Status; status.StartTime != nil {
		t.Errorf("a Ray of another namespace has the status %v", status)
	}
	for line := range strings.Lines(readFile(t, one.log)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("this is no JSON: %s", line)
		}
	}
}
