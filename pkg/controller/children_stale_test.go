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
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// setHeadPorts sets the ports of the head to a single one.
func setHeadPorts(ray *rayv1.Ray) {
	ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 1}}
}

// TestSyncWaitsForOwnWrites checks that a sync does nothing until all caches show the writes of the
// previous sync.
func TestSyncWaitsForOwnWrites(t *testing.T) {
	resources := []string{rayResource, serviceResource, deploymentResource}
	for i, stale := range resources {
		others := slices.Delete(slices.Clone(resources), i, i+1)
		t.Run("the cache lacks created "+stale, func(t *testing.T) {
			f := newFixture(t)
			f.checkWaits(stale, others)
		})
		t.Run("the cache lacks updated "+stale, func(t *testing.T) {
			f := newHealthyFixture(t)
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Ports = nil })
			f.deliver()
			f.checkWaits(stale, others)
		})
	}
}

// checkWaits syncs, and checks that the next sync makes no request until the cache of one resource shows
// the writes.
func (f *fixture) checkWaits(stale string, others []string) {
	f.t.Helper()
	if err := f.sync(); err != nil {
		f.t.Fatal(err)
	}
	f.takeWrites()
	f.takeEvents()
	f.deliver(others...)
	f.checkSyncWithoutReads()
	f.deliver(stale)
	f.checkSync(nil, nil, nil)
}

// checkSyncWithoutReads checks that a sync makes no request because the cache is known to be stale.
func (f *fixture) checkSyncWithoutReads() {
	f.t.Helper()
	f.server.reads = nil
	if err := f.sync(); !isStale(err) {
		f.t.Errorf("sync returned %v, want a stale cache", err)
	}
	if reads := f.server.reads; len(reads) > 0 {
		f.t.Errorf("sync made the reads %q although the cache is known to be stale", reads)
	}
	if writes, events := f.takeWrites(), f.takeEvents(); len(writes)+len(events) > 0 {
		f.t.Errorf("sync made the writes %q and recorded the events %q", writes, events)
	}
}

// TestSyncWaitsForOwnDeletion removes the workers from the spec, and adds them again before the cache
// shows that they are deleted.
func TestSyncWaitsForOwnDeletion(t *testing.T) {
	f := newHealthyFixture(t)
	worker := f.ray().Spec.Worker
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	f.deliver()
	f.checkSync(nil, []string{deleteWorker, updateStatus},
		[]string{"Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"})
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = worker })
	f.deliver(rayResource)
	f.checkSync(isStale, nil, nil)
	f.deliver(deploymentResource)
	f.checkSync(nil, []string{createWorker, updateStatus},
		[]string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"})
	f.checkHealth("False RolloutIncomplete: worker: the Deployment has not been observed yet")
}

// TestStaleRay has a new leader with a cached Ray that is older than the one for which another leader
// has written the children.
func TestStaleRay(t *testing.T) {
	tests := []struct {
		name          string
		before, after func(*rayv1.Ray)
		// stale are the caches that do not show the change yet.
		stale []string
	}{
		{
			name:  "older replicas do not replace newer ones",
			after: func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			stale: []string{rayResource},
		},
		{
			name:  "an older template does not replace a newer one",
			after: func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "new" },
			stale: []string{rayResource},
		},
		{
			name:  "older ports do not replace newer ones",
			after: setHeadPorts,
			stale: []string{rayResource},
		},
		{
			name:   "workers that the older Ray does not have are not deleted",
			before: func(ray *rayv1.Ray) { ray.Spec.Worker = nil },
			after:  func(ray *rayv1.Ray) { ray.Spec.Worker = readSample(t).Spec.Worker },
			stale:  []string{rayResource},
		},
		{
			name:  "a newer Deployment that the cache does not show is not replaced",
			after: func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			stale: []string{rayResource, deploymentResource},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.before != nil {
				f.editRay(test.before)
			}
			seen := len(f.server.history)
			f.makeHealthy()
			f.editRay(test.after)
			f.makeHealthy()
			f.restartWithStaleCaches(seen, test.stale...)
			f.checkChangesNothing()
			f.deliver()
			f.checkSteadyState(nil)
		})
	}
}

// checkChangesNothing checks that a sync with a stale cache changes nothing.
func (f *fixture) checkChangesNothing() {
	f.t.Helper()
	before := f.children()
	f.checkSync(isStale, nil, nil)
	if diff := cmp.Diff(before, f.children()); diff != "" {
		f.t.Errorf("children (-before +after):\n%s", diff)
	}
}

// TestStaleRayWithoutRecord has a new leader with a stale cache of Rays, and children that do not show
// it: their record is missing, or they do not exist.
func TestStaleRayWithoutRecord(t *testing.T) {
	tests := []struct {
		name     string
		change   func(*rayv1.Ray)
		after    func(*fixture)
		noStatus bool
	}{
		{
			name:   "workers that a newer Ray does not have are not created again",
			change: func(ray *rayv1.Ray) { ray.Spec.Worker = nil },
		},
		{
			name:   "a Service without a record does not get older ports",
			change: setHeadPorts,
			after:  changeService(func(s *corev1.Service) { s.Annotations = nil }),
		},
		{
			name:     "workers without a record do not get older replicas even if the cache shows no status",
			change:   func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			after:    changeWorker(func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.RayGeneration = 0 }) }),
			noStatus: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			seen := len(f.server.history)
			f.makeHealthy()
			if !test.noStatus {
				seen = len(f.server.history)
			}
			f.editRay(test.change)
			f.makeHealthy()
			if test.after != nil {
				test.after(f)
			}
			f.restartWithStaleCaches(seen, rayResource)
			f.checkChangesNothing()
			f.checkSyncWithoutReads()
			f.deliver()
			if test.after == nil { // there is no record to write again
				f.checkSteadyState(nil)
			}
			f.converge()
		})
	}
}

// TestConflicts has writes that are based on an old version of a child or a Ray. They are not failures,
// so they are not reported.
func TestConflicts(t *testing.T) {
	removeWorkers := changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	tests := []struct {
		name string
		// The caches show change, but not later.
		change, later func(*fixture)
		wantWrites    []string
	}{
		{
			name:       "an update of a Deployment",
			change:     changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }),
			later:      changeWorker(func(d *appsv1.Deployment) { d.Annotations["note"] = "x" }),
			wantWrites: []string{updateWorker},
		},
		{
			name:       "an update of the Service",
			change:     changeService(func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[1:] }),
			later:      changeService(func(s *corev1.Service) { s.Annotations["note"] = "x" }),
			wantWrites: []string{updateService},
		},
		{
			name:       "a deletion of workers that the Ray no longer controls",
			change:     removeWorkers,
			later:      changeWorker(func(d *appsv1.Deployment) { d.OwnerReferences = nil }),
			wantWrites: []string{deleteWorker},
		},
		{
			name:   "a deletion of workers that another client replaced",
			change: removeWorkers,
			later: func(f *fixture) {
				f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
				f.put(&appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleWorker), nil)})
			},
			wantWrites: []string{deleteWorker},
		},
		{
			name: "an update of the status",
			change: func(f *fixture) {
				f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
			},
			later:      changeRay(func(ray *rayv1.Ray) { ray.Labels = map[string]string{"note": "x"} }),
			wantWrites: []string{updateStatus},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			test.change(f)
			f.deliver()
			test.later(f)
			before := f.server.revision
			f.checkSync(isStale, test.wantWrites, nil)
			if f.server.revision != before {
				t.Error("a write succeeded")
			}
			f.converge()
			f.takeEvents()
			f.restart()
			f.checkSteadyState(nil)
		})
	}
}

// TestStaleChildren has caches that do not show children, or show deleted ones.
func TestStaleChildren(t *testing.T) {
	t.Run("children that the cache does not show are not created again", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.restartWithStaleCaches(0, deploymentResource, serviceResource)
		before := f.server.revision
		f.checkSync(nil, nil, nil)
		if f.server.revision != before {
			t.Error("sync made a write")
		}
	})
	t.Run("a cache that is being filled causes no status of an earlier state", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.restartWithStaleCaches(0, deploymentResource)
		f.checkSync(nil, nil, nil)
		f.deliverNext(deploymentResource) // the head as it was created
		f.checkSync(isStale, nil, nil)
		f.deliver()
		f.checkSteadyState(nil)
	})
	t.Run("an update of a deleted child is not a failure", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.checkSync(isStale, []string{updateWorker}, nil)
		f.makeHealthy()
	})
	t.Run("a deletion of deleted workers is not reported", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.deliver()
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.checkSync(nil, []string{deleteWorker, updateStatus}, nil)
		f.checkSteadyState(nil)
	})
}

// TestDeletedRayInCache has a cache that still shows a deleted Ray.
func TestDeletedRayInCache(t *testing.T) {
	removePod := func(f *fixture) {
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
		f.deliver()
	}
	t.Run("its status cannot be written, which is not reported", func(t *testing.T) {
		f := newHealthyFixture(t)
		removePod(f)
		f.drop(rayResource, rayName)
		f.checkSync(isStale, []string{updateStatus}, nil)
	})
	t.Run("its children are not written if their record is invalid", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editService(func(s *corev1.Service) { editLastApplied(s, func(r *lastApplied) { r.RayGeneration = 99 }) })
		f.deliver()
		f.drop(rayResource, rayName)
		f.checkSync(isStale, nil, nil)
	})
	t.Run("its children are not created again while it is being deleted", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Finalizers = []string{"example.com/wait"} })
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.deliver()
		f.drop(rayResource, rayName)
		f.checkSync(isStale, nil, nil)
	})
	t.Run("its children are not created again if a new Ray has the same name", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.deliver()
		f.drop(rayResource, rayName)
		f.put(readSample(t))
		f.checkSync(isStale, nil, nil)
	})
	t.Run("its status is not written to a new Ray with the same name", func(t *testing.T) {
		f := newHealthyFixture(t)
		removePod(f)
		f.drop(rayResource, rayName)
		f.put(readSample(t))
		f.checkSync(isStale, []string{updateStatus}, nil)
		if conditions := f.ray().Status.Conditions; len(conditions) > 0 {
			t.Errorf("the new Ray has the conditions %v", conditions)
		}
		f.deliver()
		if err := f.sync(); !isOnlyBlocked(err) {
			t.Errorf("sync returned %v, want that the children of the deleted Ray block it", err)
		}
	})
}
