package controller

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	if got, want := f.health(), "False ReplicasMissing: worker: 2 of 3 available"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
	f.checkRest(nil)
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
		f.refuse(overQuota(), createService)
		f.checkSync(apierrors.IsForbidden,
			[]string{createService, updateStatus},
			[]string{"Warning FailedCreate could not create the service sample-cluster-head: " + overQuotaMessage})
		f.workersAvailable(2)
		f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
	})
}

// TestNewsDoesNotWaitForOthers has many Rays that make progress, beside one of which there is more
// to tell.
func TestNewsDoesNotWaitForOthers(t *testing.T) {
	crowd := func(f *fixture) {
		for i := range 100 {
			f.controller.progress.turn(cache.ObjectName{Name: strconv.Itoa(i)}, f.clock.Now(), 0)
		}
	}
	t.Run("its Pods cannot be made", func(t *testing.T) {
		f := newProgressingFixture(t)
		crowd(f)
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
	t.Run("a child is no longer refused", func(t *testing.T) {
		f := newFixture(t)
		f.refuse(overQuota(), createService)
		f.checkRefused([]string{createService, createHead, createWorker, updateStatus},
			"FailedCreate could not create the service sample-cluster-head: "+overQuotaMessage)
		crowd(f)
		f.server.refuse = nil
		f.deliver()
		f.checkSync(nil, []string{createService}, []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"})
		f.deliver()
		f.clock.step(minStatusInterval)
		f.checkSync(nil, []string{updateStatus}, nil)
	})
}

// TestTurnIsKept has a status of progress that cannot be written when it is its turn.
func TestTurnIsKept(t *testing.T) {
	f := newProgressingFixture(t)
	f.clock.step(minStatusInterval)
	f.workersAvailable(2)
	f.refuse(overQuota(), updateStatus)
	f.checkSync(apierrors.IsForbidden, []string{updateStatus}, nil)
	f.server.refuse = nil
	f.checkSync(nil, []string{updateStatus}, nil)
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
	f.checkRest(nil)
	f.workersAvailable(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkRest(nil)

	f.server.prune = nil
	f.workersAvailable(1)
	f.clock.step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkRest(nil)
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
	f.checkRest(nil)
}

// TestProgressOfMany has many Rays that make progress, all of which told of it long ago. One
// tells in a second, and none is forgotten.
func TestProgressOfMany(t *testing.T) {
	const count = 200
	p := newProgress()
	asks := make([]time.Time, count) // when each Ray asks, the first time all at once
	told := make([]bool, count)
	name := func(i int) cache.ObjectName { return cache.ObjectName{Namespace: namespace, Name: strconv.Itoa(i)} }
	start := time.Unix(1000, 0)
	for second := range count {
		now, tells := start.Add(time.Duration(second)*time.Second), 0
		for i := range count {
			if told[i] || asks[i].After(now) {
				continue
			}
			wait := p.turn(name(i), now, 0)
			if wait == 0 {
				tells++
				told[i] = true
				p.done(name(i))
			}
			asks[i] = now.Add(wait)
		}
		if tells != 1 {
			t.Fatalf("in second %d, %d Rays tell of progress, want one", second, tells)
		}
	}
	if got := p.turn(name(0), start.Add(time.Hour), 0); got != 0 {
		t.Errorf("a Ray alone waits %s, though it need not for its own sake", got)
	}
}

// TestProgressIsToldInTime has more Rays than can tell in the longest time that one waits.
func TestProgressIsToldInTime(t *testing.T) {
	p := newProgress()
	now := time.Unix(1000, 0)
	for i := range 2000 {
		if got := p.turn(cache.ObjectName{Name: strconv.Itoa(i)}, now, 0); got > maxProgressDelay {
			t.Fatalf("ray %d waits %s", i, got)
		}
	}
}
