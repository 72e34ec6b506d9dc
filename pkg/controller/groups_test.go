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
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	headUpdated       = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template"
	workerUpdated     = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"
	workerReplaced    = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template, strategy"
	workerScaled      = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"
	headRejected      = `Deployment "sample-cluster-head" could not be updated: ` + overQuotaMessage
	workerRejected    = `Deployment "sample-cluster-worker" could not be updated: ` + overQuotaMessage
	headUnobserved    = "head: the Deployment's newest generation has not been observed yet"
	workerUnobserved  = "worker: the Deployment's newest generation has not been observed yet"
	workerWaits       = "worker: not updated: waiting for the head"
	headIsNotUpdated  = "head: not updated: an update of another group was rejected"
	workerIsNotNeeded = "worker: not created: waiting for the head"
)

// setImages sets the images of both groups.
func setImages(image string) func(*rayv1.Ray) {
	return func(ray *rayv1.Ray) {
		ray.Spec.Head.Template.Spec.Containers[0].Image = image
		ray.Spec.Worker.Template.Spec.Containers[0].Image = image
	}
}

// setAll sets the images of both groups, and a port and a number of replicas.
func setAll(ray *rayv1.Ray) {
	setImages("new")(ray)
	setHeadPorts(ray)
	ray.Spec.Worker.Replicas = new(int32(5))
}

// rollOutHead sets the status of the head's Deployment as the Deployment controller does when it has
// rolled out.
func (f *fixture) rollOutHead() {
	f.t.Helper()
	f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.ObservedGeneration = d.Generation })
	f.deliver()
}

// checkImages checks the images of both groups.
func (f *fixture) checkImages(wantHead, wantWorker string) {
	f.t.Helper()
	head, worker := container(f.deployment(rayv1.RoleHead)).Image, container(f.deployment(rayv1.RoleWorker)).Image
	if head != wantHead || worker != wantWorker {
		f.t.Errorf("the images are %q and %q, want %q and %q", head, worker, wantHead, wantWorker)
	}
}

// checkPending checks whether the record of the workers says that a new template waits.
func (f *fixture) checkPending(want bool) {
	f.t.Helper()
	if recorded := readLastApplied(f.deployment(rayv1.RoleWorker)); recorded.TemplatePending != want {
		f.t.Errorf("the record is %+v, want templatePending %t", recorded, want)
	}
}

// TestAllOrNothing changes the templates of both groups, and more, while the API server rejects a write.
func TestAllOrNothing(t *testing.T) {
	t.Run("workers that are rejected leave everything as it was", func(t *testing.T) {
		f := newHealthyFixture(t)
		before := f.children()
		f.editRay(setAll)
		f.deliver()
		f.reject(overQuota(), dryRunWorker)
		f.checkSync(apierrors.IsForbidden, []string{dryRunWorker, updateStatus}, []string{"Warning FailedUpdate " + workerRejected})
		f.checkHealth("False FailedUpdate: " + headIsNotUpdated + "; worker: " + workerRejected)
		f.checkSteadyState(apierrors.IsForbidden)
		f.checkRestart(apierrors.IsForbidden)
		if diff := cmp.Diff(before, f.children()); diff != "" {
			t.Errorf("children (-before +after):\n%s", diff)
		}

		f.server.reject = nil
		f.clock.Step(time.Minute)
		f.deliver()
		f.checkSync(nil, []string{dryRunWorker, updateHead, updateWorker, updateService, updateStatus},
			[]string{headUpdated + ", minReadySeconds", workerScaled, "Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports"})
		f.rollOut()
		f.makeHealthy()
		f.checkImages("new", "new")
	})
	t.Run("a head that is rejected leaves the templates and the ports", func(t *testing.T) {
		f := newHealthyFixture(t)
		want := f.children()
		f.editRay(setAll)
		f.deliver()
		f.reject(overQuota(), updateHead)
		f.checkSync(apierrors.IsForbidden, []string{dryRunWorker, updateHead, updateWorker, updateStatus},
			[]string{workerScaled, "Warning FailedUpdate " + headRejected})
		f.checkHealth("False FailedUpdate: head: " + headRejected + "; " + workerWaits)
		f.checkPending(true)
		f.checkSteadyState(apierrors.IsForbidden)
		f.checkRestart(apierrors.IsForbidden)
		want.Worker.Spec.Replicas = new(int32(5))
		if diff := cmp.Diff(want, f.children()); diff != "" {
			t.Errorf("children (-want +got):\n%s", diff)
		}

		f.server.reject = nil
		f.converge()
		f.rollOut()
		f.makeHealthy()
		f.checkImages("new", "new")
		f.checkPending(false)
	})
	t.Run("a dry run that conflicts is repeated", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setImages("new"))
		f.deliver()
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations["note"] = "x" })
		f.checkSync(isStale, []string{dryRunWorker}, nil)
		f.deliver()
		f.checkSync(nil, []string{dryRunWorker, updateHead, updateStatus}, []string{headUpdated})
	})
	t.Run("the user takes back what was rejected", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setImages("new"))
		f.deliver()
		f.reject(overQuota(), dryRunWorker)
		f.checkSync(apierrors.IsForbidden, []string{dryRunWorker, updateStatus}, []string{"Warning FailedUpdate " + workerRejected})
		f.editRay(setImages("rayproject/examples:1"))
		f.deliver()
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth(healthy)
		f.checkSteadyState(nil)
	})
}

// TestWithoutDryRun has changes that need no dry run, since only one template is new.
func TestWithoutDryRun(t *testing.T) {
	runSyncTests(t, []syncTest{
		{
			name: "a new template of the head, and new replicas of the workers",
			change: changeRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Image = "new"
				ray.Spec.Worker.Replicas = new(int32(5))
			}),
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvents: []string{headUpdated, workerScaled},
			wantChildren: func(c *childSet) {
				container(c.Head).Image = "new"
				c.Worker.Spec.Replicas = new(int32(5))
			},
			wantHealth: "False RolloutIncomplete: " + headUnobserved + "; " + workerUnobserved,
		},
		{
			name: "a new template of the workers, and no head, without which the workers are scaled to 0",
			change: changeRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Replicas = new(int32(0))
				ray.Spec.Worker.Template.Spec.Containers[0].Image = "new"
			}),
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: replicas", workerScaled},
			wantChildren: func(c *childSet) {
				c.Head.Spec.Replicas, c.Worker.Spec.Replicas = new(int32(0)), new(int32(0))
			},
			wantHealth: "False Suspended: suspended, since spec.head.replicas is 0; " + headUnobserved + "; " + workerWaits,
		},
		{
			name: "new templates, and workers that are removed",
			change: changeRay(func(ray *rayv1.Ray) {
				setImages("new")(ray)
				ray.Spec.Worker = nil
			}),
			wantWrites: []string{updateHead, deleteWorker, updateStatus},
			wantEvents: []string{headUpdated, "Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"},
			wantChildren: func(c *childSet) {
				container(c.Head).Image = "new"
				c.Worker = nil
			},
			wantHealth: "False RolloutIncomplete: " + headUnobserved,
		},
		{
			name:       "templates that another client changed, which are reverted at once",
			change:     func(f *fixture) { f.editBoth(func(d *appsv1.Deployment) { container(d).Image = "other" }) },
			wantWrites: []string{updateHead, updateWorker},
			wantEvents: reverted("deployment sample-cluster-head", "template", "deployment sample-cluster-worker", "template"),
		},
		{
			name: "new templates, and workers that do not exist",
			change: func(f *fixture) {
				f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
				f.editRay(setImages("new"))
			},
			wantWrites: []string{updateHead, createWorker, updateStatus},
			wantEvents: []string{headUpdated, "Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"},
			wantChildren: func(c *childSet) {
				container(c.Head).Image, container(c.Worker).Image = "new", "new"
			},
			wantHealth: "False RolloutIncomplete: " + headUnobserved + "; worker: the Deployment has not been observed yet",
		},
	})
}

// editBoth changes the Deployments of both groups.
func (f *fixture) editBoth(change func(*appsv1.Deployment)) {
	f.t.Helper()
	f.editDeployment(rayv1.RoleHead, change)
	f.editDeployment(rayv1.RoleWorker, change)
}

// newWaitingFixture returns a controller with a head that has a new template, for which the workers wait.
func newWaitingFixture(t *testing.T) *fixture {
	t.Helper()
	f := newHealthyFixture(t)
	f.editRay(setImages("new"))
	f.deliver()
	f.checkSync(nil, []string{dryRunWorker, updateHead, updateStatus}, []string{headUpdated})
	f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerWaits)
	f.checkImages("new", "rayproject/examples:1")
	f.deliver()
	f.clock.Step(time.Minute)
	return f
}

func TestHeadFirst(t *testing.T) {
	t.Run("workers follow when the head has rolled out", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.checkSteadyState(nil)
		f.restart()
		f.checkSteadyState(nil)
		for _, step := range []struct {
			name, want string
			change     func(*appsv1.DeploymentStatus)
		}{
			{"the old Pod is terminating", "head: 0 of 1 available", func(s *appsv1.DeploymentStatus) {
				s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0, 0
			}},
			{"the new Pod exists", "head: 0 of 1 available", func(s *appsv1.DeploymentStatus) { s.Replicas, s.UpdatedReplicas = 1, 1 }},
			{"the new Pod is ready", "head: 0 of 1 available", func(s *appsv1.DeploymentStatus) { s.ReadyReplicas = 1 }},
		} {
			f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) {
				d.Status.ObservedGeneration = d.Generation
				step.change(&d.Status)
			})
			f.clock.Step(time.Minute)
			f.deliver()
			if err := f.sync(); err != nil {
				t.Fatal(err)
			}
			f.checkImages("new", "rayproject/examples:1")
			if got, want := f.health(), "False RolloutIncomplete: "+step.want+"; "+workerWaits; got != want {
				t.Errorf("when %s, Health is %q, want %q", step.name, got, want)
			}
		}
		f.takeWrites()
		f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 })
		f.clock.Step(time.Minute)
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerReplaced})
		f.checkHealth("False RolloutIncomplete: " + workerUnobserved)
		f.checkImages("new", "new")
		f.rollOut()
		f.makeHealthy()
	})
	t.Run("workers are scaled while their template waits", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.checkPending(false) // nothing was written
		before := readLastApplied(f.deployment(rayv1.RoleWorker))
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerScaled})
		f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerWaits)
		f.checkImages("new", "rayproject/examples:1")
		want := before
		want.RayGeneration, want.Generation, want.TemplatePending = f.ray().Generation, before.Generation+1, true
		if diff := cmp.Diff(want, readLastApplied(f.deployment(rayv1.RoleWorker))); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		f.checkSteadyState(nil)
		f.restart()
		f.checkSteadyState(nil)

		f.rollOutHead()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerReplaced})
		f.checkImages("new", "new")
		f.checkPending(false)
		f.rollOut()
		f.makeHealthy()
	})
	t.Run("external changes of workers are reverted while their new template waits", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) })
		f.deliver()
		f.checkSync(nil, []string{updateWorker}, []string{workerScaled})
		f.checkPending(true)
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) })
		f.deliver()
		f.checkSync(nil, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
		f.checkPending(true)
		f.checkImages("new", "rayproject/examples:1")
	})
	t.Run("the user takes back the new template of the workers while it waits", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "rayproject/examples:1" })
		f.deliver()
		// The record of the head has that the workers are new with it.
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"})
		f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerUnobserved)
		f.rollOut()
		f.deliver()
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth(healthy)
		f.checkSteadyState(nil)
	})
	t.Run("the user takes back the new template of scaled workers while it waits", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerScaled})
		f.checkPending(true)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "rayproject/examples:1" })
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"})
		f.checkPending(false)
		f.checkImages("new", "rayproject/examples:1")
	})
	t.Run("workers wait no longer than ten minutes", func(t *testing.T) {
		f := newWaitingFixture(t)
		f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) {
			d.Status.ObservedGeneration, d.Status.AvailableReplicas, d.Status.ReadyReplicas = d.Generation, 0, 0
		})
		f.deliver()
		f.clock.Step(time.Minute)
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth("False RolloutIncomplete: head: 0 of 1 available; " + workerWaits)
		f.deliver()
		f.clock.Step(8*time.Minute - time.Second) // the fixture has waited for a minute, too
		f.queue.asked = nil
		f.checkSync(nil, nil, nil)
		if diff := cmp.Diff([]string{"default/sample-cluster after 1s"}, f.queue.asked); diff != "" {
			t.Errorf("requeues (-want +got):\n%s", diff)
		}
		f.clock.Step(time.Second)
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerReplaced})
		f.checkHealth("False RolloutIncomplete: head: 0 of 1 available; " + workerUnobserved)
	})
}

// TestNewRayWithRejectedHead has a new Ray with a head that is rejected. Nothing else runs without it.
func TestNewRayWithRejectedHead(t *testing.T) {
	const rejected = `Deployment "sample-cluster-head" could not be created: ` + overQuotaMessage
	const created = "Normal SuccessfullyCreate Successfully create the "
	f := newFixture(t)
	f.reject(overQuota(), createHead)
	f.checkSync(apierrors.IsForbidden, []string{createService, createHead, updateStatus},
		[]string{created + "service sample-cluster-head", "Warning FailedCreate " + rejected})
	f.checkHealth("False FailedCreate: head: " + rejected + "; " + workerIsNotNeeded)
	f.checkSteadyState(apierrors.IsForbidden)
	f.server.reject = nil
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{createHead, createWorker, updateStatus},
		[]string{created + "deployment sample-cluster-head", created + "deployment sample-cluster-worker"})
	f.makeHealthy()
}

// TestWorkersWithoutHead has a head that was deleted and is rejected now. The workers that run are scaled,
// but not updated.
func TestWorkersWithoutHead(t *testing.T) {
	const rejected = `Deployment "sample-cluster-head" could not be created: ` + overQuotaMessage
	f := newHealthyFixture(t)
	f.drop(deploymentResource, deploymentName(rayv1.RoleHead))
	f.editRay(setAll)
	f.deliver()
	f.reject(overQuota(), createHead)
	f.checkSync(apierrors.IsForbidden, []string{createHead, updateWorker, updateStatus}, []string{workerScaled, "Warning FailedCreate " + rejected})
	f.checkHealth("False FailedCreate: head: " + rejected + "; " + workerWaits)
	if got := container(f.deployment(rayv1.RoleWorker)).Image; got != "rayproject/examples:1" {
		t.Errorf("the image of the workers is %q, want the old one", got)
	}
	if got := len(f.servicePorts()); got != 5 {
		t.Errorf("the Service has %d ports, want the 5 of the old head", got)
	}
	f.server.reject = nil
	f.converge()
	f.rollOut()
	f.makeHealthy()
	f.checkImages("new", "new")
}
