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

package autoscaler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

// pod returns a Pod of the group "worker".
func pod(name, deletionCost string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: name, UID: "uid-of-" + "pod",
		Labels:          map[string]string{rayv1.LabelName: "x", rayv1.LabelRole: "worker"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Controller: new(true)}},
	}}
	if deletionCost != "" {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, corev1.PodDeletionCost, deletionCost)
	}
	return p
}

// deletionCosts returns the deletion costs of all Pods that have one.
func (f *fixture) deletionCosts() map[string]string {
	f.t.Helper()
	list, err := f.kubeClient.CoreV1().Pods("team").List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	costs := map[string]string{}
	for _, p := range list.Items {
		if cost, found := p.Annotations[corev1.PodDeletionCost]; found {
			costs[p.Name] = cost
		}
	}
	return costs
}

// withStatus sets the phase of a Pod that is assigned to a node, and whether it is ready.
func withStatus(p *corev1.Pod, phase corev1.PodPhase, ready corev1.ConditionStatus) *corev1.Pod {
	p.Spec.NodeName, p.Status.Phase = "node", phase
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	return p
}

func ready(name string) *corev1.Pod {
	return withStatus(pod(name, ""), corev1.PodRunning, corev1.ConditionTrue)
}

func notReady(name string) *corev1.Pod {
	return withStatus(pod(name, ""), corev1.PodRunning, corev1.ConditionFalse)
}

// addBusyNode adds a worker on which tasks run.
func (f *fixture) addBusyNode(pod string) {
	f.update(func(s *gcs.ClusterState) {
		s.Nodes = append(slices.Clone(s.Nodes), gcs.Node{ID: "id-" + pod, Instance: pod, Group: "worker", Status: gcs.NodeRunning, Total: cpu(4)})
	})
}

// checkCosts checks the deletion costs of all Pods that have one.
func (f *fixture) checkCosts(want map[string]string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.deletionCosts()); diff != "" {
		f.t.Errorf("deletion costs (-want +got):\n%s", diff)
	}
}

func TestIdleNodesAreDrained(t *testing.T) {
	f := newFixture(t, pod("a", ""), pod("b", "7"), pod("c", firstToDelete))
	*f.worker.Spec.Replicas = 3
	f.addIdleNode("a", 2*time.Minute)
	f.addIdleNode("b", 3*time.Minute)
	f.addIdleNode("c", time.Second)
	f.gcs.OnDrain(func(node gcs.Node, _ gcstest.Drain) (bool, string) { return node.Instance == "a", "busy again" })
	f.check(f.poll(), 3, "True DemandKnown") // one poll is not enough
	r := f.poll()
	f.check(r, 2, "True DemandKnown")
	if r.Reasons["worker"] != ReasonDrained {
		t.Errorf("reason %q", r.Reasons["worker"])
	}
	*f.worker.Spec.Replicas = 2
	want := map[string]string{"a": firstToDelete, "b": "7"} // c was drained earlier, and its replica was never removed
	if diff := cmp.Diff(want, f.deletionCosts()); diff != "" {
		t.Errorf("deletion costs (-want +got):\n%s", diff)
	}
	if drains := f.gcs.Drains(); len(drains) != 2 || drains[0].NodeID != "id-b" || drains[0].Reason != 1 || drains[0].Deadline != 0 {
		t.Errorf("drains: %v, want the longest idle one first", drains)
	}
}

// TestUnmarkedPodsStay has Pods that cannot be marked: without it, the ReplicaSet could delete a busy one.
func TestUnmarkedPodsStay(t *testing.T) {
	tests := map[string]func(*fixture){
		"the Pod is not one of the group": func(f *fixture) {
			if err := f.kubeClient.CoreV1().Pods("team").Delete(f.t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				f.t.Fatal(err)
			}
		},
		"no permission to list Pods":  func(f *fixture) { f.reject("list", "pods") },
		"no permission to patch Pods": func(f *fixture) { f.reject("patch", "pods") },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, pod("a", ""))
			f.addIdleNode("a", time.Hour)
			prepare(f)
			f.poll()
			f.check(f.poll(), 1, "True DemandKnown")
			if drains := f.gcs.Drains(); len(drains) > 0 {
				t.Errorf("drained %v", drains)
			}
		})
	}
}

// TestDrainedPodStaysMarked has a Pod that was drained, and that the ReplicaSet has not deleted yet.
func TestDrainedPodStaysMarked(t *testing.T) {
	f := newFixture(t, pod("a", firstToDelete), ready("b"))
	f.addIdleNode("b", time.Hour)
	f.poll()
	f.check(f.poll(), 0, "True DemandKnown")
	f.checkCosts(map[string]string{"a": firstToDelete, "b": firstToDelete})
}

// TestRejectedDrain checks that a node that rejects to be drained costs two writes only now and then, and does not keep
// others.
func TestRejectedDrain(t *testing.T) {
	f := newFixture(t, ready("a"), ready("b"))
	*f.worker.Spec.Replicas = 2
	f.addIdleNode("a", 2*time.Hour)
	f.addBusyNode("b")
	f.gcs.OnDrain(func(gcs.Node, gcstest.Drain) (bool, string) { return false, "no longer idle" })
	for range 20 {
		f.check(f.poll(), 2, "True DemandKnown")
	}
	if drains, requests := len(f.gcs.Drains()), len(f.kubeClient.Actions()); drains != 1 || requests != 3 {
		t.Errorf("%d drains and %d requests to the API server, want 1, and 3: list, mark and reset", drains, requests)
	}
	f.checkCosts(map[string]string{})
	f.gcs.OnDrain(nil)
	f.clock.Step(keepInterval)
	f.check(f.poll(), 1, "True DemandKnown")
}

// TestDrainWaitsForDeployment checks that no more nodes are drained as long as a Deployment does not get fewer replicas,
// and that a recommendation that has no effect does not cost a node that has got work again.
func TestDrainWaitsForDeployment(t *testing.T) {
	f := newFixture(t, ready("a"), ready("b"))
	*f.worker.Spec.Replicas = 2
	f.addIdleNode("a", time.Hour)
	f.addBusyNode("b")
	f.poll()
	f.check(f.poll(), 1, "True DemandKnown")
	f.update(func(s *gcs.ClusterState) {
		s.Nodes = s.Nodes[:len(s.Nodes)-1]
	})
	f.addIdleNode("b", time.Hour)
	for range 3 {
		f.check(f.poll(), 1, "True DemandKnown")
	}
	if drains := f.gcs.Drains(); len(drains) != 1 {
		t.Errorf("drained %v, want one node", drains)
	}
	f.addBusyNode("a") // its container has restarted
	f.clock.Step(maxScaleDelay)
	f.check(f.poll(), 1, "True DemandKnown")
	if drains := f.gcs.Drains(); len(drains) != 2 || drains[1].NodeID != "id-b" {
		t.Errorf("drained %v, want the other node, too", drains)
	}
	f.checkCosts(map[string]string{"b": firstToDelete})
}

// TestReplicaSetOrder has Pods that a ReplicaSet would delete before one that is drained.
func TestReplicaSetOrder(t *testing.T) {
	tests := []struct {
		name string
		pods []runtime.Object
		busy []string
		// idle have been so for a second, which is too short to remove them.
		idle []string
		want int32
	}{
		{"a busy node with a Pod that is not ready", []runtime.Object{ready("a"), notReady("b")}, []string{"b"}, nil, 2},
		{"all Pods are not ready", []runtime.Object{notReady("a"), notReady("b")}, []string{"b"}, nil, 1},
		{"a Pod of an idle node is not ready", []runtime.Object{ready("a"), notReady("c")}, []string{"b"}, nil, 1},
		{"an idle node that stays has a Pod that is not ready", []runtime.Object{ready("a"), notReady("b")}, nil, []string{"b"}, 2},
		{"the container has restarted, and the former node is reported, too", []runtime.Object{ready("a"), ready("b")}, []string{"a"}, nil, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, test.pods...)
			*f.worker.Spec.Replicas = 2
			f.addIdleNode("a", time.Hour)
			for _, pod := range test.busy {
				f.update(func(s *gcs.ClusterState) {
					s.Nodes = append(slices.Clone(s.Nodes), gcs.Node{ID: "busy", Instance: pod, Group: "worker", Status: gcs.NodeRunning, Total: cpu(4)})
				})
			}
			for _, pod := range test.idle {
				f.addIdleNode(pod, time.Second)
			}
			f.poll()
			f.check(f.poll(), test.want, "True DemandKnown")
		})
	}
}

// TestSurplusPods removes pending nodes. Their Pods are marked if the ReplicaSet could delete others.
func TestSurplusPods(t *testing.T) {
	pending := withStatus(pod("c", ""), corev1.PodPending, corev1.ConditionFalse)
	tests := []struct {
		name  string
		pods  []runtime.Object
		costs map[string]string
		want  int32
	}{
		{"the Pods do not exist", []runtime.Object{ready("a")}, map[string]string{}, 1},
		{"a Pod is pending, and another one does not exist", []runtime.Object{ready("a"), pending}, map[string]string{}, 1},
		{"a Pod is ready, but runs no node", []runtime.Object{ready("a"), ready("b"), pending}, map[string]string{"b": firstToDelete}, 1},
		{"a Pod of a busy node is not ready", []runtime.Object{notReady("a"), ready("b"), pending}, map[string]string{}, 3},
		{"a Pod of a busy node was marked before", []runtime.Object{withStatus(pod("a", firstToDelete), corev1.PodRunning, corev1.ConditionTrue), pending}, map[string]string{}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, test.pods...)
			*f.worker.Spec.Replicas = 3
			f.addBusyNode("a")
			f.check(f.poll(), 3, "True DemandKnown")
			f.clock.Step(time.Minute)
			f.check(f.poll(), test.want, "True DemandKnown")
			f.checkCosts(test.costs)
		})
	}
}

// TestLowerMaximum checks that idle nodes are drained before the sync handler lowers the replicas.
func TestLowerMaximum(t *testing.T) {
	f := newFixture(t, ready("a"), ready("b"))
	*f.worker.Spec.Replicas = 2
	f.addIdleNode("a", time.Second)
	f.addBusyNode("b")
	f.check(f.poll(), 2, "True DemandKnown")
	f.ray = f.ray.DeepCopy()
	f.ray.Generation, f.ray.Spec.Worker.Autoscaling.MaxReplicas = 2, 1
	if !f.Recommend(f.ray).Outdated {
		t.Error("the recommendation for an earlier spec is not outdated")
	}
	changes := f.changes
	r := f.poll()
	f.check(r, 1, "True DemandKnown")
	if drains := f.gcs.Drains(); r.Outdated || len(drains) != 1 || drains[0].NodeID != "id-a" {
		t.Errorf("outdated: %t, drains: %v, want the idle node", r.Outdated, drains)
	}
	f.checkCosts(map[string]string{"a": firstToDelete})

	f.ray = f.ray.DeepCopy()
	f.ray.Generation, f.ray.Spec.Worker.Autoscaling.MaxReplicas = 3, 0
	f.gcs.Misbehave(gcstest.Fail(14, "down"))
	if r := f.poll(); r.Outdated || f.changes < changes+2 {
		t.Errorf("outdated: %t; the bounds wait for a GCS that is away", r.Outdated)
	}
}

// TestLowerMaximumFar checks that all idle nodes above the maximum are drained in one poll, since the sync handler lowers
// the replicas at once: even many, and if the Pod of a node that stays is not ready.
func TestLowerMaximumFar(t *testing.T) {
	const idle = maxDrains + 10
	pods := []runtime.Object{notReady("starting")}
	for i := range idle {
		pods = append(pods, ready(fmt.Sprint("idle-", i)))
	}
	f := newFixture(t, pods...)
	*f.worker.Spec.Replicas, f.ray.Spec.Worker.Autoscaling.MaxReplicas = idle+1, idle+1
	f.addBusyNode("starting")
	for i := range idle {
		f.addIdleNode(fmt.Sprint("idle-", i), time.Second)
	}
	f.check(f.poll(), idle+1, "True DemandKnown")
	f.ray = f.ray.DeepCopy()
	f.ray.Generation, f.ray.Spec.Worker.Autoscaling.MaxReplicas = 2, 1
	f.check(f.poll(), 1, "True DemandKnown")
	if drains := len(f.gcs.Drains()); drains != idle {
		t.Errorf("%d nodes were drained, want %d", drains, idle)
	}
}

// TestLowerMaximumAfterOutage lowers the maximum while the demand is not known yet again after an outage of the GCS: the
// sync handler lowers the replicas at once, so that nodes that are drained would be lost in addition.
func TestLowerMaximumAfterOutage(t *testing.T) {
	f := newFixture(t, ready("a"), ready("b"))
	*f.worker.Spec.Replicas = 2
	f.addIdleNode("a", time.Second)
	f.addBusyNode("b")
	f.poll()
	f.gcs.Misbehave(gcstest.Fail(14, "down"))
	for range minFailures {
		f.poll()
	}
	f.gcs.Misbehave(nil)
	f.ray = f.ray.DeepCopy()
	f.ray.Generation, f.ray.Spec.Worker.Autoscaling.MaxReplicas = 2, 1
	f.check(f.poll(), 1, "True DemandKnown")
	if drains := f.gcs.Drains(); len(drains) > 0 {
		t.Errorf("drained %v", drains)
	}
}

// TestFirstPoll has more nodes than maxReplicas when the operator starts. Without a recommendation, the sync handler
// lowers the replicas at once, so that nodes that are drained would be lost in addition.
func TestFirstPoll(t *testing.T) {
	f := newFixture(t, ready("a"), ready("b"))
	*f.worker.Spec.Replicas = 2
	f.ray.Spec.Worker.Autoscaling.MaxReplicas = 1
	f.addIdleNode("a", time.Second)
	f.addBusyNode("b")
	f.check(f.poll(), 1, "True DemandKnown")
	if drains := f.gcs.Drains(); len(drains) > 0 {
		t.Errorf("drained %v", drains)
	}
}
