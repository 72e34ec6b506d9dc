package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// workersAvailable makes so many workers available.
func (f *fixture) workersAvailable(count int32) {
	f.t.Helper()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = count })
	f.deliver()
}

// newProgressingFixture returns a controller whose last status write, that one of three
// workers is available, was just now.
func newProgressingFixture(t *testing.T) *fixture {
	t.Helper()
	f := newHealthyFixture(t)
	f.workersAvailable(1)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.deliver()
	return f
}

// TestProgressIsThrottled has Pods that come faster than the status needs to follow.
func TestProgressIsThrottled(t *testing.T) {
	f := newProgressingFixture(t)
	f.workersAvailable(2)
	f.checkSync(nil, nil, nil)
	f.clock.step(time.Second)
	f.checkSync(nil, nil, nil)
	if diff := cmp.Diff([]string{"default/sample-cluster after 2s", "default/sample-cluster after 1s"}, f.queue.asked); diff != "" {
		t.Errorf("requests to sync again (-want +got):\n%s", diff)
	}
	f.clock.step(time.Second)
	f.checkSync(nil, []string{updateStatus}, nil)
	if got, want := f.health(), "False RolloutIncomplete: worker: 2 of 3 available"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
	f.checkSteadyState(nil)
}

// TestNewsIsNotThrottled has what must be in the status at once, though it was written
// just now.
func TestNewsIsNotThrottled(t *testing.T) {
	t.Run("that the Ray has become healthy", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.workersAvailable(3)
		f.checkSync(nil, []string{updateStatus}, nil)
		t.Run("and that it no longer is", func(*testing.T) {
			f.workersAvailable(2)
			f.checkSync(nil, []string{updateStatus}, nil)
		})
	})
	t.Run("that the spec has been seen", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(4)) })
		f.deliver()
		f.checkSync(nil,
			[]string{updateWorker, updateStatus},
			[]string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"})
	})
	t.Run("after a status of a machine whose clock is ahead", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.clock.step(-time.Hour)
		f.workersAvailable(2)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
	t.Run("that a child is refused, but then its progress is no news", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.drop(serviceResource, serviceKey)
		f.deliver()
		f.reject(overQuota(), createService)
		f.checkSync(apierrors.IsForbidden,
			[]string{createService, updateStatus},
			[]string{"Warning FailedCreate Service \"sample-cluster-head\" could not be created: " + overQuotaMessage})
		f.workersAvailable(2)
		f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
	})
}

// delayWrites lets the rate limit delay the writes of many Rays.
func (f *fixture) delayWrites() {
	w := f.controller.reconciler.status
	for i := range 100 {
		w.delay(w.of(cache.ObjectName{Name: strconv.Itoa(i)}), f.clock.Now())
	}
}

// TestRateLimitIsForProgressOnly ensures that other changes do not wait for the progress of many Rays.
func TestRateLimitIsForProgressOnly(t *testing.T) {
	t.Run("Pods cannot be created", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.delayWrites()
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) {
			d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{
				Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: overQuotaMessage,
			})
		})
		f.deliver()
		f.checkSync(nil, nil, nil)
		f.clock.step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
	t.Run("a child is no longer rejected", func(t *testing.T) {
		f := newFixture(t)
		f.reject(overQuota(), createService)
		f.checkRefused([]string{createService, createHead, createWorker, updateStatus},
			"FailedCreate Service \"sample-cluster-head\" could not be created: "+overQuotaMessage)
		f.delayWrites()
		f.server.reject = nil
		f.deliver()
		f.checkSync(nil, []string{createService}, []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"})
		f.deliver()
		f.clock.step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
}

// TestPrunedStatus has an API server whose schema lacks a field of the status, as one has that
// is older than the operator. The rest of the status is kept true, and nothing is tried twice.
func TestPrunedStatus(t *testing.T) {
	f := newFixture(t)
	f.server.prune = func(status *rayv1.RayStatus) { status.Head.UpdatedReplicas = 0 }
	f.makeHealthy()
	if got, want := f.health(), "True AllReplicasAvailable"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
	f.checkSteadyState(nil)
	f.workersAvailable(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)

	f.server.prune = nil
	f.workersAvailable(1)
	f.clock.step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)
	if got := f.ray().Status.Head.UpdatedReplicas; got != 1 {
		t.Errorf("the newer schema has the field, and it is %d, want 1", got)
	}
}

// TestStatusThatIsAlwaysStoredOtherwise has admission that insists on words of its own in a
// condition, whose times say each time that it has just changed.
func TestStatusThatIsAlwaysStoredOtherwise(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.prune = func(status *rayv1.RayStatus) { findCondition(status.Conditions, rayv1.RayHealth).Message = "theirs" }
	f.workersAvailable(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.deliver()
	f.clock.step(maxRetryDelay)
	f.checkSync(nil, nil, nil)
	f.clock.step(maxRetryDelay)
	f.checkSteadyState(nil)
}

// TestRateLimit has many Rays with progress at the same time. One status is written per second, and
// none is forgotten.
func TestRateLimit(t *testing.T) {
	const count = 200
	clock := &fakeClock{now: time.Unix(1000, 0)}
	w := newStatusWriter(nil, nil, nil, clock)
	next := make([]time.Time, count) // when each Ray asks, at first all at once
	written := make([]bool, count)
	for second := range count {
		now, writes := clock.Now(), 0
		for i := range count {
			if written[i] || next[i].After(now) {
				continue
			}
			r := w.of(cache.ObjectName{Name: strconv.Itoa(i)})
			delay := w.delay(r, now)
			if delay == 0 {
				writes++
				written[i] = true
				w.endDelay(r)
			}
			next[i] = now.Add(delay)
		}
		if writes != 1 {
			t.Fatalf("in second %d, %d statuses are written, want one", second, writes)
		}
		clock.step(time.Second)
	}
	if w.delayed != 0 {
		t.Errorf("%d Rays are delayed in the end", w.delayed)
	}
}

// TestRateLimitIsBounded has more Rays than can be written in maxProgressDelay.
func TestRateLimitIsBounded(t *testing.T) {
	clock := &fakeClock{now: time.Unix(1000, 0)}
	w := newStatusWriter(nil, nil, nil, clock)
	var last *statusRecord
	for i := range 2000 {
		last = w.of(cache.ObjectName{Name: strconv.Itoa(i)})
		if got := w.delay(last, clock.Now()); got > maxProgressDelay {
			t.Fatalf("Ray %d is delayed by %s", i, got)
		}
	}
	clock.step(maxProgressDelay)
	w.progress.TryAccept()
	if got := w.delay(last, clock.Now()); got != 0 {
		t.Errorf("after %s it is delayed by %s more", maxProgressDelay, got)
	}
}

// TestMustWriteNow has one row per reason to write a status at once, and those that are none.
func TestMustWriteNow(t *testing.T) {
	status := func(health corev1.ConditionStatus, reason, message string) *rayv1.RayStatus {
		condition := rayv1.RayCondition{Type: rayv1.RayHealth, Status: health, Reason: reason, Message: message}
		return &rayv1.RayStatus{ObservedGeneration: 1, LastReconcileTime: &earlier, Conditions: []rayv1.RayCondition{condition}}
	}
	healthy := status(corev1.ConditionTrue, reasonHealthy, "")
	progressing := status(corev1.ConditionFalse, reasonProgressing, "worker: 1 of 3 available")
	unobserved := status(corev1.ConditionUnknown, reasonUnobserved, "")
	failing := status(corev1.ConditionFalse, reasonReplicaFailure, "worker: 1 of 3 available: quota")
	nextGeneration := progressing.DeepCopy()
	nextGeneration.ObservedGeneration = 2
	neverWritten := progressing.DeepCopy()
	neverWritten.LastReconcileTime = nil
	tests := []struct {
		name            string
		current, next   *rayv1.RayStatus
		newProblem      bool
		want, rateLimit bool
	}{
		{"the first status", &rayv1.RayStatus{}, unobserved, false, true, false},
		{"the first status with a time", neverWritten, progressing, false, true, false},
		{"the Ray becomes healthy", progressing, healthy, false, true, false},
		{"the Ray is no longer healthy", healthy, progressing, false, true, false},
		{"a new generation", progressing, nextGeneration, false, true, false},
		{"a new problem", progressing, progressing, true, true, false},
		{"one more Pod", progressing, status(corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"), false, false, true},
		{"the Deployments are observed", unobserved, progressing, false, false, true},
		{"Pods cannot be created", progressing, failing, false, false, false},
		{"Pods can be created again", failing, progressing, false, false, true},
		{"a problem ends", status(corev1.ConditionFalse, reasonFailedCreate, "x"), progressing, false, false, false},
		{"a problem has another message", status(corev1.ConditionFalse, reasonFailedCreate, "x"), status(corev1.ConditionFalse, reasonFailedCreate, "y"), false, false, true},
	}
	for _, test := range tests {
		if got := mustWriteNow(test.current, test.next, test.newProblem); got != test.want {
			t.Errorf("%s: must be written now is %t, want %t", test.name, got, test.want)
		}
		if test.want {
			continue
		}
		if got := isRateLimited(test.current, test.next); got != test.rateLimit {
			t.Errorf("%s: rate limited is %t, want %t", test.name, got, test.rateLimit)
		}
	}
}

// TestOwnUpdate ensures that a status write of the operator enqueues no Ray, and all other updates do.
func TestOwnUpdate(t *testing.T) {
	f := newHealthyFixture(t)
	f.workersAvailable(2)
	before := f.ray()
	f.checkSync(nil, []string{updateStatus}, nil)
	after := f.ray()
	w := f.controller.reconciler.status
	for name, change := range map[string]func(*rayv1.Ray){
		"another status":     func(ray *rayv1.Ray) { ray.Status.Head.Replicas++ },
		"another generation": func(ray *rayv1.Ray) { ray.Generation++ },
		"another Ray":        func(ray *rayv1.Ray) { ray.UID = "other" },
		"a deletion":         func(ray *rayv1.Ray) { ray.DeletionTimestamp = &earlier },
	} {
		changed := after.DeepCopy()
		change(changed)
		if w.isOwnUpdate(before, changed) {
			t.Errorf("%s is taken for the operator's own update", name)
		}
	}
	if !w.isOwnUpdate(before, after) {
		t.Error("the operator's own update is not recognized")
	}
	if w.isOwnUpdate(before, after) {
		t.Error("another client that writes the same status later is taken for the operator")
	}
}

// TestVaryingMessage has a rejection with another message at each retry, such as one with the number of
// the request. It is the same problem: there is one event, and the message is progress.
func TestVaryingMessage(t *testing.T) {
	f := newFixture(t)
	retries := 0
	f.server.reject = func(write string) *apierrors.StatusError {
		if !strings.HasPrefix(write, createService) {
			return nil
		}
		retries++
		return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "x", fmt.Errorf("request %d is denied", retries))
	}
	message := func(retry int) string {
		return fmt.Sprintf(`Service "sample-cluster-head" could not be created: services "x" is forbidden: request %d is denied`, retry)
	}
	f.checkRefused([]string{createService, createHead, createWorker, updateStatus}, "FailedCreate "+message(1))
	f.deliver()
	f.clock.step(minStatusInterval - time.Second)
	f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
	f.clock.step(minStatusInterval)
	f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus}, nil)
	if got := f.health(); !strings.Contains(got, message(3)) {
		t.Errorf("Health is %q, want %q", got, message(3))
	}
}

// TestStatusIsRefusedForAWhile has admission refuse statuses as invalid. Problems are told in
// events meanwhile, and the status is tried again though the Ray stays as it is.
func TestStatusIsRefusedForAWhile(t *testing.T) {
	f := newHealthyFixture(t)
	freeze := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	f.reject(freeze, updateStatus)
	f.workersAvailable(2)
	f.checkSync(nil, []string{updateStatus}, nil)

	f.editService(func(s *corev1.Service) { s.Spec.Selector = nil })
	f.deliver()
	f.server.reject = func(write string) *apierrors.StatusError {
		switch {
		case strings.HasPrefix(write, updateStatus):
			return freeze
		case strings.HasPrefix(write, updateService):
			return overQuota()
		default:
			return nil
		}
	}
	f.checkSync(apierrors.IsForbidden, []string{updateService}, []string{
		"Warning FailedUpdate Service \"sample-cluster-head\" could not be updated: " + overQuotaMessage,
	})
	f.clock.step(time.Minute)
	f.checkSync(apierrors.IsForbidden, []string{updateService}, nil)
	f.clock.step(rejectionInterval)
	f.checkSync(apierrors.IsForbidden, []string{updateService, updateStatus}, nil)
	f.reject(nil)
	f.queue.asked = nil
	f.checkSync(nil, []string{updateService}, reverted("service sample-cluster-head", "selector"))
	if want := []string{"default/sample-cluster after 5m0s"}; !slices.Equal(f.queue.asked, want) {
		t.Errorf("the Ray is synced again %v, want %q", f.queue.asked, want)
	}
	f.clock.step(rejectionInterval)
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	if got, want := f.health(), "False RolloutIncomplete: worker: 2 of 3 available"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
}

// TestFailedStatusBesideTakenName has a status that cannot be written while a child waits for
// somebody else: it does not wait with it.
func TestFailedStatusBesideTakenName(t *testing.T) {
	f := newFixture(t)
	f.put(&corev1.Service{ObjectMeta: ownedBy(serviceKey, nil)})
	f.deliver()
	f.reject(overQuota(), updateStatus)
	if err := f.sync(); !apierrors.IsForbidden(err) || isBlocked(err) {
		t.Errorf("the sync returned %v, want the refusal alone", err)
	}
}
