package controller

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestOwnWritesAreAwaited checks that a sync which would read an older state than its
// predecessor has written does nothing, not even ask, whatever the cache that is behind.
func TestOwnWritesAreAwaited(t *testing.T) {
	resources := []string{rayResource, serviceResource, deploymentResource}
	for i, last := range resources {
		others := slices.Delete(slices.Clone(resources), i, i+1)
		t.Run(last+" that were created", func(t *testing.T) {
			f := newFixture(t)
			f.checkAwaits(last, others)
		})
		t.Run(last+" that were updated", func(t *testing.T) {
			f := newHealthyFixture(t)
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Ports = nil })
			f.deliver()
			f.checkAwaits(last, others)
		})
	}
}

// TestOwnDeletionIsAwaited has workers that are given up, and wanted again before the cache shows
// that they are gone. What it shows is complete, and no longer true.
func TestOwnDeletionIsAwaited(t *testing.T) {
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
	if got := f.health(); got == healthy {
		t.Errorf("Health is %q, and no worker runs", got)
	}
}

// checkAwaits syncs, and checks that the next sync does nothing until the last cache shows
// what that has written.
func (f *fixture) checkAwaits(last string, others []string) {
	f.t.Helper()
	if err := f.sync(); err != nil {
		f.t.Fatal(err)
	}
	f.takeWrites()
	f.takeEvents()
	f.deliver(others...)
	f.checkSync(isStale, nil, nil)
	if len(f.server.reads) > 0 {
		f.t.Errorf("reads %q, though %s are behind", f.server.reads, last)
	}
	f.deliver(last)
	f.checkSync(nil, nil, nil)
}

// TestOlderGenerations has a new leader whose cache of Rays is behind what its predecessor
// has written children for.
func TestOlderGenerations(t *testing.T) {
	addWorker := func(ray *rayv1.Ray) { ray.Spec.Worker = readSample(t).Spec.Worker }
	tests := []struct {
		name   string
		before func(*rayv1.Ray)
		after  func(*rayv1.Ray)
		// behind are the caches that do not show the change yet.
		behind     []string
		wantWrites []string
	}{
		{
			name:   "an older scale does not replace a newer one",
			after:  func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			behind: []string{rayResource},
		},
		{
			name:   "an older template does not replace a newer one",
			after:  func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "new" },
			behind: []string{rayResource},
		},
		{
			name: "older ports do not replace newer ones",
			after: func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 1}}
			},
			behind: []string{rayResource},
		},
		{
			name:   "workers that an older Ray does not have are not deleted",
			before: func(ray *rayv1.Ray) { ray.Spec.Worker = nil },
			after:  addWorker,
			behind: []string{rayResource},
		},
		{
			name:   "a newer Deployment that no cache shows is not replaced",
			after:  func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			behind: []string{rayResource, deploymentResource},
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
			want := f.children()

			f.restartBehind(seen, test.behind...)
			f.checkSync(isStale, test.wantWrites, nil)
			if diff := cmp.Diff(want, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.deliver()
			f.checkSteadyState(nil)
		})
	}
}

// TestOlderGenerationsUnrecorded has a new leader whose cache of Rays is behind, and children
// that do not say so.
func TestOlderGenerationsUnrecorded(t *testing.T) {
	tests := []struct {
		name          string
		change        func(*rayv1.Ray)
		after         func(*fixture)
		knowsNoStatus bool
	}{
		{
			name:   "workers that a newer Ray does not have are not created again",
			change: func(ray *rayv1.Ray) { ray.Spec.Worker = nil },
		},
		{
			name: "a Service whose record somebody removed does not get older ports",
			change: func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 1}}
			},
			after: changeService(func(s *corev1.Service) { s.Annotations = nil }),
		},
		{
			name:   "nor do workers get an older scale, also if the cache shows no status yet",
			change: func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) },
			after:  changeWorker(func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.RayGeneration = 0 }) }),

			knowsNoStatus: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			seen := len(f.server.history)
			f.makeHealthy()
			if !test.knowsNoStatus {
				seen = len(f.server.history)
			}
			f.editRay(test.change)
			f.makeHealthy()
			if test.after != nil {
				test.after(f)
			}
			want := f.children()

			f.restartBehind(seen, rayResource)
			f.checkSync(isStale, nil, nil)
			if diff := cmp.Diff(want, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.server.reads = nil
			f.checkSync(isStale, nil, nil)
			if len(f.server.reads) > 0 {
				t.Errorf("reads %q, though the cache is known to be behind", f.server.reads)
			}
			f.converge()
		})
	}
}

// TestConflicts has writes that are based on a child, or a Ray, which has changed since. They
// are no failure, so nobody is told of them.
func TestConflicts(t *testing.T) {
	tests := []struct {
		name string
		// change is visible, later is not.
		change, later func(*fixture)
		wantWrites    []string
	}{
		{
			name:       "an update of a Deployment",
			change:     func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }) },
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
			name:       "a deletion of workers",
			change:     func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil }) },
			later:      changeWorker(func(d *appsv1.Deployment) { d.OwnerReferences = nil }),
			wantWrites: []string{deleteWorker},
		},
		{
			name: "a deletion of workers that were replaced by somebody else's",
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
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
			later:      func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Labels = map[string]string{"note": "x"} }) },
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
				t.Error("something was written")
			}
			f.converge()
			f.takeEvents()
			f.restart()
			f.checkSteadyState(nil)
		})
	}
}

// checkTakesUnseenWorkers creates children, of which no status is written, and removes the
// workers when they have lost their label.
func (f *fixture) checkTakesUnseenWorkers() {
	f.t.Helper()
	if err := f.sync(); !apierrors.IsForbidden(err) {
		f.t.Errorf("the sync returned %v, want that its status was refused", err)
	}
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Labels = nil })
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	f.reject(overQuota(), deleteWorker)
	f.deliver()
	if err := f.sync(); !apierrors.IsForbidden(err) {
		f.t.Errorf("the sync returned %v, want that the deletion was refused", err)
	}
	f.server.reject = nil
	f.converge()
	if f.deployment(rayv1.RoleWorker) != nil {
		f.t.Error("the workers are left")
	}
}

// TestUnseenChildren has children that exist, though the cache does not show them.
func TestUnseenChildren(t *testing.T) {
	t.Run("workers that a newer Ray does not have are not made for an older one", func(t *testing.T) {
		f := newHealthyFixture(t)
		seen := len(f.server.history)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.converge()
		f.takeWrites()
		f.takeEvents()

		f.restartBehind(seen, rayResource)
		f.checkSync(isStale, nil, nil)
		f.takeWrites()
		f.checkSync(isStale, nil, nil)
		if len(f.server.reads) > 0 {
			t.Errorf("reads %q before the cache has caught up", f.server.reads)
		}
		f.deliver()
		f.checkSteadyState(nil)
	})
	t.Run("a cache without Deployments leads to no second ones", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.restartBehind(0, deploymentResource, serviceResource)
		before := f.server.revision
		f.checkSync(nil, nil, nil)
		if f.server.revision != before {
			t.Error("something was written")
		}
	})
	t.Run("a cache that catches up leads to no status of the past", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.restartBehind(0, deploymentResource)
		f.checkSync(nil, nil, nil)
		f.deliverNext(deploymentResource) // the head, as it was created
		f.checkSync(isStale, nil, nil)
		f.deliver()
		f.checkSteadyState(nil)
	})
	t.Run("children that have lost the label by which they are watched get it back", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editService(func(s *corev1.Service) { s.Labels = nil })
		f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Labels = nil })
		f.deliver()
		f.checkSync(nil,
			[]string{updateHead, updateService},
			reverted("deployment sample-cluster-head", "labels", "service sample-cluster-head", "labels"))
		f.checkSteadyState(nil)
	})
	t.Run("workers that have lost the label are deleted with the rest of them", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Labels = nil })
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.deliver()
		f.checkSync(nil, []string{deleteWorker, updateStatus},
			[]string{"Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"})
		f.checkSteadyState(nil)
	})
	t.Run("also if that fails at first", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Labels = nil })
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.deliver()
		f.reject(overQuota(), deleteWorker)
		f.checkSync(apierrors.IsForbidden, []string{deleteWorker, updateStatus},
			[]string{"Warning FailedDelete Deployment \"sample-cluster-worker\" could not be deleted: " + overQuotaMessage})
		f.server.reject = nil
		f.deliver()
		f.checkSync(nil, []string{deleteWorker, updateStatus},
			[]string{"Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"})
		if worker := f.ray().Status.Worker; worker != nil {
			t.Errorf("the status still has workers: %v", worker)
		}
		f.checkSteadyState(nil)
	})
	t.Run("also if no status ever told of them, and it fails at first", func(t *testing.T) {
		f := newFixture(t)
		f.reject(overQuota(), updateStatus)
		f.checkTakesUnseenWorkers()
	})
	t.Run("a child that is gone between two requests is no failure", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.checkSync(isStale, []string{updateWorker}, nil)
		f.makeHealthy()
	})
	t.Run("workers that are gone already need no deletion", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.deliver()
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.checkSync(nil, []string{deleteWorker, updateStatus}, nil)
		f.checkSteadyState(nil)
	})
	t.Run("a Ray that is gone gets no status, and no event", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
		f.deliver()
		f.drop(rayResource, rayName)
		f.checkSync(isStale, []string{updateStatus}, nil)
	})
	t.Run("a Ray of the same name does not get the status of its predecessor", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
		f.deliver()
		f.drop(rayResource, rayName)
		f.put(readSample(t))
		f.checkSync(isStale, []string{updateStatus}, nil)
		if conditions := f.ray().Status.Conditions; len(conditions) > 0 {
			t.Errorf("the new Ray has conditions %v", conditions)
		}
		f.deliver()
		if err := f.sync(); !errors.Is(err, errBlocked) {
			t.Errorf("the sync returned %v, want that it waits for the predecessor's children", err)
		}
	})
}
