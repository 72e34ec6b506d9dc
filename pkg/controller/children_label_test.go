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

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestChildrenWithoutLabel has children that have lost the label by which they are watched, so that the
// caches do not show them.
func TestChildrenWithoutLabel(t *testing.T) {
	const (
		deleted      = "Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"
		deleteFailed = `Warning FailedDelete Deployment "sample-cluster-worker" could not be deleted: ` + overQuotaMessage
	)
	removeWorkers := func(f *fixture) {
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Labels = nil })
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
		f.deliver()
	}
	t.Run("the label is set again", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editService(func(s *corev1.Service) { s.Labels = nil })
		f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Labels = nil })
		f.deliver()
		f.checkSync(nil,
			[]string{updateHead, updateService},
			reverted("deployment sample-cluster-head", "labels", "service sample-cluster-head", "labels"))
		f.checkSteadyState(nil)
	})
	t.Run("workers are deleted with the group", func(t *testing.T) {
		f := newHealthyFixture(t)
		removeWorkers(f)
		f.checkSync(nil, []string{deleteWorker, updateStatus}, []string{deleted})
		f.checkSteadyState(nil)
	})
	t.Run("workers are deleted with the group even if the first deletion fails", func(t *testing.T) {
		f := newHealthyFixture(t)
		removeWorkers(f)
		f.reject(overQuota(), deleteWorker)
		f.checkSync(apierrors.IsForbidden, []string{deleteWorker, updateStatus}, []string{deleteFailed})
		f.server.reject = nil
		f.deliver()
		f.checkSync(nil, []string{deleteWorker, updateStatus}, []string{deleted})
		if worker := f.ray().Status.Worker; worker != nil {
			t.Errorf("the status still has workers: %v", worker)
		}
		f.checkSteadyState(nil)
	})
	t.Run("workers that no status has are deleted with the group even if the first deletion fails", func(t *testing.T) {
		f := newFixture(t)
		f.reject(overQuota(), updateStatus)
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Errorf("sync returned %v, want that its status was rejected", err)
		}
		f.reject(overQuota(), deleteWorker)
		removeWorkers(f)
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Errorf("sync returned %v, want that the deletion was rejected", err)
		}
		f.server.reject = nil
		f.converge()
		if f.deployment(rayv1.RoleWorker) != nil {
			t.Error("the workers were not deleted")
		}
	})
}

// TestAdmissionRemovesLabel has admission remove the label by which Deployments are watched. No event
// reports their changes, so the Ray must be requeued.
func TestAdmissionRemovesLabel(t *testing.T) {
	f := newFixture(t)
	f.server.admit = func(o object) {
		if _, ok := o.(*appsv1.Deployment); ok {
			delete(o.GetLabels(), rayv1.LabelName)
		}
	}
	for range 3 { // create, update, record the admissionOverride
		f.deliver()
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
	}
	f.rollOut()
	f.clock.Step(unwatchedRetryDelay)
	f.queue.asked = nil
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	f.checkHealth(healthy)
	if diff := cmp.Diff([]string{"default/sample-cluster after 10s"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}
}
