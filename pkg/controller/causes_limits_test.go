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
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestReadyPodsAreNotListed has groups in which all Pods are ready: they need only time to become
// available, unless a container crashes again and again and is ready for a moment.
func TestReadyPodsAreNotListed(t *testing.T) {
	available := func(ready, available int32) func(*groupObservation) {
		return func(group *groupObservation) {
			group.deployment.Status.ReadyReplicas, group.deployment.Status.AvailableReplicas = ready, available
		}
	}
	crashed := `container "ray-worker" exited with 2: Error: No such option '--redis-port'`

	t.Run("a group that is complete", func(t *testing.T) {
		f := newCauseFixture(t)
		setReady(3)(&f.group)
		f.check(false, "", 0)
		f.checkAfter(time.Hour, false, "", 0)
	})
	t.Run("a group that only needs minReadySeconds", func(t *testing.T) {
		f := newCauseFixture(t)
		available(3, 2)(&f.group)
		f.check(false, "", 0)
		f.checkAfter(time.Hour, false, "", 0)
		setReady(2)(&f.group)
		f.check(false, "", 5*time.Second)
	})
	t.Run("a group that becomes ready before its Pods are listed", func(t *testing.T) {
		f := newCauseFixture(t)
		f.check(false, "", 5*time.Second)
		available(3, 0)(&f.group)
		f.checkAfter(4*time.Second, false, "", 0)
		f.checkAfter(time.Hour, false, "", 0)
		setReady(2)(&f.group)
		f.check(false, "", 5*time.Second)
	})
	t.Run("a container that crashes again and again", func(t *testing.T) {
		f := newCauseFixture(t)
		f.server.pods = []corev1.Pod{crashingPod(rayv1.RoleWorker)}
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, crashed, 10*time.Second)
		available(3, 2)(&f.group)
		f.checkAfter(8*time.Second, false, crashed, 2*time.Second)
		setReady(2)(&f.group)
		f.check(false, crashed, 2*time.Second)
		f.checkAfter(2*time.Second, true, crashed, 20*time.Second)
	})
	t.Run("a container that has crashed and runs", func(t *testing.T) {
		f := newCauseFixture(t)
		f.server.pods = []corev1.Pod{crashingPod(rayv1.RoleWorker)}
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, crashed, 10*time.Second)
		available(3, 2)(&f.group)
		f.server.pods = nil
		f.checkAfter(10*time.Second, true, "", 20*time.Second)
		f.check(false, "", 0)
	})
	t.Run("a head with an old Pod that is terminating", func(t *testing.T) {
		f := newCauseFixture(t)
		f.group = availableGroup(rayv1.RoleHead, 1, nil)
		f.group.deployment.Status.TerminatingReplicas = new(int32(1))
		f.check(false, "", 5*time.Second)
		f.checkAfter(5*time.Second, true, "", 10*time.Second)
	})
	t.Run("workers with an old Pod that is terminating", func(t *testing.T) {
		f := newCauseFixture(t)
		f.group = availableGroup(rayv1.RoleWorker, 3, nil)
		f.group.deployment.Status.TerminatingReplicas = new(int32(1))
		f.check(false, "", 0)
	})
}

// TestHealthyRayListsNoPods has all syncs in the life of a Ray that starts quickly.
func TestHealthyRayListsNoPods(t *testing.T) {
	f := newFixture(t)
	lists := func(step string) {
		t.Helper()
		if got := f.takeLists(); len(got) > 0 {
			t.Errorf("%s: %q", step, got)
		}
	}
	for range 3 {
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.deliver()
		f.clock.Step(time.Minute)
	}
	lists("the Deployments have not been observed")
	f.setWorkers(3, 0)
	f.clock.Step(time.Minute)
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	lists("all workers are ready")
	f.rollOut()
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	lists("everything is available")
}

// TestSharedListLimit has more incomplete Rays than may be listed at once.
func TestSharedListLimit(t *testing.T) {
	f := newCauseFixture(t)
	// find syncs a number of Rays and returns how many of them were listed. The others must try later.
	find := func(first, count int) int {
		listed := 0
		for i := first; i < first+count; i++ {
			groups := []groupObservation{f.group}
			retry := f.finder.find(f.context(), rayNamed(strconv.Itoa(i)), groups)
			lists := len(f.takeLists())
			listed += lists
			if want := time.Duration(5+5*lists) * time.Second; retry != want {
				t.Errorf("Ray %d is listed %d times and synced again after %s, want %s", i, lists, retry, want)
			}
		}
		return listed
	}
	check := func(step string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s, the Pods of %d Rays are listed, want %d", step, got, want)
		}
	}
	check("when they are incomplete", find(0, 12), 0)
	f.clock.Step(time.Second)
	check("a second later", find(12, 8), 0)
	f.clock.Step(4 * time.Second)
	check("after 5 seconds", find(0, 12), podListBurst)
	f.clock.Step(time.Second)
	check("a second later", find(12, 8), podListQPS)
	f.clock.Step(4 * time.Second)
	check("after a second try", find(10, 2), 2)
}

// TestRepeatedListWithoutToken has a Ray that was listed before, and no token for the next list. It asks again
// after its interval, so that Rays that were never listed come first.
func TestRepeatedListWithoutToken(t *testing.T) {
	f := newCauseFixture(t)
	f.check(false, "", 5*time.Second)
	f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
	f.clock.Step(10 * time.Second)
	for range podListBurst {
		if !f.finder.rateLimiter.TryAccept() {
			t.Fatal("there are too few tokens")
		}
	}
	f.check(false, unschedulable, 10*time.Second)
	f.checkAfter(5*time.Second, false, unschedulable, 5*time.Second)
	f.checkAfter(5*time.Second, true, unschedulable, 20*time.Second)
}

// TestHangingList has a list that does not end. Another Ray does not wait for it, and is requeued.
func TestHangingList(t *testing.T) {
	f := newCauseFixture(t)
	var lists atomic.Int32
	hangs, release := make(chan struct{}), make(chan struct{})
	kubeClient, err := kubernetes.NewForConfig(&rest.Config{Host: "http://fake", QPS: -1, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if lists.Add(1) == 1 {
			close(hangs)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return f.server.RoundTrip(r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	f.finder.kubeClient = kubeClient
	find := func(name string) (cause string, retry time.Duration) {
		groups := []groupObservation{f.group}
		retry = f.finder.find(f.context(), rayNamed(name), groups)
		return groups[0].cause, retry
	}
	check := func(step string, wantCause string, wantRetry time.Duration, wantLists int32) {
		t.Helper()
		if cause, retry := find(rayName); cause != wantCause || retry != wantRetry || lists.Load() != wantLists {
			t.Errorf("%s, the cause is %q, to be found again after %s, after %d lists; want %q, %s, %d",
				step, cause, retry, lists.Load(), wantCause, wantRetry, wantLists)
		}
	}
	check("when the group is incomplete", "", 5*time.Second, 0)
	find("other")
	f.clock.Step(5 * time.Second)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		find("other")
	}()
	<-hangs
	check("while the list of another Ray hangs", "", time.Second, 1)
	f.clock.Step(time.Second)
	check("a second later", "", time.Second, 1)
	close(release)
	<-ended
	f.clock.Step(time.Second)
	check("after that list", unschedulable, 10*time.Second, 2)
}

// TestFailedList has a list that fails. The last known cause stays, since it can still be true.
func TestFailedList(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.pods = []corev1.Pod{unschedulablePod(rayv1.RoleWorker)}
	f.setWorkers(2, 2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.deliver()
	f.clock.Step(5 * time.Second)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False PodFailure: worker: 2 of 3 available: " + unschedulable)

	kubeClient, err := kubernetes.NewForConfig(&rest.Config{Host: "http://fake", Transport: noReads{f.server}, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	f.controller.reconciler.causes.kubeClient = kubeClient
	f.deliver()
	f.clock.Step(10 * time.Second)
	f.queue.asked = nil
	f.checkSync(nil, nil, nil)
	f.checkHealth("False PodFailure: worker: 2 of 3 available: " + unschedulable)
	if diff := cmp.Diff([]string{"default/sample-cluster after 20s"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}

	f.controller.reconciler.causes.kubeClient = f.kubeClient
	f.server.pods = nil
	f.deliver()
	f.clock.Step(20 * time.Second)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: worker: 2 of 3 available")
}

// TestListRequest checks the request, which must be served without a read from etcd.
func TestListRequest(t *testing.T) {
	f := newCauseFixture(t)
	var urls []string
	kubeClient, err := kubernetes.NewForConfig(&rest.Config{Host: "http://fake", QPS: -1, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		urls = append(urls, r.Method+" "+r.URL.RequestURI())
		return f.server.RoundTrip(r)
	})})
	if err != nil {
		t.Fatal(err)
	}
	f.finder.kubeClient = kubeClient
	f.check(false, "", 5*time.Second)
	f.checkAfter(5*time.Second, true, unschedulable, 10*time.Second)
	want := []string{"GET /api/v1/namespaces/default/pods?labelSelector=ray.kubeflow.org%2Fname%3Dsample-cluster%2Cray.kubeflow.org%2Frole%3Dworker&resourceVersion=0"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }
