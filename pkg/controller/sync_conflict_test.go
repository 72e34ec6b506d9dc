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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestConflictThatDoesNotEnd has a webhook that responds to each write of a child with a conflict. It is
// not the cache that is stale, so it is reported after some syncs.
func TestConflictThatDoesNotEnd(t *testing.T) {
	const message = `Operation cannot be fulfilled on deployments.apps "x": modified`
	conflict := apierrors.NewConflict(schema.GroupResource{Group: "apps", Resource: "deployments"}, "x", errors.New("modified"))
	tests := []struct {
		name       string
		change     func(*fixture)
		write      string
		wantReason string
		want       string
	}{
		{
			name:       "an update",
			change:     changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }),
			write:      updateWorker,
			wantReason: "FailedUpdate",
			want:       `Deployment "sample-cluster-worker" could not be updated: ` + message,
		},
		{
			name:       "a revert",
			change:     changeWorker(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) }),
			write:      updateWorker,
			wantReason: "FailedUpdate",
			want:       `Deployment "sample-cluster-worker" could not be updated: ` + message,
		},
		{
			name:       "a deletion",
			change:     changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil }),
			write:      deleteWorker,
			wantReason: "FailedDelete",
			want:       `Deployment "sample-cluster-worker" could not be deleted: ` + message,
		},
		{
			name:       "a dry run",
			change:     changeRay(setImages("new")),
			write:      dryRunWorker,
			wantReason: "FailedUpdate",
			want:       `Deployment "sample-cluster-worker" could not be updated: ` + message,
		},
	}
	isConflict := func(err error) bool { return apierrors.IsConflict(err) && !isStale(err) && !isBlocked(err) }
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			test.change(f)
			f.deliver()
			f.reject(conflict, test.write)
			for range maxConflicts {
				f.checkSync(isStale, []string{test.write}, nil)
				f.checkHealth(healthy)
				f.clock.Step(time.Second)
			}
			f.checkSync(isConflict, []string{test.write, updateStatus}, []string{"Warning " + test.wantReason + " " + test.want})
			prefix := "worker: "
			if test.write == dryRunWorker {
				prefix = headIsNotUpdated + "; worker: "
			}
			f.checkHealth("False " + test.wantReason + ": " + prefix + test.want)
			f.checkSteadyState(isConflict)

			f.server.reject = nil
			f.converge()
			f.rollOut()
			f.makeHealthy()
		})
	}
	t.Run("conflicts that end are not reported", func(t *testing.T) {
		f := newHealthyFixture(t)
		scale := func(replicas int32) {
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = &replicas })
			f.deliver()
			f.reject(conflict, updateWorker)
			for range maxConflicts - 1 {
				f.checkSync(isStale, []string{updateWorker}, nil)
			}
			f.server.reject = nil
			f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerScaled})
			f.deliver()
		}
		scale(5)
		scale(6)
	})
	t.Run("a stale cache is not reported however long it takes", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
		f.deliver()
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations["note"] = "x" })
		for range 2 * maxConflicts {
			f.checkSync(isStale, []string{updateWorker}, nil)
		}
		f.deliver()
		f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerScaled})
	})
}

// refuseReplicaSet sets the status of a Deployment as the Deployment controller does when the API server
// rejects its ReplicaSet.
func (f *fixture) refuseReplicaSet(role rayv1.Role) {
	f.t.Helper()
	f.editDeploymentStatus(role, func(d *appsv1.Deployment) {
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Conditions: []appsv1.DeploymentCondition{{
			Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ReplicaSetCreateError",
			Message: `Failed to create new replica set "` + d.Name + `-6d4f8b7c9": exceeded quota: q`,
		}}}
	})
}

// TestRefusedReplicaSet has a quota that rejects the ReplicaSets of both groups, which is one problem.
func TestRefusedReplicaSet(t *testing.T) {
	const (
		head   = `Deployment "sample-cluster-head" could not create a ReplicaSet: exceeded quota: q`
		worker = `Deployment "sample-cluster-worker" could not create a ReplicaSet: exceeded quota: q`
	)
	tests := []struct {
		name                  string
		groups                []rayv1.Role
		wantEvent, wantHealth string
	}{
		{"of both groups", []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker}, head, "head: " + head + "; worker: " + worker},
		{"of the head", []rayv1.Role{rayv1.RoleHead}, head, "head: " + head},
		{"of the workers", []rayv1.Role{rayv1.RoleWorker}, worker, "worker: " + worker},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			for _, role := range test.groups {
				f.refuseReplicaSet(role)
			}
			f.deliver()
			f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ReplicaFailure " + test.wantEvent})
			f.checkHealth("False ReplicaFailure: " + test.wantHealth)
			f.server.reads = nil
			f.checkSteadyState(isOnlyBlocked)
			if lists := f.takeLists(); len(lists) > 0 {
				t.Errorf("sync made the reads %q, although the cause is known", lists)
			}
			f.checkRestart(isOnlyBlocked)
			f.rollOut()
			f.makeHealthy()
		})
	}
	t.Run("of one group after the other, in one event", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.refuseReplicaSet(rayv1.RoleWorker)
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ReplicaFailure " + worker})
		f.refuseReplicaSet(rayv1.RoleHead)
		f.deliver()
		f.clock.Step(time.Minute)
		f.checkSync(isOnlyBlocked, []string{updateStatus}, nil)
		f.checkHealth("False ReplicaFailure: head: " + head + "; worker: " + worker)
	})
	t.Run("while the user changes the Ray, which is applied", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.refuseReplicaSet(rayv1.RoleHead)
		f.editRay(func(ray *rayv1.Ray) {
			ray.Spec.Head.Template.Spec.Containers[0].Image = "new"
			ray.Spec.Worker.Replicas = new(int32(5))
		})
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateHead, updateWorker, updateStatus},
			[]string{headUpdated, workerScaled, "Warning ReplicaFailure " + head})
	})
}
