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
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const contentionMessage = `Deployment "sample-cluster-worker" is changed by another client again and again: replicas`

// setReplicas is a change of the workers by another client.
func (f *fixture) setReplicas(replicas int32) {
	f.t.Helper()
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(replicas) })
	f.deliver()
}

// newContentionFixture returns a controller that has reverted three changes at once, and waits after the
// fourth.
func newContentionFixture(t *testing.T) *fixture {
	t.Helper()
	f := newHealthyFixture(t)
	for range maxReverts {
		f.setReplicas(9)
		f.checkSync(nil, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
	}
	f.setReplicas(9)
	f.queue.asked = nil
	f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + contentionMessage})
	f.checkHealth("False ExternalChanges: worker: " + contentionMessage)
	if diff := cmp.Diff([]string{"default/sample-cluster after 1s"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}
	f.deliver()
	return f
}

// TestExternalChangesThatDoNotEnd has a client that changes the workers again and again.
func TestExternalChangesThatDoNotEnd(t *testing.T) {
	t.Run("changes are reverted after a delay, and reported until they end", func(t *testing.T) {
		f := newContentionFixture(t)
		f.clock.Step(time.Second - time.Millisecond)
		f.checkSync(isOnlyBlocked, nil, nil)
		f.clock.Step(time.Millisecond)
		f.checkSync(isOnlyBlocked, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
		f.setReplicas(8)
		f.queue.asked = nil
		f.checkSync(isOnlyBlocked, nil, nil)
		if diff := cmp.Diff([]string{"default/sample-cluster after 2s"}, f.queue.asked); diff != "" {
			t.Errorf("requeues (-want +got):\n%s", diff)
		}
		f.clock.Step(2 * time.Second)
		f.checkSync(isOnlyBlocked, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
		f.rollOut()
		f.deliver()
		f.clock.Step(18*time.Second - time.Millisecond)
		f.checkSync(isOnlyBlocked, nil, nil)
		f.checkHealth("False ExternalChanges: worker: " + contentionMessage)
		f.clock.Step(time.Millisecond)
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth(healthy)
		f.checkSteadyState(nil)
	})
	t.Run("a change by the user does not wait", func(t *testing.T) {
		f := newContentionFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateWorker, updateStatus}, []string{workerScaled})
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 5 {
			t.Errorf("there are %d replicas, want those of the user", got)
		}
		// It is no revert, so the next one waits as long as before.
		f.setReplicas(9)
		f.queue.asked = nil
		f.checkSync(isOnlyBlocked, nil, nil)
		if diff := cmp.Diff([]string{"default/sample-cluster after 1s"}, f.queue.asked); diff != "" {
			t.Errorf("requeues (-want +got):\n%s", diff)
		}
	})
	t.Run("other children do not wait", func(t *testing.T) {
		f := newContentionFixture(t)
		f.editService(func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[1:] })
		f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateHead, updateService},
			reverted("deployment sample-cluster-head", "replicas", "service sample-cluster-head", "ports"))
	})
	t.Run("workers get a new template although the head is changed again and again", func(t *testing.T) {
		f := newHealthyFixture(t)
		for range maxReverts {
			f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
			f.deliver()
			f.checkSync(nil, []string{updateHead}, reverted("deployment sample-cluster-head", "replicas"))
		}
		f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 9 })
		f.rollOut()
		f.deliver()
		const message = `Deployment "sample-cluster-head" is changed by another client again and again: minReadySeconds`
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + message})
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateHead, updateStatus},
			[]string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: minReadySeconds"})
		f.checkHealth("False ExternalChanges: head: " + message + "; " + workerWaits)
		f.rollOutHead()
		f.checkSync(isOnlyBlocked, []string{updateWorker}, []string{workerUpdated})
	})
	t.Run("the Service gets new ports although the head is changed again and again", func(t *testing.T) {
		f := newHealthyFixture(t)
		change := func() {
			f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
			f.deliver()
		}
		for range maxReverts {
			change()
			f.checkSync(nil, []string{updateHead}, reverted("deployment sample-cluster-head", "replicas"))
		}
		change()
		const message = `Deployment "sample-cluster-head" is changed by another client again and again: replicas`
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + message})
		f.editRay(setHeadPorts)
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateHead, updateService, updateStatus}, []string{
			"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: replicas, template, minReadySeconds",
			portsUpdated,
		})
		f.checkHealth("False ExternalChanges: head: " + message)
		if got := f.servicePorts(); len(got) != 1 || got[0].Port != 1 {
			t.Errorf("the Service has the ports %v, want that of the user", got)
		}
	})
	t.Run("a label of a Deployment, which does not change the generation", func(t *testing.T) {
		const message = `Deployment "sample-cluster-worker" is changed by another client again and again: labels`
		f := newHealthyFixture(t)
		change := func() {
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Labels[rayv1.LabelRole] = "head" })
			f.deliver()
		}
		for range maxReverts {
			change()
			f.checkSync(nil, []string{updateWorker}, reverted("deployment sample-cluster-worker", "labels"))
		}
		change()
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + message})
	})
	t.Run("a label of the Service", func(t *testing.T) {
		const message = `Service "sample-cluster-head" is changed by another client again and again: labels, ports`
		f := newHealthyFixture(t)
		change := func() {
			f.editService(func(s *corev1.Service) {
				s.Labels[rayv1.LabelRole] = "worker"
				s.Spec.Ports = s.Spec.Ports[1:]
			})
			f.deliver()
		}
		for range maxReverts {
			change()
			f.checkSync(nil, []string{updateService}, reverted("service sample-cluster-head", "labels, ports"))
		}
		change()
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + message})
		f.checkHealth("False ExternalChanges: " + message)
	})
}

// TestRejectedRevert has a revert that is rejected. It is retried, and stays reported: the other client
// made one change only.
func TestRejectedRevert(t *testing.T) {
	f := newHealthyFixture(t)
	f.setReplicas(9)
	f.reject(overQuota(), updateWorker)
	f.checkSync(apierrors.IsForbidden, []string{updateWorker, updateStatus}, []string{"Warning FailedUpdate " + workerRejected})
	for range 10 {
		f.clock.Step(100 * time.Millisecond)
		f.deliver()
		f.checkSync(apierrors.IsForbidden, []string{updateWorker}, nil)
		f.checkHealth("False FailedUpdate: worker: " + workerRejected)
	}
	f.server.reject = nil
	f.checkSync(nil, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
}
