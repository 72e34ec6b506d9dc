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
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The roles of worker groups that tests add.
const (
	roleGPU  rayv1.Role = "worker-gpu"
	roleSpot rayv1.Role = "worker-spot"
)

// addGroups adds worker groups of two workers each.
func addGroups(names ...string) func(*rayv1.Ray) {
	return func(ray *rayv1.Ray) {
		for _, name := range names {
			group := rayv1.WorkerGroup{Name: name, WorkerSpec: *ray.Spec.Worker.DeepCopy()}
			group.Replicas = new(int32(2))
			ray.Spec.WorkerGroups = append(ray.Spec.WorkerGroups, group)
		}
	}
}

// newGroupsFixture returns a controller in steady state, with worker groups beside the sample's worker.
func newGroupsFixture(t testing.TB, names ...string) *fixture {
	t.Helper()
	f := newFixture(t)
	f.editRay(addGroups(names...))
	f.deliver()
	f.makeHealthy()
	return f
}

func writeGroup(verb, name string) string { return verb + " deployments sample-cluster-worker-" + name }

func groupEvent(reason, verb, name string) string {
	return fmt.Sprintf("Normal %s Successfully %s the deployment sample-cluster-worker-%s", reason, verb, name)
}

func TestWorkerGroups(t *testing.T) {
	t.Run("each group of a new Ray has a Deployment", func(t *testing.T) {
		f := newFixture(t)
		f.editRay(addGroups("gpu", "spot"))
		f.deliver()
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		want := []string{createService, createHead, createWorker, writeGroup("create", "gpu"), writeGroup("create", "spot"), updateStatus}
		if diff := cmp.Diff(want, f.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
		f.makeHealthy()
		status := f.ray().Status
		want2 := []rayv1.WorkerGroupStatus{{Name: "gpu", ReplicaCounts: newCounts(2)}, {Name: "spot", ReplicaCounts: newCounts(2)}}
		if diff := cmp.Diff(want2, status.WorkerGroups); diff != "" {
			t.Errorf("status.workerGroups (-want +got):\n%s", diff)
		}
		if *status.DesiredWorkerReplicas != 7 || *status.ReadyWorkerReplicas != 7 || *status.UpdatedWorkerReplicas != 7 || *status.AvailableWorkerReplicas != 7 {
			t.Errorf("the totals of 3 + 2 + 2 workers are %d, %d, %d and %d", *status.DesiredWorkerReplicas, *status.ReadyWorkerReplicas, *status.UpdatedWorkerReplicas, *status.AvailableWorkerReplicas)
		}
		f.checkSteadyState(nil)
		f.checkRestart(nil)
	})
	t.Run("Health covers all groups", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editDeploymentStatus(roleGPU, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 })
		f.deliver()
		f.checkSync(nil, []string{updateStatus}, nil)
		f.checkHealth("False RolloutIncomplete: gpu: 1 of 2 available")
	})
	t.Run("a Ray can have groups and no worker", func(t *testing.T) {
		f := newFixture(t)
		f.editRay(func(ray *rayv1.Ray) {
			addGroups("gpu")(ray)
			ray.Spec.Worker = nil
		})
		f.deliver()
		f.makeHealthy()
		if status := f.ray().Status; status.Worker != nil || *status.DesiredWorkerReplicas != 2 {
			t.Errorf("the status is %v", status)
		}
	})
	t.Run("scaling a group changes only its replicas", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu", "spot")
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.WorkerGroups[1].Replicas = new(int32(9)) })
		f.deliver()
		f.checkSync(nil, []string{writeGroup("update", "spot"), updateStatus}, []string{groupEvent("SuccessfullyUpdate", "update", "spot") + ": replicas"})
	})
	t.Run("a new order of the groups causes no writes", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu", "spot")
		f.editRay(func(ray *rayv1.Ray) { slices.Reverse(ray.Spec.WorkerGroups) })
		f.deliver()
		f.checkSync(nil, []string{updateStatus}, nil) // its observedGeneration
		f.checkHealth(healthy)
	})
	t.Run("an external change to a group is reverted", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editDeployment(roleGPU, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) })
		f.deliver()
		f.checkSync(nil, []string{writeGroup("update", "gpu")}, reverted("deployment sample-cluster-worker-gpu", "replicas"))
	})
}

func newCounts(replicas int32) rayv1.ReplicaCounts {
	return rayv1.ReplicaCounts{Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas}
}

// TestRemovedWorkerGroups has groups that the spec no longer has.
func TestRemovedWorkerGroups(t *testing.T) {
	removeGroups := func(ray *rayv1.Ray) { ray.Spec.WorkerGroups = nil }
	deleted := groupEvent("SuccessfullyDelete", "delete", "gpu")
	t.Run("their Deployments are deleted", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu", "spot")
		f.editRay(removeGroups)
		f.deliver()
		f.checkSync(nil, []string{writeGroup("delete", "gpu"), writeGroup("delete", "spot"), updateStatus},
			[]string{deleted, groupEvent("SuccessfullyDelete", "delete", "spot")})
		if status := f.ray().Status; status.WorkerGroups != nil || *status.DesiredWorkerReplicas != 3 {
			t.Errorf("the status still has the groups: %v", status)
		}
		f.checkHealth(healthy)
		f.checkSteadyState(nil)
		f.checkRestart(nil)
	})
	t.Run("a later change of the spec looks none of them up", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editRay(removeGroups)
		f.converge()
		f.server.reads = nil
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(2)) })
		f.converge()
		if slices.Contains(f.server.reads, "get deployments sample-cluster-worker-gpu") {
			t.Errorf("the reads are %q", f.server.reads)
		}
	})
	t.Run("also by a process that did not see the groups", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status = rayv1.RayStatus{} })
		f.editRay(removeGroups)
		f.restart()
		f.checkSync(nil, []string{writeGroup("delete", "gpu"), updateStatus}, []string{deleted})
	})
	t.Run("a renamed group is a new one", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.WorkerGroups[0].Name = "a100" })
		f.deliver()
		f.checkSync(nil, []string{writeGroup("create", "a100"), writeGroup("delete", "gpu"), updateStatus},
			[]string{groupEvent("SuccessfullyCreate", "create", "a100"), deleted})
	})
	for name, change := range map[string]func(*appsv1.Deployment){
		"without labels":    func(d *appsv1.Deployment) { d.Labels = nil },
		"with another role": func(d *appsv1.Deployment) { d.Labels[rayv1.LabelRole] = "head" },
	} {
		t.Run("a Deployment "+name+" is deleted", func(t *testing.T) {
			f := newGroupsFixture(t, "gpu")
			f.editDeployment(roleGPU, change)
			f.editRay(removeGroups)
			f.deliver()
			f.checkSync(nil, []string{writeGroup("delete", "gpu"), updateStatus}, []string{deleted})
			f.checkSteadyState(nil)
		})
	}
	t.Run("a Deployment without labels is deleted even if the first deletion fails", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editDeployment(roleGPU, func(d *appsv1.Deployment) { d.Labels = nil })
		f.editRay(removeGroups)
		f.deliver()
		f.reject(overQuota(), writeGroup("delete", "gpu"))
		rejected := `Deployment "sample-cluster-worker-gpu" could not be deleted: ` + overQuotaMessage
		f.checkSync(apierrors.IsForbidden, []string{writeGroup("delete", "gpu"), updateStatus}, []string{"Warning FailedDelete " + rejected})
		f.checkHealth("False FailedDelete: gpu: " + rejected)
		f.server.reject = nil
		f.deliver()
		f.checkSync(nil, []string{writeGroup("delete", "gpu"), updateStatus}, []string{deleted})
	})
	for name, meta := range map[string]metav1.ObjectMeta{
		"that another object controls": labeled(ownedBy("sample-cluster-worker-gpu", &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "y", UID: "y", Controller: new(true)})),
		"of an earlier Ray":            labeled(ownedBy("sample-cluster-worker-gpu", earlierRay())),
		"without a controller":         labeled(ownedBy("sample-cluster-worker-gpu", nil)),
	} {
		t.Run("a Deployment "+name+" is not deleted", func(t *testing.T) {
			f := newHealthyFixture(t)
			f.put(&appsv1.Deployment{ObjectMeta: meta})
			edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status.WorkerGroups = []rayv1.WorkerGroupStatus{{Name: "gpu"}} })
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(2)) })
			f.converge()
			if f.deployment(roleGPU) == nil {
				t.Error("the Deployment was deleted")
			}
		})
	}
	t.Run("a name in the status that no group can have is ignored", func(t *testing.T) {
		f := newHealthyFixture(t)
		edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status.WorkerGroups = []rayv1.WorkerGroupStatus{{Name: "../x"}} })
		f.deliver()
		f.checkSync(nil, []string{updateStatus}, nil)
	})
}

// TestWorkerGroupsHeadFirst has new templates of the head and of a group.
func TestWorkerGroupsHeadFirst(t *testing.T) {
	dryRunGPU := writeGroup("dry-run", "gpu")
	change := func(ray *rayv1.Ray) {
		ray.Spec.Head.Template.Spec.Containers[0].Image = "new"
		ray.Spec.WorkerGroups[0].Template.Spec.Containers[0].Image = "new"
	}
	t.Run("the group waits for the head", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu")
		f.editRay(change)
		f.deliver()
		f.checkSync(nil, []string{dryRunGPU, updateHead, updateStatus}, []string{headUpdated})
		f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; gpu: not updated: waiting for the head")
		f.rollOutHead()
		f.clock.Step(time.Minute)
		f.checkSync(nil, []string{writeGroup("update", "gpu"), updateStatus}, []string{groupEvent("SuccessfullyUpdate", "update", "gpu") + ": template, strategy"})
	})
	t.Run("a group that is rejected leaves all others as they were", func(t *testing.T) {
		f := newGroupsFixture(t, "gpu", "spot")
		f.editRay(func(ray *rayv1.Ray) {
			change(ray)
			ray.Spec.WorkerGroups[1].Template.Spec.Containers[0].Image = "new"
		})
		f.deliver()
		f.reject(overQuota(), dryRunGPU)
		rejected := `Deployment "sample-cluster-worker-gpu" could not be updated: ` + overQuotaMessage
		f.checkSync(apierrors.IsForbidden, []string{dryRunGPU, writeGroup("dry-run", "spot"), updateStatus}, []string{"Warning FailedUpdate " + rejected})
		const waits = ": not updated: an update of another group was rejected"
		f.checkHealth("False FailedUpdate: head" + waits + "; worker" + waits + "; gpu: " + rejected + "; spot" + waits)
	})
	t.Run("a new head that is rejected creates no groups", func(t *testing.T) {
		f := newFixture(t)
		f.editRay(addGroups("gpu"))
		f.deliver()
		f.reject(overQuota(), createHead)
		if err := f.sync(); !apierrors.IsForbidden(err) {
			t.Errorf("sync returned %v", err)
		}
		if f.deployment(roleGPU) != nil {
			t.Error("the group was created")
		}
	})
}

// TestFiftyWorkerGroups checks the requests for a Ray with as many groups as the schema accepts.
func TestFiftyWorkerGroups(t *testing.T) {
	const count = 50
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("g%d", i)
	}
	f := newFixture(t)
	f.editRay(addGroups(names...))
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if got := len(f.takeWrites()); got != 3+count+1 {
		t.Errorf("%d writes, want one for each of the %d children and the status", got, 3+count)
	}
	f.makeHealthy()
	f.checkSteadyState(nil)

	f.editRay(func(ray *rayv1.Ray) {
		setImages("new")(ray)
		for i := range ray.Spec.WorkerGroups {
			ray.Spec.WorkerGroups[i].Template.Spec.Containers[0].Image = "new"
		}
	})
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if got := len(f.takeWrites()); got != 1+count+1+1 {
		t.Errorf("%d writes for new templates, want a dry run for each of %d groups, the head and the status", got, 1+count)
	}
	if health := f.health(); len(health) > maxHealthMessage+100 {
		t.Errorf("the condition Health has %d bytes", len(health))
	}
	f.rollOutHead()
	f.makeHealthy()

	f.editRay(func(ray *rayv1.Ray) { ray.Spec.WorkerGroups = nil })
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if got := len(f.takeWrites()); got != count+1 {
		t.Errorf("%d writes to remove %d groups and update the status", got, count)
	}
}

// TestLongMessages has problems of many groups, with long messages.
func TestLongMessages(t *testing.T) {
	observed := &observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 1, nil)}}
	for i := range 50 {
		observed.groups = append(observed.groups, groupObservation{
			name: fmt.Sprintf("g%d", i), role: groupRole(fmt.Sprintf("g%d", i)), desired: new(int32(1)),
			err: failed(reasonFailedCreate, "Deployment", "x", errors.New(strings.Repeat("x", 2000))),
		})
	}
	message := newHealth(&rayv1.Ray{}, observed).Message
	if len(message) > maxHealthMessage+100 || !strings.HasSuffix(message, "; and 47 more groups") || !strings.HasPrefix(message, "g0: ") {
		t.Errorf("the message has %d bytes: %s", len(message), message)
	}
}

// TestUnreadWorkerGroups has a group with a Deployment that cannot be read. Its counts remain.
func TestUnreadWorkerGroups(t *testing.T) {
	ray := readSample(t)
	addGroups("gpu")(ray)
	ray.Status.WorkerGroups = []rayv1.WorkerGroupStatus{{Name: "gpu", ReplicaCounts: newCounts(2)}}
	status := newStatus(ray, &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, nil),
		availableGroup(rayv1.RoleWorker, 3, nil),
		{name: "gpu", role: roleGPU, desired: new(int32(2)), err: rejected(reasonFailedGet, "Deployment", "x", errors.New("no"))},
	}}, later)
	if diff := cmp.Diff(ray.Status.WorkerGroups, status.WorkerGroups); diff != "" {
		t.Errorf("status.workerGroups (-want +got):\n%s", diff)
	}
	if *status.ReadyWorkerReplicas != 5 || *status.DesiredWorkerReplicas != 5 {
		t.Errorf("the totals are %d and %d, want 5", *status.ReadyWorkerReplicas, *status.DesiredWorkerReplicas)
	}
}
