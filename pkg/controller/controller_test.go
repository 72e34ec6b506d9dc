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
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/testutil"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestHandlers checks which Ray an event enqueues: the Ray that controls the object, or has a child with
// its name.
func TestHandlers(t *testing.T) {
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
	// A later version of the API does not change which Ray controls a child.
	owner := metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.Group + "/v2", Kind: "Ray", Name: "c", Controller: new(true)}
	controlled, released := &appsv1.Deployment{ObjectMeta: named("other")}, &appsv1.Deployment{ObjectMeta: named("other")}
	controlled.OwnerReferences = []metav1.OwnerReference{owner}
	tests := []struct {
		name   string
		notify func()
		want   string
	}{
		{"a created Ray", func() { rays.OnAdd(&rayv1.Ray{ObjectMeta: named("a")}, false) }, "a"},
		{"an updated Ray", func() { rays.OnUpdate(&rayv1.Ray{ObjectMeta: named("a")}, &rayv1.Ray{ObjectMeta: named("a")}) }, "a"},
		{"a deleted Ray", func() {
			rays.OnDelete(cache.DeletedObject[*rayv1.Ray]{OptionalObj: &rayv1.Ray{ObjectMeta: named("a")}})
		}, "a"},
		{"a created Service", func() { services.OnAdd(service, false) }, "a"},
		{"an updated Service", func() { services.OnUpdate(service, service) }, "a"},
		{"a deleted Service", func() { services.OnDelete(cache.DeletedObject[*corev1.Service]{OptionalObj: service}) }, "a"},
		{"an updated Deployment", func() { deployments.OnUpdate(worker, worker) }, "b"},
		{"a Deployment with another name that a Ray controls", func() { deployments.OnAdd(controlled, false) }, "c"},
		{"a Deployment that the Ray no longer controls", func() { deployments.OnUpdate(controlled, released) }, "c"},
		{"a deleted Deployment with another name that a Ray controls", func() {
			deployments.OnDelete(cache.DeletedObject[*appsv1.Deployment]{OptionalObj: controlled})
		}, "c"},
		{"a Deployment of which the watch missed the deletion", func() {
			deployments.OnDelete(cache.DeletedObject[*appsv1.Deployment]{FinalStateUnknown: &cache.DeletedFinalStateUnknown{Key: namespace + "/b-worker"}})
		}, "b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.controller.running.Store(false)
			test.notify()
			if f.queue.Len() > 0 {
				t.Errorf("a standby replica has %d Rays in its queue, want none", f.queue.Len())
			}
			f.controller.running.Store(true)
			test.notify()
			if f.queue.Len() == 0 {
				t.Fatal("no Ray was enqueued")
			}
			key, _ := f.queue.Get()
			f.queue.Done(key)
			if want := (cache.ObjectName{Namespace: namespace, Name: test.want}); key != want || f.queue.Len() > 0 {
				t.Errorf("enqueued %v and %d other Rays, want %v", key, f.queue.Len(), want)
			}
		})
	}
}

// TestCreationInWatch checks that only the creation of a Ray that the leader sees makes the Ray new: a
// child of any other Ray may exist already.
func TestCreationInWatch(t *testing.T) {
	for _, leader := range []bool{false, true} {
		t.Run(fmt.Sprintf("leader %t", leader), func(t *testing.T) {
			f := newFixture(t)
			f.restart()
			f.controller.running.Store(leader)
			ray := f.ray()
			rayHandler(f.controller).OnAdd(ray, false)
			if got := f.controller.reconciler.memory.isNew(ray); got != leader {
				t.Errorf("the Ray is new: %t, want %t", got, leader)
			}
		})
	}
}

func TestRequeue(t *testing.T) {
	RegisterMetrics(metrics.NewKubeRegistry().MustRegister) // or errors are not counted
	var (
		rejected    = failed(reasonFailedCreate, "Service", "x", overQuota())
		conflict    = failed(reasonFailedUpdate, "Service", "x", apierrors.NewConflict(rayv1.Resource("rays"), "x", errors.New("x")))
		isBlocked   = blocked(reasonAlreadyExists, "Service", "x", "x")
		rateLimited = []string{"default/sample-cluster rate limited"}
		soon        = []string{"default/sample-cluster after 5ms"}
	)
	tests := []struct {
		name  string
		after time.Duration
		err   error
		want  []string
		// wantErrors is the number of errors that the metrics count.
		wantErrors float64
	}{
		{"a successful sync", 0, nil, nil, 0},
		{"a stale cache", 0, fmt.Errorf("x: %w", errStale), soon, 0},
		{"a blocked Ray", 0, isBlocked, []string{"default/sample-cluster after 10s"}, 0},
		{"a rejected write", 0, rejected, rateLimited, 1},
		{"a rejected write and a delayed status", 2 * time.Second, rejected, append(rateLimited, "default/sample-cluster after 2s"), 1},
		{"a conflict", 0, conflict, soon, 0},
		{"a blocked Ray with a stale cache", 0, errors.Join(isBlocked, errStale), soon, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			syncErrors.Reset()
			f.controller.requeue(klog.New(nil), sampleKey, test.after, test.err)
			if diff := cmp.Diff(test.want, f.queue.asked); diff != "" {
				t.Errorf("requeues (-want +got):\n%s", diff)
			}
			got, err := testutil.GetCounterMetricValue(syncErrors.WithLabelValues(reasonFailedCreate))
			if err != nil || got != test.wantErrors {
				t.Errorf("counted %v errors, want %v; %v", got, test.wantErrors, err)
			}
		})
	}
}

// TestStaleRetryDelay checks that the delay after a sync with a stale cache grows up to maxStaleRetryDelay,
// and is reset by a sync with current caches.
func TestStaleRetryDelay(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		f.controller.requeue(klog.New(nil), sampleKey, 0, errStale)
	}
	f.controller.requeue(klog.New(nil), sampleKey, 0, nil)
	f.controller.requeue(klog.New(nil), sampleKey, 0, errStale)
	asked := f.queue.asked
	want := []string{"default/sample-cluster after 5ms", "default/sample-cluster after 10ms", "default/sample-cluster after 1s", "default/sample-cluster after 5ms"}
	got := []string{asked[0], asked[1], asked[19], asked[20]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requeues 1, 2, 20 and 21 (-want +got):\n%s", diff)
	}
}

// TestPanic has a bug that one Ray triggers. Its sync fails, and the worker continues.
func TestPanic(t *testing.T) {
	f := newFixture(t)
	f.server.reject = func(string) *apierrors.StatusError { panic("a bug") }
	_, err := f.controller.syncSafely(f.context(), sampleKey)
	if !errors.Is(err, errPanic) || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("sync returned %v, want the panic", err)
	}
	f.queue.Add(sampleKey)
	if !f.controller.processNextWorkItem(f.context()) {
		t.Error("the worker stopped")
	}
	if diff := cmp.Diff([]string{"default/sample-cluster rate limited"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}
	f.server.reject = nil
	f.queue.Add(sampleKey)
	f.controller.processNextWorkItem(f.context())
	if f.service() == nil {
		t.Error("the worker did not sync the Ray")
	}
}

// TestCanceledSync checks that a shutdown during a sync is not reported.
func TestCanceledSync(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(f.context())
	cancel()
	_, err := f.controller.reconciler.sync(ctx, sampleKey)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("sync returned %v, want that it was canceled", err)
	}
	f.checkWritesAndEvents(nil, nil)
	f.controller.requeue(klog.New(nil), sampleKey, 0, err)
	if len(f.queue.asked) > 0 {
		t.Errorf("requeues %q, want none", f.queue.asked)
	}
}

func TestRunWithoutSyncedCaches(t *testing.T) {
	f := newFixture(t)
	cause := errors.New("shutdown")
	ctx, cancel := context.WithCancelCause(f.context())
	cancel(cause)
	if err := f.controller.Run(ctx, 1); !errors.Is(err, cause) {
		t.Errorf("Run returned %v, want %v", err, cause)
	}
}
