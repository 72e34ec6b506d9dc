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

package ray

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	// recoveryLimit is for how long the cluster may be incomplete after a new head has started. On two idle
	// cores it takes less than 20 seconds, in which Ray uses all of both.
	recoveryLimit = 30 * time.Second
	// untrueLimit is for how long Ready may be True after a node is lost.
	untrueLimit = 2 * time.Second
)

// TestHeadLoss loses the head in three ways. Each time, all workers join the new head, after one restart
// of their containers, and Ready is not True until then.
func TestHeadLoss(t *testing.T) {
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample))
	o.waitReady()
	for number, loss := range []struct {
		name string
		lose func(head *corev1.Pod)
	}{
		{"the head's container is killed", u.killContainer},
		{"the head's Pod is deleted", func(head *corev1.Pod) { u.kubectl("delete", "pod", head.Name, "--wait=false") }},
		{"the head's Pod is evicted", u.evict},
	} {
		if number > 0 {
			// The kubelet delays further restarts of the same container.
			replaceWorkers(u, o)
		}
		checkHeadLoss(u, o, loss.name, loss.lose)
	}
}

// replaceWorkers scales the workers to 0 and to their number again.
func replaceWorkers(u *user, o *observer) {
	u.Helper()
	o.step("new workers")
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":0}}}`)
	u.waitPods(rayv1.RoleWorker, 0)
	start := time.Now()
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":2}}}`)
	seen := o.waitReady()
	measured(u, "scaled from 0 to 2 workers, until all nodes are alive", seen.completeSince.Sub(start), 0)
}

// checkHeadLoss loses the head, and waits until the cluster is complete.
func checkHeadLoss(u *user, o *observer, name string, lose func(head *corev1.Pod)) {
	u.Helper()
	// ray start ends some seconds after its node is alive. Without a head, it fails 30 seconds later.
	const startTime = 5 * time.Second
	o.eventually("ray start has ended on all nodes", startTimeout, func(seen observation) bool {
		return !seen.completeSince.IsZero() && time.Since(seen.completeSince) > startTime
	})
	head := u.pods(rayv1.RoleHead)[0]
	restartsBefore, before := restarts(u.pods(rayv1.RoleWorker)), o.observation()
	o.step("%s", name)
	lost := time.Now()
	lose(&head)
	after := o.eventually("all nodes are alive in a new session, and Ready is True", startTimeout, func(seen observation) bool {
		return seen.state.session != before.state.session && !seen.completeSince.IsZero() &&
			seen.ready == corev1.ConditionTrue && seen.readySince.After(lost)
	})
	started := containerStart(u)
	measured(u, name+": new head's container has started, until all nodes are alive", after.completeSince.Sub(started), recoveryLimit)
	measured(u, name+": lost, until all nodes are alive", after.completeSince.Sub(lost), 0)
	measured(u, name+": all nodes are alive, until Ready is True", after.readySince.Sub(after.completeSince), readyLimit)
	measured(u, name+": Ready is True without all nodes", after.untrue-before.untrue, untrueLimit)
	for pod, count := range restarts(u.pods(rayv1.RoleWorker)) {
		if count != restartsBefore[pod]+1 {
			u.Errorf("%s: the container of worker %s has restarted %d times, want once", name, pod, count-restartsBefore[pod])
		}
	}
}

// containerStart returns when the container of the running head has started.
func containerStart(u *user) time.Time {
	u.Helper()
	for _, pod := range u.pods(rayv1.RoleHead) {
		for _, status := range pod.Status.ContainerStatuses {
			if pod.DeletionTimestamp == nil && status.State.Running != nil {
				return status.State.Running.StartedAt.Time
			}
		}
	}
	u.Fatal("no head is running")
	return time.Time{}
}

// killContainer kills the first process of a Pod's container.
func (u *user) killContainer(pod *corev1.Pod) {
	u.Helper()
	// The Pod has another container, of the pause image, which has its network.
	id := containerID(&pod.Status.ContainerStatuses[0])
	for _, process := range podProcesses(u, pod) {
		if process.first && process.container == id {
			if err := syscall.Kill(process.pid, syscall.SIGKILL); err != nil {
				u.Fatal(err)
			}
			return
		}
	}
	u.Fatalf("no process of container %s in Pod %s", id, pod.Name)
}

// evict evicts a Pod as kubectl drain does.
func (u *user) evict(pod *corev1.Pod) {
	u.Helper()
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}}
	if err := cluster.Kube.CoreV1().Pods(pod.Namespace).EvictV1(u.Context(), eviction); err != nil {
		u.Fatal(err)
	}
}

// TestHeadAway has no node for the head for some time, and checks that the workers wait for it.
func TestHeadAway(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample))
	o.waitReady()
	before := restarts(u.pods(rayv1.RoleWorker))
	o.step("the head goes")
	u.patch("ray-cluster", `{"spec":{"head":{"template":{"spec":{"nodeSelector":{"missing":"yes"}}}}}}`)
	o.eventually("the GCS is gone", startTimeout, func(seen observation) bool { return seen.state.session == "" })
	time.Sleep(*headAway) // as long as the head is away, and no longer
	o.step("the head returns")
	u.patch("ray-cluster", `{"spec":{"head":{"template":{"spec":{"nodeSelector":null}}}}}`)
	head := o.eventually("the head is alive", startTimeout, func(seen observation) bool { return len(seen.state.nodes) > 0 })
	headAlive := time.Now()
	after := o.waitReady()
	measured(t, fmt.Sprintf("the head returns after %s: head is alive, until all nodes are alive", *headAway), after.completeSince.Sub(headAlive), 15*time.Second)
	if after.state.session != head.state.session {
		t.Errorf("the session has changed from %s to %s", head.state.session, after.state.session)
	}
	for pod, count := range restarts(u.pods(rayv1.RoleWorker)) {
		if count != before[pod]+1 {
			t.Errorf("the container of worker %s has restarted %d times, want once", pod, count-before[pod])
		}
	}
}
