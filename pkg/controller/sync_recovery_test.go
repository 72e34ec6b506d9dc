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
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestStaleLeaderDeletesNothing has workers that were removed and added again while the record of their
// Deployment stayed the same. A new leader with a cache from between must not delete them.
func TestStaleLeaderDeletesNothing(t *testing.T) {
	f := newHealthyFixture(t)
	worker := f.ray().Spec.Worker.DeepCopy()
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	between := len(f.server.history)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = worker })
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	f.takeWrites()
	f.restartWithStaleCaches(between, rayResource)
	f.checkSync(isStale, nil, nil)
	if f.deployment(rayv1.RoleWorker) == nil {
		t.Error("the workers were deleted")
	}
}

// TestRecreatedRay has a Ray that is deleted and created again, with the same problem, before a sync
// sees the deletion. The problem of the new Ray is reported.
func TestRecreatedRay(t *testing.T) {
	f := newFixture(t)
	f.reject(overQuota(), createService)
	want := "FailedCreate Service \"sample-cluster-head\" could not be created: " + overQuotaMessage
	f.checkRejected([]string{createService, createHead, createWorker, updateStatus}, want)
	f.drop(rayResource, rayName)
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		f.drop(deploymentResource, deploymentName(role))
	}
	f.put(readSample(t))
	f.deliver()
	if err := f.sync(); !apierrors.IsForbidden(err) {
		t.Fatalf("the sync returned %v", err)
	}
	if events := f.takeEvents(); !slices.Contains(events, "Warning "+want) {
		t.Errorf("events %q, want the problem among them", events)
	}
}

// TestProblemRecursWithoutStatus has a Ray with a status that the API server rejects. A problem that
// ends and recurs is reported again, since events are the only report.
func TestProblemRecursWithoutStatus(t *testing.T) {
	f := newHealthyFixture(t)
	invalid := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	rejectStatusAnd := func(other string) {
		f.server.reject = func(write string) *apierrors.StatusError {
			switch {
			case strings.HasPrefix(write, updateStatus):
				return invalid
			case other != "" && strings.HasPrefix(write, other):
				return overQuota()
			default:
				return nil
			}
		}
	}
	for i := range 3 {
		f.drop(serviceResource, serviceKey)
		f.deliver()
		rejectStatusAnd(createService)
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Fatalf("the sync returned %v", err)
		}
		if events := f.takeEvents(); len(events) != 1 || !strings.HasPrefix(events[0], "Warning FailedCreate ") {
			t.Errorf("time %d: events %q, want the problem", i+1, events)
		}
		rejectStatusAnd("")
		f.setAvailableWorkers(1 + int32(i)%2) // another status, so that it is not the stored one
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.takeEvents()
		f.clock.Step(time.Hour)
	}
}

// TestAlteredStatusIsErased has an API server that drops a field of the status, and another client that
// erases the status. The operator writes it again.
func TestAlteredStatusIsErased(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.prune = func(status *rayv1.RayStatus) { status.StartTime = nil }
	f.setAvailableWorkers(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)
	edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status = rayv1.RayStatus{} })
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)
}

// TestUnreadableDeployment has a Deployment that cannot be read. Its counts stay as they were.
func TestUnreadableDeployment(t *testing.T) {
	f := newHealthyFixture(t)
	kubeClient, err := kubernetes.NewForConfig(&rest.Config{Host: "http://fake", Transport: noReads{f.server}, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	f.controller.reconciler.kubeClient = kubeClient
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { delete(d.Labels, rayv1.LabelName) })
	f.deliver()
	if err := f.sync(); err == nil {
		t.Fatal("the sync has no error")
	}
	if got := f.ray().Status.Worker; got == nil || got.Replicas != 3 || got.AvailableReplicas != 3 {
		t.Errorf("the status has the workers %v, want three as before", got)
	}
	if got := f.health(); !strings.HasPrefix(got, "False FailedGet") {
		t.Errorf("Health is %q", got)
	}
}

// noReads fails the reads of a server.
type noReads struct{ server *fakeServer }

// RoundTrip implements http.RoundTripper.
func (n noReads) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return nil, errors.New("i/o timeout")
	}
	return n.server.RoundTrip(r)
}

// TestUnrelatedObjectWithoutLabel has an object with the name of the workers' Deployment that the Ray
// neither has nor needs. It causes no more syncs.
func TestUnrelatedObjectWithoutLabel(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	f.makeHealthy()
	f.put(&appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleWorker), nil)})
	f.restart()
	f.checkSync(nil, nil, nil)
	if len(f.queue.asked) > 0 {
		t.Errorf("the Ray is synced again: %q", f.queue.asked)
	}
}

// TestFailureBesideConflict has a child that is rejected and a status update that conflicts. The failure
// decides when the Ray is synced again.
func TestFailureBesideConflict(t *testing.T) {
	f := newFixture(t)
	f.server.reject = func(write string) *apierrors.StatusError {
		switch {
		case strings.HasPrefix(write, createService):
			return overQuota()
		case strings.HasPrefix(write, updateStatus):
			return conflict(objectID{resource: rayResource, name: rayName}, "changed")
		default:
			return nil
		}
	}
	if err := f.sync(); !apierrors.IsForbidden(err) || isStale(err) {
		t.Errorf("the sync returned %v, want only the failure", err)
	}
}
