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

package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// setWorkers sets the numbers of ready and of available workers.
func (f *fixture) setWorkers(ready, available int32) {
	f.t.Helper()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		d.Status.ObservedGeneration = d.Generation
		d.Status.ReadyReplicas, d.Status.AvailableReplicas = ready, available
	})
	f.deliver()
}

const (
	listHead    = "list pods ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=head"
	listWorkers = "list pods ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=worker"

	unschedulable = "unschedulable: 0/4 nodes are available: 4 Insufficient cpu"
)

// takeLists returns the lists of Pods since the last call.
func (f *fixture) takeLists() []string {
	lists := slices.DeleteFunc(f.server.reads, func(read string) bool { return !strings.HasPrefix(read, "list ") })
	f.server.reads = nil
	return lists
}

// newPod returns a Pod of the sample.
func newPod(role rayv1.Role, status corev1.PodStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: deploymentName(role) + "-6d4f8b7c9-bcdfg",
			Labels: map[string]string{rayv1.LabelName: rayName, rayv1.LabelRole: string(role)},
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "ray-" + string(role), Image: "ray"}}},
		Status: status,
	}
}

func unschedulablePod(role rayv1.Role) corev1.Pod {
	return newPod(role, corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/4 nodes are available: 4 Insufficient cpu.",
	}}})
}

// crashingPod returns a Pod with a container that has exited and will be restarted.
func crashingPod(role rayv1.Role) corev1.Pod {
	return newPod(role, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name:  "ray-" + string(role),
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 2, Reason: "Error", Message: "Error: No such option '--redis-port'\n",
		}},
		RestartCount: 3,
	}}})
}

// TestCausesInStatus has Pods that do not become available, and the status of the Ray after they were
// listed.
func TestCausesInStatus(t *testing.T) {
	incomplete := func(role rayv1.Role, ready int32) func(*fixture) {
		return func(f *fixture) {
			f.editDeploymentStatus(role, func(d *appsv1.Deployment) { d.Status.ReadyReplicas, d.Status.AvailableReplicas = ready, ready })
		}
	}
	terminating := func(f *fixture) {
		f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.TerminatingReplicas = new(int32(1)) })
	}
	lost := newPod(rayv1.RoleHead, corev1.PodStatus{Phase: corev1.PodRunning, Reason: "NodeLost"})
	lost.DeletionTimestamp, lost.Spec.NodeName = &earlier, "n1"
	tests := []struct {
		name                  string
		change                func(*fixture)
		pods                  []corev1.Pod
		wantLists             []string
		wantBefore, wantAfter string
	}{
		{
			name:       "workers that cannot be scheduled",
			change:     incomplete(rayv1.RoleWorker, 1),
			pods:       []corev1.Pod{unschedulablePod(rayv1.RoleWorker), unschedulablePod(rayv1.RoleWorker), crashingPod(rayv1.RoleHead)},
			wantLists:  []string{listWorkers},
			wantBefore: "False RolloutIncomplete: worker: 1 of 3 available",
			wantAfter:  "False PodFailure: worker: 1 of 3 available: 2 Pods " + unschedulable,
		},
		{
			name:       "a head that crashes",
			change:     incomplete(rayv1.RoleHead, 0),
			pods:       []corev1.Pod{crashingPod(rayv1.RoleHead), unschedulablePod(rayv1.RoleWorker)},
			wantLists:  []string{listHead},
			wantBefore: "False RolloutIncomplete: head: 0 of 1 available",
			wantAfter:  `False PodFailure: head: 0 of 1 available: container "ray-head" exited with 2: Error: No such option '--redis-port'`,
		},
		{
			name: "both groups",
			change: func(f *fixture) {
				incomplete(rayv1.RoleHead, 0)(f)
				incomplete(rayv1.RoleWorker, 2)(f)
			},
			pods:       []corev1.Pod{crashingPod(rayv1.RoleHead), unschedulablePod(rayv1.RoleWorker)},
			wantLists:  []string{listHead, listWorkers},
			wantBefore: "False RolloutIncomplete: head: 0 of 1 available; worker: 2 of 3 available",
			wantAfter: `False PodFailure: head: 0 of 1 available: container "ray-head" exited with 2: Error: No such option '--redis-port'; ` +
				"worker: 2 of 3 available: " + unschedulable,
		},
		{
			name:       "an old head that does not terminate",
			change:     terminating,
			pods:       []corev1.Pod{lost},
			wantLists:  []string{listHead},
			wantBefore: "False RolloutIncomplete: head: 1 old Pod is terminating",
			wantAfter:  `False PodFailure: head: 1 old Pod is terminating: Pod does not terminate: node "n1" is unresponsive`,
		},
		{
			name: "an old head that does not terminate, and no new one",
			change: func(f *fixture) {
				terminating(f)
				incomplete(rayv1.RoleHead, 0)(f)
			},
			pods:       []corev1.Pod{lost},
			wantLists:  []string{listHead},
			wantBefore: "False RolloutIncomplete: head: 0 of 1 available: 1 old Pod is terminating",
			wantAfter:  `False PodFailure: head: 0 of 1 available: 1 old Pod is terminating: Pod does not terminate: node "n1" is unresponsive`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			f.server.pods = test.pods
			test.change(f)
			f.deliver()
			f.checkSync(nil, []string{updateStatus}, nil)
			f.checkHealth(test.wantBefore)
			f.clock.Step(minCauseInterval)
			f.deliver()
			if err := f.sync(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.wantLists, f.takeLists()); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
			f.checkWritesAndEvents([]string{updateStatus}, nil)
			f.checkHealth(test.wantAfter)
			f.checkSteadyState(nil)

			f.rollOut()
			f.makeHealthy()
			if count := len(f.controller.reconciler.causes.rays); count > 0 {
				t.Errorf("%d healthy Rays have causes", count)
			}
		})
	}
}

// causeFixture finds the cause of one group of workers, of which 2 of 3 are available.
type causeFixture struct {
	*fixture
	finder *causeFinder
	group  groupObservation
}

func newCauseFixture(t *testing.T) *causeFixture {
	t.Helper()
	f := newFixture(t)
	f.server.pods = []corev1.Pod{unschedulablePod(rayv1.RoleWorker)}
	return &causeFixture{f, newCauseFinder(f.kubeClient, f.clock), availableGroup(rayv1.RoleWorker, 3, setReady(2))}
}

// setReady returns a change of a group that sets how many Pods are ready and available.
func setReady(count int32) func(*groupObservation) {
	return ofStatus(func(s *appsv1.DeploymentStatus) { s.ReadyReplicas, s.AvailableReplicas = count, count })
}

// check checks whether the Pods are listed now, the cause, and when to find it next.
func (f *causeFixture) check(wantListed bool, wantCause string, wantRetry time.Duration) {
	f.t.Helper()
	groups := []groupObservation{f.group}
	retry := f.finder.find(f.context(), f.ray(), groups)
	if listed := len(f.takeLists()) > 0; listed != wantListed || groups[0].cause != wantCause || retry != wantRetry {
		f.t.Errorf("Pods are listed: %t, the cause is %q, to be found again after %s; want %t, %q, %s",
			listed, groups[0].cause, retry, wantListed, wantCause, wantRetry)
	}
}

// checkAfter is check after some time.
func (f *causeFixture) checkAfter(step time.Duration, wantListed bool, wantCause string, wantRetry time.Duration) {
	f.t.Helper()
	f.clock.Step(step)
	f.check(wantListed, wantCause, wantRetry)
}

// TestCauseInterval checks when Pods are listed as long as the counts do not change.
func TestCauseInterval(t *testing.T) {
	f := newCauseFixture(t)
	f.check(false, "", 5*time.Second)
	cause := ""
	intervals := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute, time.Minute}
	for i, interval := range intervals[:len(intervals)-1] {
		f.checkAfter(interval-time.Millisecond, false, cause, time.Millisecond)
		cause = unschedulable
		f.checkAfter(time.Millisecond, true, cause, intervals[i+1])
		f.check(false, cause, intervals[i+1])
	}
}

// TestCauseAfterProgress has counts that change, which allows the next list 5 s after the last.
func TestCauseAfterProgress(t *testing.T) {
	f := newCauseFixture(t)
	f.check(false, "", 5*time.Second)
	setReady(1)(&f.group)
	f.checkAfter(3*time.Second, false, "", 2*time.Second)
	f.checkAfter(2*time.Second, true, unschedulable, 10*time.Second)
	f.checkAfter(10*time.Second, true, unschedulable, 20*time.Second)
	f.checkAfter(20*time.Second, true, unschedulable, 40*time.Second)

	setReady(0)(&f.group)
	f.checkAfter(2*time.Second, false, unschedulable, 3*time.Second)
	setReady(1)(&f.group)
	f.checkAfter(time.Second, false, unschedulable, 2*time.Second)
	f.checkAfter(2*time.Second, true, unschedulable, 10*time.Second)
	f.checkAfter(7*time.Second, false, unschedulable, 3*time.Second)
	setReady(2)(&f.group)
	f.check(true, unschedulable, 10*time.Second)
}

// TestCauseEnds has changes after which a known cause is no longer valid.
func TestCauseEnds(t *testing.T) {
	tests := []struct {
		name   string
		change func(*causeFixture)
		// wantRetry is 5 s if the group is still incomplete.
		wantRetry time.Duration
	}{
		{"the Deployment has another template", func(f *causeFixture) {
			f.group.deployment.Generation++
			f.group.deployment.Status.ObservedGeneration++
			f.group.deployment.Spec.Template.Spec.PriorityClassName = "high"
		}, 5 * time.Second},
		{"the Deployment is another one", func(f *causeFixture) { f.group.deployment.UID = "other" }, 5 * time.Second},
		{"the group is complete", func(f *causeFixture) { setReady(3)(&f.group) }, 0},
		{"the group no longer exists", func(f *causeFixture) { f.group.deployment = nil }, 0},
		{"the group is no longer desired", func(f *causeFixture) { f.group.desired = nil }, 0},
		{"the group has a problem", func(f *causeFixture) { f.group.err = overQuota() }, 0},
		{"the group waits", func(f *causeFixture) { f.group.waiting = waitingUpdate }, 0},
		{"Pods are rejected", func(f *causeFixture) { failingReplicas("x")(&f.group) }, 0},
		{"the Ray is forgotten", func(f *causeFixture) { f.finder.forget(sampleKey) }, 5 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newCauseFixture(t)
			f.check(false, "", 5*time.Second)
			f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
			before := f.group
			before.deployment = f.group.deployment.DeepCopy()
			f.clock.Step(time.Second)
			test.change(f)
			f.check(false, "", test.wantRetry)
			if known := len(f.finder.rays) > 0; known != (test.wantRetry > 0) {
				t.Errorf("the group is remembered: %t", known)
			}
			if test.wantRetry == 0 {
				f.group = before
				f.check(false, "", 5*time.Second)
			}
		})
	}
	t.Run("the Deployment is annotated, and the cause remains", func(t *testing.T) {
		f := newCauseFixture(t)
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
		f.group.deployment.Generation++
		f.check(false, "", 0) // the status says that the generation has not been observed
		f.group.deployment.Status.ObservedGeneration++
		f.check(false, unschedulable, 10*time.Second)
	})
	t.Run("another Ray is forgotten, and the cause remains", func(t *testing.T) {
		f := newCauseFixture(t)
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
		f.finder.forget(cache.NewObjectName(namespace, "other"))
		f.check(false, unschedulable, 10*time.Second)
	})
	t.Run("the Pods can be scheduled", func(t *testing.T) {
		f := newCauseFixture(t)
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
		f.server.pods = nil
		f.checkAfter(10*time.Second, true, "", 20*time.Second)
	})
}
