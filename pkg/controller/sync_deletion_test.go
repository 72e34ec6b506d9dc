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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// deleteRay deletes the Ray, which has finalizers, at a time without fractions of a second.
func (f *fixture) deleteRay(finalizers ...string) {
	f.t.Helper()
	f.editRay(func(ray *rayv1.Ray) { ray.Finalizers = finalizers })
	f.drop(rayResource, rayName)
	f.clock.Step(f.clock.Now().Truncate(time.Second).Add(time.Second).Sub(f.clock.Now()))
	ray := f.ray()
	ray.DeletionTimestamp = new(metav1.NewTime(f.clock.Now()))
	f.server.store(idOf(ray), ray)
	f.deliver()
}

func TestDeletionIsReported(t *testing.T) {
	dropChildren := func(f *fixture) {
		f.drop(serviceResource, serviceKey)
		f.drop(deploymentResource, deploymentName(rayv1.RoleHead))
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
	}
	tests := []struct {
		name       string
		finalizers []string
		change     func(*fixture)
		want       string
	}{
		{
			name:       "children remain",
			finalizers: []string{"foregroundDeletion"},
			change:     func(*fixture) {},
			want:       `Service "sample-cluster-head", Deployment "sample-cluster-head", Deployment "sample-cluster-worker"`,
		},
		{
			name:       "one child remains",
			finalizers: []string{"foregroundDeletion"},
			change: func(f *fixture) {
				f.drop(serviceResource, serviceKey)
				f.drop(deploymentResource, deploymentName(rayv1.RoleHead))
			},
			want: `Deployment "sample-cluster-worker"`,
		},
		{
			name:       "a child that is being deleted remains",
			finalizers: []string{"foregroundDeletion"},
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Finalizers = []string{"example.com/b"} })
				dropChildren(f)
			},
			want: `Deployment "sample-cluster-head"`,
		},
		{
			name:       "a child and a finalizer remain",
			finalizers: []string{"example.com/a", "foregroundDeletion"},
			change: func(f *fixture) {
				f.drop(serviceResource, serviceKey)
				f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
			},
			want: `Deployment "sample-cluster-head", finalizer example.com/a`,
		},
		{
			name:       "finalizers remain",
			finalizers: []string{"foregroundDeletion", "example.com/a", "example.com/b"},
			change:     dropChildren,
			want:       "finalizer example.com/a, finalizer example.com/b",
		},
		{
			name:       "the Ray no longer controls its children",
			finalizers: []string{"example.com/a"},
			change: func(f *fixture) {
				dropChildren(f)
				f.put(&appsv1.Deployment{ObjectMeta: labeled(ownedBy(deploymentName(rayv1.RoleHead), earlierRay()))})
			},
			want: "finalizer example.com/a",
		},
		{
			// The garbage collector deletes the children after the Ray.
			name:       "deletion in the background",
			finalizers: []string{"example.com/a"},
			change:     func(*fixture) {},
			want:       "finalizer example.com/a",
		},
		{
			name:       "children are orphaned",
			finalizers: []string{"orphan"},
			change:     func(*fixture) {},
			want:       "the garbage collector",
		},
		{
			name:       "children are orphaned, and a finalizer remains",
			finalizers: []string{"orphan", "example.com/a"},
			change:     func(*fixture) {},
			want:       "finalizer example.com/a",
		},
		{
			name:       "nothing is known to remain",
			finalizers: []string{"foregroundDeletion"},
			change:     dropChildren,
			want:       "the garbage collector",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			f.deleteRay(test.finalizers...)
			test.change(f)
			f.deliver()
			before := f.children()

			f.checkSync(nil, nil, nil)
			f.clock.Step(deletionReportDelay - time.Millisecond)
			f.checkSync(nil, nil, nil)
			if diff := cmp.Diff([]string{"default/sample-cluster after 5s", "default/sample-cluster after 1ms"}, f.queue.asked); diff != "" {
				t.Errorf("requeues (-want +got):\n%s", diff)
			}
			f.clock.Step(time.Millisecond)
			f.checkSync(nil, []string{updateStatus}, nil)
			f.checkHealth("False Terminating: being deleted, waiting for " + test.want)
			if diff := cmp.Diff(before, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.checkSteadyState(nil)
			f.restart()
			f.checkSteadyState(nil)
		})
	}
}

// labeled returns metadata with the label by which children are watched.
func labeled(meta metav1.ObjectMeta) metav1.ObjectMeta {
	metav1.SetMetaDataLabel(&meta, rayv1.LabelName, rayName)
	return meta
}

// TestDeletedRayChangesNoChildren has a Ray that is being deleted with children that differ from its spec.
func TestDeletedRayChangesNoChildren(t *testing.T) {
	f := newProgressingFixture(t)
	f.setAvailableWorkers(2)
	f.checkSync(nil, nil, nil)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "new" })
	f.drop(serviceResource, serviceKey)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) })
	f.deleteRay("example.com/wait", "foregroundDeletion")
	f.checkSync(nil, nil, nil)
	f.clock.Step(deletionReportDelay)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth(`False Terminating: being deleted, waiting for Deployment "sample-cluster-head", Deployment "sample-cluster-worker", finalizer example.com/wait`)
	if delayed := f.controller.reconciler.statusWriter.delayed; delayed > 0 {
		t.Errorf("status writes of %d Rays are still delayed", delayed)
	}
	f.checkSteadyState(nil)
}

// TestDeletionProgresses checks that the status follows a slow deletion, as it follows other progress.
func TestDeletionProgresses(t *testing.T) {
	f := newHealthyFixture(t)
	f.deleteRay("foregroundDeletion")
	f.clock.Step(deletionReportDelay)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.drop(serviceResource, serviceKey)
	f.deliver()
	f.checkSync(nil, nil, nil)
	f.clock.Step(minStatusInterval)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth(`False Terminating: being deleted, waiting for Deployment "sample-cluster-head", Deployment "sample-cluster-worker"`)
}

// TestRejectedStatusOfDeletedRay checks that the status of a Ray that is gone is no failure.
func TestRejectedStatusOfDeletedRay(t *testing.T) {
	f := newHealthyFixture(t)
	f.deleteRay("foregroundDeletion")
	f.clock.Step(deletionReportDelay)
	f.editRay(func(ray *rayv1.Ray) { ray.Finalizers = nil })
	f.checkSync(isStale, []string{updateStatus}, nil)
	f.deliver()
	f.checkSync(nil, nil, nil)
}
