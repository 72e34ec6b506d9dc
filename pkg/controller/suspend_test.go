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
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func setSuspend(value bool) func(*rayv1.Ray) {
	return func(ray *rayv1.Ray) { ray.Spec.Suspend = new(value) }
}

// checkSuspended checks the condition Suspended, as "STATUS REASON: MESSAGE", or "" for none.
func (f *fixture) checkSuspended(want string) {
	f.t.Helper()
	got := ""
	if c := findCondition(f.ray().Status.Conditions, rayv1.RaySuspended); c != nil {
		got = string(c.Status) + " " + c.Reason
		if c.Message != "" {
			got += ": " + c.Message
		}
	}
	if got != want {
		f.t.Errorf("Suspended is %q, want %q", got, want)
	}
}

const (
	suspendedBySpec = "suspended, since spec.suspend is true"
	suspended       = "True Suspended: " + suspendedBySpec
)

// TestSuspend suspends a Ray with a worker group, and resumes it.
func TestSuspend(t *testing.T) {
	f := newGroupsFixture(t, "gpu")
	before := f.children()
	f.checkSuspended("")

	f.editRay(setSuspend(true))
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{updateHead, updateWorker, writeGroup("update", "gpu"), updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	f.takeEvents()
	f.checkSuspended("False Suspending: waiting until there are no Pods of head, worker, gpu")
	f.checkHealth("False Suspended: " + suspendedBySpec + "; " + headUnobserved + "; " + workerUnobserved + "; gpu: the Deployment's newest generation has not been observed yet")
	after := f.children()
	for _, d := range []*appsv1.Deployment{after.Head, after.Worker, f.deployment(roleGPU)} {
		if *d.Spec.Replicas != 0 {
			t.Errorf("Deployment %s has %d replicas", d.Name, *d.Spec.Replicas)
		}
	}
	after.Head.Spec.Replicas, after.Worker.Spec.Replicas = before.Head.Spec.Replicas, before.Worker.Spec.Replicas
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("children, except for replicas (-before +after):\n%s", diff)
	}

	f.rollOut()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.TerminatingReplicas = new(int32(3)) })
	f.deliver()
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSuspended("False Suspending: waiting until there are no Pods of worker")
	f.checkHealth("False Suspended: " + suspendedBySpec)

	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.TerminatingReplicas = new(int32(0)) })
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil) // at once
	f.checkSuspended(suspended)
	if status := f.ray().Status; *status.DesiredWorkerReplicas != 0 || *status.ReadyWorkerReplicas != 0 {
		t.Errorf("the status is %v", status)
	}
	f.checkSteadyState(nil)
	f.checkRestart(nil)

	f.editRay(setSuspend(false))
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{updateHead, updateWorker, writeGroup("update", "gpu"), updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	f.checkSuspended("False Resumed")
	f.makeHealthy()
	f.checkSuspended("False Resumed")
	if diff := cmp.Diff(before, f.children()); diff != "" {
		t.Errorf("children (-before +after):\n%s", diff)
	}
}

func TestSuspendedRays(t *testing.T) {
	t.Run("a new Ray can be suspended", func(t *testing.T) {
		f := newFixture(t)
		f.editRay(setSuspend(true))
		f.deliver()
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.checkSuspended("False Suspending: waiting until there are no Pods of head, worker")
		f.rollOut()
		f.converge()
		f.checkSuspended(suspended)
		f.checkHealth("False Suspended: " + suspendedBySpec)
	})
	t.Run("a Ray waits for the Pods of a group that is removed meanwhile", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editRay(func(ray *rayv1.Ray) { setSuspend(true)(ray); ray.Spec.WorkerGroups = nil })
		f.deliver()
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.rollOut()
		f.deliver()
		f.clock.Step(time.Minute)
		_ = f.sync()
		f.checkSuspended("False Suspending: waiting until there are no Pods of gpu")
		f.checkHealth(`False ChildTerminating: gpu: Deployment "sample-cluster-worker-gpu" is being deleted`)
		f.editDeployment(roleGPU, func(d *appsv1.Deployment) { d.Finalizers = nil })
		f.converge()
		f.checkSuspended(suspended)
	})
	t.Run("also if it is not deleted at first", func(t *testing.T) {
		const waits = "False Suspending: waiting until there are no Pods of gpu"
		f := newGroupsFixture(t, "gpu")
		f.editRay(func(ray *rayv1.Ray) { setSuspend(true)(ray); ray.Spec.WorkerGroups = nil })
		f.deliver()
		f.reject(overQuota(), writeGroup("delete", "gpu"))
		_ = f.sync()
		f.rollOut()
		f.deliver()
		f.clock.Step(time.Minute)
		_ = f.sync()
		f.checkSuspended(waits)
		f.server.reject = nil
		f.deliver()
		f.clock.Step(time.Minute)
		_ = f.sync()
		f.checkSuspended(waits)
	})
	t.Run("a Ray without a head is suspended", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Replicas = new(int32(0)) })
		f.converge()
		f.rollOut()
		f.converge()
		f.checkSuspended("True Suspended: suspended, since spec.head.replicas is 0")
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 0 {
			t.Errorf("there are %d workers, which only wait for a head", got)
		}
	})
	t.Run("templates and replicas change while a Ray is suspended", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setSuspend(true))
		f.converge()
		f.rollOut()
		f.converge()
		f.editRay(func(ray *rayv1.Ray) {
			setImages("new")(ray)
			ray.Spec.Worker.Replicas = new(int32(5))
		})
		f.converge()
		f.rollOut()
		f.converge()
		f.rollOut()
		f.converge()
		f.checkImages("new", "new")
		f.checkSuspended(suspended)
		f.editRay(setSuspend(false))
		f.makeHealthy()
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 5 {
			t.Errorf("there are %d workers, want 5", got)
		}
	})
	t.Run("another client that scales up is reverted", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setSuspend(true))
		f.converge()
		f.rollOut()
		f.converge()
		f.takeWrites()
		f.takeEvents()
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(2)) })
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, reverted("deployment sample-cluster-worker", "replicas"))
		f.checkSuspended("False Suspending: waiting until there are no Pods of worker")
	})
	t.Run("a rejected update is the reason of Health", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setSuspend(true))
		f.deliver()
		f.reject(overQuota(), updateWorker)
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Errorf("sync returned %v", err)
		}
		f.checkHealth("False FailedUpdate: " + headUnobserved + "; worker: " + workerRejected)
		f.rollOut()
		f.clock.Step(time.Minute)
		f.deliver()
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Errorf("sync returned %v", err)
		}
		f.checkSuspended("False Suspending: waiting until there are no Pods of worker")
	})
}

// TestQueue has a webhook like that of Kueue: it marks the Pod templates of Deployments that have a label
// with a queue, so that their Pods wait for the queue. The user sets the label while the Ray is suspended.
func TestQueue(t *testing.T) {
	f := newGroupsFixture(t, "gpu")
	f.server.admit = func(o object) {
		if d, ok := o.(*appsv1.Deployment); ok && d.Labels[queueLabel] != "" {
			metav1.SetMetaDataLabel(&d.Spec.Template.ObjectMeta, queueLabel, d.Labels[queueLabel])
			metav1.SetMetaDataAnnotation(&d.Spec.Template.ObjectMeta, "kueue.x-k8s.io/pod-suspending-parent", "deployment")
		}
	}
	roles := []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker, roleGPU}
	check := func(when string) {
		t.Helper()
		for _, role := range roles {
			if d := f.deployment(role); d.Labels[queueLabel] != "gpus" || d.Spec.Template.Labels[queueLabel] != "gpus" || len(d.Spec.Template.Annotations) != 1 {
				t.Errorf("%s, the Deployment of the %s has the labels %v, and those of its Pods are %v", when, role, d.Labels, d.Spec.Template.Labels)
			}
		}
		f.takeWrites()
		f.takeEvents()
		f.checkSteadyState(nil)
		f.checkRestart(nil)
	}
	f.editRay(setSuspend(true))
	f.converge()
	f.rollOut()
	f.converge()
	for _, role := range roles {
		f.editDeployment(role, func(d *appsv1.Deployment) {
			d.Labels[queueLabel] = "gpus"
			f.server.admit(d)
		})
	}
	f.converge()
	check("while the Ray is suspended")
	f.editRay(setSuspend(false))
	f.makeHealthy()
	check("after the Ray has resumed")
	f.editRay(setImages("new"))
	f.converge()
	f.rollOut()
	f.converge()
	f.rollOut()
	f.makeHealthy()
	check("after a rollout")
	f.checkImages("new", "new")
}

// TestNewSuspended has observations of suspended Rays.
func TestNewSuspended(t *testing.T) {
	was := []rayv1.RayCondition{{Type: rayv1.RaySuspended, Status: corev1.ConditionTrue, Reason: reasonSuspended}}
	withoutReplicas := func(group *groupObservation) { group.deployment.Spec.Replicas = new(int32(0)) }
	tests := []struct {
		name     string
		ray      func(*rayv1.Ray)
		observed observation
		want     string
	}{
		{"a Ray that was never suspended", nil, observation{}, ""},
		{"a Ray that resumes", func(ray *rayv1.Ray) { ray.Status.Conditions = was }, observation{}, "False Resumed"},
		{
			"a Ray that cannot be decoded, and was suspended",
			func(ray *rayv1.Ray) { ray.Status.Conditions = was },
			observation{rayErr: unreadable("x")},
			"True Suspended",
		},
		{"no Pods", setSuspend(true), observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 0, withoutReplicas)}}, "True Suspended"},
		{"a Deployment that does not exist", setSuspend(true), observation{groups: []groupObservation{{name: "worker", waiting: waitingCreate}}}, "True Suspended"},
		{"a Deployment that may have been created", setSuspend(true), observation{groups: []groupObservation{{name: "head", err: rejected(reasonFailedCreate, "Deployment", "x", errors.New("timeout"))}}}, "False Suspending"},
		{"a Deployment that cannot be read", setSuspend(true), observation{groups: []groupObservation{{name: "head", err: rejected(reasonFailedGet, "Deployment", "x", errors.New("no"))}}}, "False Suspending"},
		{"a Deployment with replicas and no Pods", setSuspend(true), observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 0, func(group *groupObservation) { group.deployment.Spec.Replicas = new(int32(1)) })}}, "False Suspending"},
		{"Pods", setSuspend(true), observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 1, withoutReplicas)}}, "False Suspending"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := readSample(t)
			if test.ray != nil {
				test.ray(ray)
			}
			got := ""
			if condition := newSuspended(ray, &test.observed); condition != nil {
				got = string(condition.Status) + " " + condition.Reason
			}
			if got != test.want {
				t.Errorf("Suspended is %q, want %q", got, test.want)
			}
		})
	}
}
