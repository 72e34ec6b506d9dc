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
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/internal/testclock"
)

// setAvailableWorkers sets the number of available workers.
func (f *fixture) setAvailableWorkers(count int32) {
	f.t.Helper()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = count })
	f.deliver()
}

// newProgressingFixture returns a controller that has just written the status that 1 of 3 workers is
// available.
func newProgressingFixture(t *testing.T) *fixture {
	t.Helper()
	f := newHealthyFixture(t)
	f.setAvailableWorkers(1)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.deliver()
	return f
}

// TestProgressIsDelayed has a count that changes faster than the status is written.
func TestProgressIsDelayed(t *testing.T) {
	f := newProgressingFixture(t)
	f.setAvailableWorkers(2)
	f.checkSync(nil, nil, nil)
	f.clock.Step(time.Second)
	f.checkSync(nil, nil, nil)
	if diff := cmp.Diff([]string{"default/sample-cluster after 2s", "default/sample-cluster after 1s"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}
	f.clock.Step(time.Second)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: worker: 2 of 3 available")
	f.checkSteadyState(nil)
}

// TestUrgentStatusIsNotDelayed has statuses that are written at once, even right after another status.
func TestUrgentStatusIsNotDelayed(t *testing.T) {
	t.Run("the Ray becomes healthy, and is no longer healthy", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.setAvailableWorkers(3)
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth(healthy)
		f.setAvailableWorkers(2)
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth("False RolloutIncomplete: worker: 2 of 3 available")
	})
	t.Run("the Ray has a new generation", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(4)) })
		f.deliver()
		f.checkSync(nil,
			[]string{updateWorker, updateStatus},
			[]string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"})
	})
	t.Run("the last status was written by a machine with a clock that is ahead", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.clock.Step(-time.Hour)
		f.setAvailableWorkers(2)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
	t.Run("a child is rejected, after which progress is delayed", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.drop(serviceResource, serviceKey)
		f.deliver()
		f.reject(overQuota(), createService)
		f.checkSync(apierrors.IsForbidden,
			[]string{createService, updateStatus},
			[]string{`Warning FailedCreate Service "sample-cluster-head" could not be created: ` + overQuotaMessage})
		f.setAvailableWorkers(2)
		f.queue.asked = nil
		f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
		if diff := cmp.Diff([]string{"default/sample-cluster after 2s"}, f.queue.asked); diff != "" {
			t.Errorf("requeues (-want +got):\n%s", diff)
		}
		f.clock.Step(minStatusInterval)
		f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus}, nil)
	})
}

// delayOtherRays makes the rate limit delay status writes of many other Rays.
func (f *fixture) delayOtherRays() {
	w := f.controller.reconciler.statusWriter
	for i := range 100 {
		w.delay(w.record(rayNamed(strconv.Itoa(i))), f.clock.Now())
	}
}

// TestRateLimitIsOnlyForProgress checks that the rate limit does not delay other statuses.
func TestRateLimitIsOnlyForProgress(t *testing.T) {
	t.Run("Pods cannot be created", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.delayOtherRays()
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) {
			d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{
				Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: overQuotaMessage,
			})
		})
		f.deliver()
		f.checkSync(nil, nil, nil)
		f.clock.Step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
	t.Run("a child is no longer rejected", func(t *testing.T) {
		f := newFixture(t)
		f.reject(overQuota(), createService)
		f.checkRejected([]string{createService, createHead, createWorker, updateStatus},
			`FailedCreate Service "sample-cluster-head" could not be created: `+overQuotaMessage)
		f.delayOtherRays()
		f.server.reject = nil
		f.deliver()
		f.checkSync(nil, []string{createService}, []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"})
		f.deliver()
		f.clock.Step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
	t.Run("autoscaling becomes active", func(t *testing.T) {
		f := newAutoscaledFixture(t)
		f.delayOtherRays()
		f.recommend(workers(3))
		f.clock.Step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkScaling("True Valid")
	})
	t.Run("progress is delayed", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.delayOtherRays()
		f.setAvailableWorkers(2)
		f.clock.Step(minStatusInterval)
		for range statusBurst { // those of other Rays
			f.controller.reconciler.statusWriter.rateLimiter.TryAccept()
		}
		f.checkSync(nil, nil, nil)
	})
}

// TestRateLimit has many Rays with progress at the same time, some of which are synced a moment early.
// One status is written per second, after a burst, and all are written in that time.
func TestRateLimit(t *testing.T) {
	const count = 200
	clock := testclock.New(time.Unix(1000, 0))
	w := newStatusWriter(nil, nil, nil, clock)
	next := make([]time.Time, count) // when each Ray is synced, at first all at once
	written, total := make([]bool, count), 0
	for second := range count + statusBurst {
		early := time.Duration(second%3) * 10 * time.Millisecond
		clock.Step(-early)
		now, writes := clock.Now().Add(early), 0
		for i := range count {
			if written[i] || next[i].After(now) {
				continue
			}
			r := w.record(rayNamed(strconv.Itoa(i)))
			delay := w.delay(r, now)
			if delay == 0 {
				writes++
				written[i] = true
				w.clearDelay(r)
			}
			next[i] = now.Add(delay)
		}
		clock.Step(early)
		if total += writes; writes > statusBurst || total > second+statusBurst {
			t.Fatalf("in second %d, %d statuses are written, %d in all", second, writes, total)
		}
		clock.Step(time.Second)
	}
	if w.delayed != 0 || total != count {
		t.Errorf("%d statuses are written, want %d; %d Rays are still delayed", total, count, w.delayed)
	}
}

// TestRateLimitIsFair has a Ray with one change beside Rays that change, and are synced, all the time.
func TestRateLimitIsFair(t *testing.T) {
	const busy = 20
	clock := testclock.New(time.Unix(1000, 0))
	w := newStatusWriter(nil, nil, nil, clock)
	var quiet *statusRecord
	var next time.Time // when the quiet Ray is synced
	for step := range 10 * (10 + busy + 5) {
		if step == 10*10 {
			quiet, next = w.record(rayNamed("quiet")), clock.Now()
		}
		for i := range busy {
			if r := w.record(rayNamed(strconv.Itoa(i))); w.delay(r, clock.Now()) == 0 {
				w.clearDelay(r)
			}
		}
		if quiet != nil && !clock.Now().Before(next) {
			delay := w.delay(quiet, clock.Now())
			if delay == 0 {
				return
			}
			next = clock.Now().Add(delay)
		}
		clock.Step(100 * time.Millisecond)
	}
	t.Errorf("the status of the quiet Ray is not written within %d seconds, although only %d Rays wait", busy+5, busy)
}

// TestRateLimitIsBounded has more Rays than can be written in maxRateLimitDelay.
func TestRateLimitIsBounded(t *testing.T) {
	clock := testclock.New(time.Unix(1000, 0))
	w := newStatusWriter(nil, nil, nil, clock)
	var last *statusRecord
	for i := range 2000 {
		last = w.record(rayNamed(strconv.Itoa(i)))
		if got := w.delay(last, clock.Now()); got > maxRateLimitDelay {
			t.Fatalf("Ray %d is delayed by %s, want at most %s", i, got, maxRateLimitDelay)
		}
	}
	clock.Step(maxRateLimitDelay)
	w.rateLimiter.TryAccept()
	if got := w.delay(last, clock.Now()); got != 0 {
		t.Errorf("after %s, the last Ray is still delayed by %s", maxRateLimitDelay, got)
	}
}

// TestMustWriteNow has a row for each reason to write a status at once, and for each other change.
func TestMustWriteNow(t *testing.T) {
	status := func(health corev1.ConditionStatus, reason, message string) *rayv1.RayStatus {
		condition := rayv1.RayCondition{Type: rayv1.RayHealth, Status: health, Reason: reason, Message: message}
		return &rayv1.RayStatus{ObservedGeneration: 1, LastReconcileTime: &earlier, Conditions: []rayv1.RayCondition{condition}}
	}
	healthy := status(corev1.ConditionTrue, reasonHealthy, "")
	progressing := status(corev1.ConditionFalse, reasonProgressing, "worker: 1 of 3 available")
	unobserved := status(corev1.ConditionUnknown, reasonUnobserved, "")
	failing := status(corev1.ConditionFalse, reasonReplicaFailure, "worker: 1 of 3 available: quota")
	rejected := status(corev1.ConditionFalse, reasonFailedCreate, "x")
	nextGeneration := progressing.DeepCopy()
	nextGeneration.ObservedGeneration = 2
	neverWritten := progressing.DeepCopy()
	neverWritten.LastReconcileTime = nil
	const now, rateLimited, interval = "now", "rate limited", "after the minimum interval"
	tests := []struct {
		name          string
		current, next *rayv1.RayStatus
		newProblem    bool
		want          string
	}{
		{"the first status", &rayv1.RayStatus{}, unobserved, false, now},
		{"the first status with a time", neverWritten, progressing, false, now},
		{"the Ray becomes healthy", progressing, healthy, false, now},
		{"the Ray is no longer healthy", healthy, progressing, false, now},
		{"a new generation", progressing, nextGeneration, false, now},
		{"a new problem", progressing, progressing, true, now},
		{"one more Pod", progressing, status(corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"), false, rateLimited},
		{"the Deployments are observed", unobserved, progressing, false, rateLimited},
		{"Pods cannot be created", progressing, failing, false, interval},
		{"Pods can be created again", failing, progressing, false, rateLimited},
		{"a problem ends", rejected, progressing, false, interval},
		{"a problem has another message", rejected, status(corev1.ConditionFalse, reasonFailedCreate, "y"), false, rateLimited},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := interval
			switch {
			case mustWriteNow(test.current, test.next, test.newProblem):
				got = now
			case isRateLimited(test.current, test.next):
				got = rateLimited
			}
			if got != test.want {
				t.Errorf("the status is written %s, want %s", got, test.want)
			}
		})
	}
}

// TestIsOwnUpdate checks that only a status write of the operator enqueues no Ray.
func TestIsOwnUpdate(t *testing.T) {
	f := newHealthyFixture(t)
	f.setAvailableWorkers(2)
	before := f.ray()
	f.checkSync(nil, []string{updateStatus}, nil)
	after := f.ray()
	w := f.controller.reconciler.statusWriter
	for name, change := range map[string]func(*rayv1.Ray){
		"another status":     func(ray *rayv1.Ray) { ray.Status.Head.Replicas++ },
		"another generation": func(ray *rayv1.Ray) { ray.Generation++ },
		"another Ray":        func(ray *rayv1.Ray) { ray.UID = "other" },
		"a deletion":         func(ray *rayv1.Ray) { ray.DeletionTimestamp = &earlier },
	} {
		changed := after.DeepCopy()
		change(changed)
		if w.isOwnUpdate(before, changed) {
			t.Errorf("%s is regarded as the operator's own update", name)
		}
	}
	if !w.isOwnUpdate(before, after) {
		t.Error("the operator's own update is not recognized")
	}
	if w.isOwnUpdate(before, after) {
		t.Error("a later write of the same status by another client is regarded as the operator's own update")
	}
}

// TestAwaitedUpdate has a sync that waits until the cache shows the last status. This update must enqueue
// the Ray.
func TestAwaitedUpdate(t *testing.T) {
	f := newHealthyFixture(t)
	f.setAvailableWorkers(2)
	before := f.ray()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSync(isStale, nil, nil)
	if f.controller.reconciler.statusWriter.isOwnUpdate(before, f.ray()) {
		t.Error("the update enqueues no Ray")
	}
}

func rayNamed(name string) *rayv1.Ray {
	return &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}
