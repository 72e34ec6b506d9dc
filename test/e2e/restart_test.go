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

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// TestChangesWhileDown kills the operator, changes Rays, and starts the operator again.
func TestChangesWhileDown(t *testing.T) {
	u := newUser(t)
	for _, name := range []string{"scaled", "changed", "shrunk", "deleted", "broken"} {
		u.kubectlWith(u.sample("name: sample-cluster", "name: "+name, "replicas: 3", "replicas: 1"), "apply", "-f", "-")
	}
	for _, name := range []string{"scaled", "changed", "shrunk", "deleted", "broken"} {
		u.waitHealthy(name)
	}

	kill(t, operator)
	u.kubectl("scale", "ray/scaled", "--replicas=5")
	u.kubectlWith(u.sample("name: sample-cluster", "name: changed", "replicas: 3", "replicas: 1", "examples:1", "examples:2"), "apply", "-f", "-")
	u.kubectl("patch", "ray", "shrunk", "--type=json", "-p", `[{"op":"remove","path":"/spec/worker"}]`)
	u.kubectl("delete", "ray", "deleted")
	u.kubectl("delete", "deployment", "broken-head")
	u.kubectlWith(u.sample("name: sample-cluster", "name: created"), "apply", "-f", "-")
	u.waitDeploymentGone("deleted-head")
	start(t, operator)

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

// TestCrashesDuringCreation kills the operator repeatedly while it creates children.
func TestCrashesDuringCreation(t *testing.T) {
	u := newUser(t)
	const count = 10
	for i := range count {
		u.kubectlWith(u.sample("name: sample-cluster", fmt.Sprintf("name: r%d", i)), "create", "-f", "-")
		kill(t, operator)
		start(t, operator)
	}
	for i := range count {
		u.waitHealthy(fmt.Sprintf("r%d", i))
	}
	deployments, err := cluster.Kube.AppsV1().Deployments(u.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(deployments.Items); got != 2*count {
		t.Errorf("got %d Deployments, want %d", got, 2*count)
	}
}

// TestSteadyState checks that the operator makes no writes in the steady state and after a restart.
func TestSteadyState(t *testing.T) {
	u := newUser(t)
	const count = 20
	for i := range count {
		u.kubectlWith(u.sample("name: sample-cluster", fmt.Sprintf("name: r%d", i)), "create", "-f", "-")
	}
	for i := range count {
		u.waitHealthy(fmt.Sprintf("r%d", i))
	}
	u.waitSteady()
	before := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").Stdout

	mark := markAudit(t)
	time.Sleep(10 * time.Second)
	kill(t, operator)
	start(t, operator)
	time.Sleep(10 * time.Second)
	// The namespaces of earlier tests may still be terminating.
	if writes := operatorWrites(t, mark, u.namespace); len(writes) > 0 {
		t.Errorf("in the steady state, the operator made writes: %v", writes)
	}
	if after := u.kubectl("get", "rays,deployments,services,pods", "-o", "jsonpath={.items[*].metadata.resourceVersion}").Stdout; after != before {
		t.Errorf("the resourceVersions were\n%s\nand are\n%s", before, after)
	}
}

// waitSteady waits until the operator makes no more writes in the user's namespace. The last status
// updates are limited to one per second.
func (u *user) waitSteady() {
	u.Helper()
	const timeout = time.Minute
	for start := time.Now(); ; {
		mark := markAudit(u.T)
		time.Sleep(3 * time.Second) // longer than status updates are delayed
		writes := operatorWrites(u.T, mark, u.namespace)
		if len(writes) == 0 {
			return
		}
		if time.Since(start) > timeout {
			u.Fatalf("after %s, the operator still makes writes: %v", timeout, writes)
		}
	}
}

// TestFailover runs two replicas with the arguments of the installation. Only the leader
// reconciles. On SIGTERM it drains its queue and releases the lease, so the other replica takes over
// at once. After a crash of the leader, the lease has to expire.
func TestFailover(t *testing.T) {
	args := operatorArgs(t, render(t, cluster.Path("manifests/default")))
	stopOperator(t)
	var replicas []*harness.Operator
	for _, name := range []string{"first", "second"} {
		replica := newOperator(t, name, args...)
		start(t, replica)
		replicas = append(replicas, replica)
		if len(replicas) == 1 {
			waitLog(t, replica, "Starting workers")
		}
	}
	u := newUser(t)
	u.applySample()
	if text := readFile(t, replicas[1].Log); strings.Contains(text, "Starting workers") {
		t.Fatal("both replicas reconcile")
	}

	replicas[0].Stop()
	u.checkFailover("after-shutdown", 2*time.Second)
	if code := replicas[0].Process.State().ExitCode(); code != 0 {
		t.Errorf("the first replica exited with %d, want 0", code)
	}
	text := readFile(t, replicas[0].Log)
	drained, released := strings.Index(text, "Workers have stopped"), strings.Index(text, "Stopped leading")
	if drained < 0 || released < drained {
		t.Errorf("the lease must be released after the queue is drained; the log is\n%s", text)
	}
	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")

	start(t, replicas[0])
	kill(t, replicas[1])
	// The lease expires 15 s after the standby has observed its last renewal. The standby reads it
	// every 1.65 s or more often, which can delay it twice.
	u.checkFailover("after-crash", 19*time.Second)
}

// checkFailover creates a Ray and checks how long it takes until its children are created.
func (u *user) checkFailover(name string, limit time.Duration) {
	u.Helper()
	start := time.Now()
	if err := u.createRay(name); err != nil {
		u.Fatal(err)
	}
	u.eventually("another replica reconciles", func() error {
		_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name+"-worker", metav1.GetOptions{})
		return err
	})
	if took := time.Since(start); took > limit {
		u.Errorf("another replica took over after %s, want at most %s", took, limit)
	}
}

// TestNamespaces runs an operator that watches two namespaces and logs JSON.
func TestNamespaces(t *testing.T) {
	stopOperator(t)
	first, second, others := newUser(t), newUser(t), newUser(t)
	o := newOperator(t, "two-namespaces", "--namespace", first.namespace, "--namespace", second.namespace, "--logging-format=json")
	start(t, o)
	others.kubectl("apply", "-f", cluster.Path(sampleManifest))
	first.applySample()
	second.applySample()
	if status := others.ray("sample-cluster").Status; status.StartTime != nil {
		t.Errorf("a Ray in another namespace has the status %v", status)
	}
	for line := range strings.Lines(readFile(t, o.Log)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log has a line that is not JSON: %s", line)
		}
	}
}
