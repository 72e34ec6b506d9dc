package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestWakeUps checks which Ray an object wakes up: the one that has its name, or would
// have, whoever owns it.
func TestWakeUps(t *testing.T) {
	named := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	f := newFixture(t)
	rays, services, deployments := rayHandler(f.controller), childHandler[*corev1.Service](f.controller), childHandler[*appsv1.Deployment](f.controller)
	for _, name := range []string{"a", "b"} {
		if err := f.caches[rayResource].Add(&rayv1.Ray{ObjectMeta: named(name), Spec: rayv1.RaySpec{Worker: &rayv1.WorkerSpec{}}}); err != nil {
			t.Fatal(err)
		}
	}
	service, worker := &corev1.Service{ObjectMeta: named("a-head")}, &appsv1.Deployment{ObjectMeta: named("b-worker")}
	// A later version of the API does not change who controls a child.
	owner := metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.Group + "/v2", Kind: "Ray", Name: "c", Controller: new(true)}
	controlled, released := &appsv1.Deployment{ObjectMeta: named("other")}, &appsv1.Deployment{ObjectMeta: named("other")}
	controlled.OwnerReferences = []metav1.OwnerReference{owner}
	tests := []struct {
		name   string
		notify func()
		want   string
	}{
		{"a new Ray", func() { rays.OnAdd(&rayv1.Ray{ObjectMeta: named("a")}, false) }, "a"},
		{"a changed Ray", func() { rays.OnUpdate(&rayv1.Ray{ObjectMeta: named("a")}, &rayv1.Ray{ObjectMeta: named("a")}) }, "a"},
		{"a deleted Ray", func() {
			rays.OnDelete(cache.DeletedObject[*rayv1.Ray]{OptionalObj: &rayv1.Ray{ObjectMeta: named("a")}})
		}, "a"},
		{"a new Service", func() { services.OnAdd(service, false) }, "a"},
		{"a changed Service", func() { services.OnUpdate(service, service) }, "a"},
		{"a deleted Service", func() { services.OnDelete(cache.DeletedObject[*corev1.Service]{OptionalObj: service}) }, "a"},
		{"a Deployment with another name, controlled by a Ray", func() { deployments.OnAdd(controlled, false) }, "c"},
		{"a Deployment that the Ray no longer controls", func() { deployments.OnUpdate(controlled, released) }, "c"},
		{"a deleted Deployment with another name, controlled by a Ray", func() {
			deployments.OnDelete(cache.DeletedObject[*appsv1.Deployment]{OptionalObj: controlled})
		}, "c"},
		{"a changed Deployment", func() { deployments.OnUpdate(worker, worker) }, "b"},
		{"a Deployment whose deletion was missed", func() {
			deployments.OnDelete(cache.DeletedObject[*appsv1.Deployment]{FinalStateUnknown: &cache.DeletedFinalStateUnknown{Key: namespace + "/b-worker"}})
		}, "b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.controller.running.Store(false)
			test.notify()
			if f.queue.Len() > 0 {
				t.Errorf("a replica that stands by has %d Rays in its queue, which nobody empties", f.queue.Len())
			}
			f.controller.running.Store(true)
			test.notify()
			if f.queue.Len() == 0 {
				t.Fatal("nothing woke up")
			}
			key, _ := f.queue.Get()
			f.queue.Done(key)
			if want := (cache.ObjectName{Namespace: namespace, Name: test.want}); key != want || f.queue.Len() > 0 {
				t.Errorf("woke up %v and %d more, want %v", key, f.queue.Len(), want)
			}
		})
	}
}

// TestRetries checks when a Ray is synced again.
func TestRetries(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"after a success", nil, nil},
		{"when the cache is behind", fmt.Errorf("x: %w", errStale), []string{"default/sample-cluster after 5ms"}},
		{"when somebody else has to act", blocked("Reason", "Service", "x", "x"), []string{"default/sample-cluster after 10s"}},
		{"after a refusal", failed("Reason", "Service", "x", overQuota()), []string{"default/sample-cluster rate limited"}},
		{"after a conflict", failed("Reason", "Service", "x", apierrors.NewConflict(rayv1.Resource("rays"), "x", errors.New("x"))), []string{"default/sample-cluster after 5ms"}},
		{"when the cache is behind and somebody else has to act", errors.Join(blocked("Reason", "Service", "x", "x"), errStale), []string{"default/sample-cluster after 5ms"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.controller.requeue(klog.New(nil), sampleKey, 0, test.err)
			if diff := cmp.Diff(test.want, f.queue.asked); diff != "" {
				t.Errorf("requests to sync again (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPanic has a defect that one Ray meets: its sync fails, and the next goes on.
func TestPanic(t *testing.T) {
	f := newFixture(t)
	f.server.reject = func(string) *apierrors.StatusError { panic("a defect") }
	_, err := f.controller.syncSafely(f.context(), sampleKey)
	if err == nil || !strings.Contains(err.Error(), "a defect") {
		t.Errorf("the sync returned %v, want the panic", err)
	}
	f.queue.Add(sampleKey)
	if !f.controller.processNextWorkItem(f.context()) {
		t.Error("the worker ends")
	}
	if diff := cmp.Diff([]string{"default/sample-cluster rate limited"}, f.queue.asked); diff != "" {
		t.Errorf("requests to sync again (-want +got):\n%s", diff)
	}
	f.server.reject = nil
	f.queue.Add(sampleKey)
	f.controller.processNextWorkItem(f.context())
	if f.service() == nil {
		t.Error("the worker does not go on")
	}
}

// TestStoppedSync has a process that ends in the middle of a sync, of which nobody is told.
func TestStoppedSync(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(f.context())
	cancel()
	_, err := f.controller.reconciler.sync(ctx, sampleKey)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the sync returned %v, want that it was stopped", err)
	}
	if writes, events := f.takeWrites(), f.takeEvents(); len(writes)+len(events) > 0 {
		t.Errorf("there were writes %q and events %q", writes, events)
	}
	f.controller.requeue(klog.New(nil), sampleKey, 0, err)
	if len(f.queue.asked) > 0 {
		t.Errorf("there were requests to sync again: %q", f.queue.asked)
	}
}

func TestRunEndsWithoutCaches(t *testing.T) {
	f := newFixture(t)
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(f.context())
	cancel(why)
	if err := f.controller.Run(ctx, 1); !errors.Is(err, why) {
		t.Errorf("Run returned %v, want that it was told to stop", err)
	}
}
