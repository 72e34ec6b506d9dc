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
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// polls returns how often operators have asked the GCS for its state.
func (f *fakeRay) polls() int { return f.GCS.Calls()["GetClusterResourceState"] }

// waitPolled waits until the GCS was polled some more times.
func (f *fakeRay) waitPolled(times int) {
	f.u.Helper()
	before := f.polls()
	f.u.eventually("the GCS is polled", func() error {
		if got := f.polls() - before; got < times {
			return fmt.Errorf("it was polled %d times, want %d", got, times)
		}
		return nil
	})
}

// TestAutoscalingRestart kills the operator while tasks run, and starts it again. The number of workers at creation is
// another one.
func TestAutoscalingRestart(t *testing.T) {
	u := newUser(t)
	f := newAutoscaledRay(u, 1, "{maxReplicas: 10, idleTimeoutSeconds: 4}")
	f.Submit(3)
	f.waitWorkers(rayv1.RoleWorker, 3)
	f.waitBusy(3)
	u.waitSteady()

	mark := markAudit(t)
	kill(t, operator)
	start(t, operator)
	f.waitPolled(3)
	u.checkDeploymentWrites("a restart", mark, "ray-cluster-worker", 0)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")

	kill(t, operator)
	f.Finish(f.Busy()[0])
	f.Submit(3)
	time.Sleep(time.Second)
	f.checkNotInterrupted()
	if got := *u.deployment("ray-cluster-worker").Spec.Replicas; got != 3 {
		t.Errorf("without an operator, the Deployment has %d replicas, want 3", got)
	}
	start(t, operator)
	f.waitWorkers(rayv1.RoleWorker, 5)
	f.checkNotInterrupted()
}

// TestAutoscalingKilledWhileDraining kills the operator when it has drained a node and has not lowered the replicas.
func TestAutoscalingKilledWhileDraining(t *testing.T) {
	for _, test := range []struct {
		name string
		// then happens before the next operator starts.
		then func(f *fakeRay)
		want int
	}{
		{"the node does not return", func(*fakeRay) {}, 3},
		{"the node is idle again", func(f *fakeRay) { f.RestartDrained() }, 3},
		{"the node is busy", func(f *fakeRay) { f.RestartDrained(); f.Submit(2) }, 5},
		// The other idle node is removed, and not the Pod that had been marked.
		{"the node is busy, and another one is idle", func(f *fakeRay) {
			f.RestartDrained()
			f.Submit(2)
			for _, pod := range f.Busy() {
				if pod != f.Drained()[0] {
					f.Finish(pod)
					break
				}
			}
		}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUser(t)
			f := newAutoscaledRay(u, 0, "{maxReplicas: 10, idleTimeoutSeconds: 2}")
			f.Submit(5)
			f.waitWorkers(rayv1.RoleWorker, 5)
			f.waitBusy(5)
			f.OnDrain(func(string) { _ = operator.Process.Stop(syscall.SIGKILL) })
			f.Finish(f.Busy()[1], f.Busy()[3])
			<-operator.Process.Exited
			f.OnDrain(nil)
			if drained := f.Drained(); len(drained) != 1 {
				t.Fatalf("the operator drained %v before it was killed, want one node", drained)
			}
			if got := *u.deployment("ray-cluster-worker").Spec.Replicas; got != 5 {
				t.Fatalf("the operator was killed after it had lowered the replicas to %d", got)
			}
			test.then(f)
			start(t, operator)
			f.waitWorkers(rayv1.RoleWorker, test.want)
			f.waitPolled(3)
			f.waitWorkers(rayv1.RoleWorker, test.want)
			f.checkNotInterrupted()
		})
	}
}

// TestAutoscalingFailover suspends the process of the leader. Only a leader polls.
func TestAutoscalingFailover(t *testing.T) {
	args := operatorArgs(t, render(t, cluster.Path("manifests/default")))
	stopOperator(t)
	first, second := newOperator(t, "first", args...), newOperator(t, "second", args...)
	start(t, first)
	waitLog(t, first, "Starting workers")
	start(t, second)
	u := newUser(t)
	f := newAutoscaledRay(u, 0, "{maxReplicas: 10, idleTimeoutSeconds: 5}")
	f.Submit(3)
	f.waitWorkers(rayv1.RoleWorker, 3)
	f.waitBusy(3)
	u.waitSteady()

	mark := markAudit(t)
	if err := syscall.Kill(first.Process.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(first.Process.PID(), syscall.SIGCONT) }
	t.Cleanup(resume)
	time.Sleep(time.Second) // a call in flight
	before := f.polls()
	time.Sleep(3 * time.Second)
	if !strings.Contains(readFile(t, second.Log), "Starting workers") && f.polls() != before {
		t.Error("an operator that is not the leader polls")
	}
	waitLog(t, second, "Starting workers")
	f.waitPolled(2)
	resume()
	select {
	case <-first.Process.Exited:
	case <-time.After(30 * time.Second):
		t.Error("the operator that has lost its lease still runs")
	}
	f.waitPolled(2)
	u.checkDeploymentWrites("a failover", mark, "ray-cluster-worker", 0)
	f.Submit(2)
	f.waitWorkers(rayv1.RoleWorker, 5)
	u.checkDeploymentWrites("scaling after a failover", mark, "ray-cluster-worker", 1)

	// The first one starts again as a standby, and the leader shuts down.
	start(t, first)
	second.Stop()
	f.waitPolled(2)
	f.Submit(1)
	f.waitWorkers(rayv1.RoleWorker, 6)
	f.checkNotInterrupted()
}
