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
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// autoscale is an edit of the sample, which has three workers.
func autoscale(minReplicas, maxReplicas int32) func(*rayv1.Ray) {
	return func(ray *rayv1.Ray) {
		ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MinReplicas: &minReplicas, MaxReplicas: maxReplicas}
	}
}

// newAutoscaledFixture returns a controller in steady state with from one to six workers, of which three run.
func newAutoscaledFixture(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t)
	f.editRay(autoscale(1, 6))
	f.deliver()
	f.makeHealthy()
	return f
}

// recommend sets what is recommended for the sample: replicas by the name of a group.
func (f *fixture) recommend(replicas map[string]int32) {
	conditions := []autoscaler.Condition{{Type: rayv1.RayScalingActive, Status: corev1.ConditionTrue, Reason: "Valid"}}
	f.recommender[sampleKey] = &autoscaler.Recommendation{
		UID: f.ray().UID, Replicas: replicas, Reasons: map[string]string{"worker": "8 tasks wait", "gpu": "2 actors wait"}, Conditions: conditions,
	}
}

func workers(replicas int32) map[string]int32 { return map[string]int32{"worker": replicas} }

func scaled(from, to int32, reason string) []string {
	return []string{scaledGroupEvent("worker", from, to, reason)}
}

func scaledGroupEvent(group string, from, to int32, reason string) string {
	return fmt.Sprintf("Normal %s Scaled group %q from %d to %d: %s", reasonScaled, group, from, to, reason)
}

// checkTarget checks the number of workers in the Deployment and its record, and in the status.
func (f *fixture) checkTarget(want int32) {
	f.t.Helper()
	d, status := f.deployment(rayv1.RoleWorker), f.ray().Status
	if got := *d.Spec.Replicas; got != want {
		f.t.Errorf("the Deployment has %d replicas, want %d", got, want)
	}
	if got := ptr.Deref(resources.RecordedReplicas(d), -1); got != want {
		f.t.Errorf("the recorded target is %d, want %d", got, want)
	}
	if got := ptr.Deref(status.Worker.DesiredReplicas, -1); got != want {
		f.t.Errorf("desiredReplicas is %d, want %d", got, want)
	}
	if got := *status.DesiredWorkerReplicas; got != want {
		f.t.Errorf("desiredWorkerReplicas is %d, want %d", got, want)
	}
}

// checkNoTarget checks the number of workers, and that they are not autoscaled now.
func (f *fixture) checkNoTarget(want int32) {
	f.t.Helper()
	d := f.deployment(rayv1.RoleWorker)
	if recorded := resources.RecordedReplicas(d); *d.Spec.Replicas != want || recorded != nil {
		f.t.Errorf("the Deployment has %d replicas, and a recorded target: %t; want %d, and none", *d.Spec.Replicas, recorded != nil, want)
	}
}

// TestScale scales a group as recommended.
func TestScale(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.checkTarget(3)
	before := f.deployment(rayv1.RoleWorker)

	f.recommend(workers(5))
	f.checkSync(nil, []string{updateWorker, updateStatus}, scaled(3, 5, "8 tasks wait"))
	f.checkTarget(5)
	f.checkScaling("True Valid")
	f.checkHealth("False RolloutIncomplete: worker: 3 of 5 available")
	wantRecord := readLastApplied(before)
	wantRecord.Generation, wantRecord.Replicas = before.Generation+1, new(int32(5))
	if diff := cmp.Diff(wantRecord, readLastApplied(f.deployment(rayv1.RoleWorker))); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	f.makeHealthy()

	f.recommend(workers(2))
	f.checkSync(nil, []string{updateWorker, updateStatus}, scaled(5, 2, "8 tasks wait"))
	f.checkTarget(2)
	f.makeHealthy()
	f.checkSteadyState(nil)
	delete(f.recommender, sampleKey)
	f.checkRestart(nil)
	f.checkTarget(2)
}

// TestTarget has changes of a Ray with three workers, and the number of workers that it has then.
func TestTarget(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fixture)
		want   int32
	}{
		{"more than the maximum is recommended", func(f *fixture) { f.recommend(workers(9)) }, 6},
		{"less than the minimum is recommended", func(f *fixture) { f.recommend(workers(0)) }, 1},
		{"nothing is recommended for the group", func(f *fixture) { f.recommend(map[string]int32{"gpu": 5}) }, 3},
		{"another Ray with this name has a recommendation", func(f *fixture) {
			f.recommend(workers(5))
			f.recommender[sampleKey].UID = "another"
		}, 3},
		{"the minimum is raised", changeRay(autoscale(4, 6)), 4},
		{"the maximum is lowered", changeRay(autoscale(0, 2)), 2},
		{"the maximum is lowered, and more is recommended", func(f *fixture) {
			f.recommend(workers(5))
			f.editRay(autoscale(0, 4))
		}, 4},
		{"spec.replicas changes", changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }), 3},
		{"another client scales the Deployment", changeWorker(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) }), 3},
		{"another client scales the Deployment, and another number is recommended", func(f *fixture) {
			f.recommend(workers(2))
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
		}, 2},
		{"another client scales the Deployment to what is recommended then", func(f *fixture) {
			f.recommend(workers(5))
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
		}, 5},
		{"another client removes the record", changeWorker(func(d *appsv1.Deployment) { d.Annotations = nil }), 3},
		{"another client sets a target that is out of bounds", changeWorker(func(d *appsv1.Deployment) {
			editLastApplied(d, func(r *lastApplied) { r.Replicas = new(int32(1000)) })
		}), 6},
		{"the Deployment is deleted, and its number is recommended", func(f *fixture) {
			f.recommend(workers(5))
			f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		}, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newAutoscaledFixture(t)
			test.change(f)
			f.converge()
			f.rollOut()
			f.converge()
			f.checkTarget(test.want)
			f.takeWrites()
			f.takeEvents()
			f.checkSteadyState(nil)
			f.checkRestart(nil)
		})
	}
}

// TestSuspendAutoscaled suspends a Ray after it was scaled, and resumes it.
func TestSuspendAutoscaled(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.recommend(workers(5))
	f.makeHealthy()
	f.editRay(setSuspend(true))
	f.converge()
	f.rollOut()
	f.converge()
	f.checkSuspended(suspended)
	f.checkNoTarget(0)
	if status := f.ray().Status; *status.Worker.DesiredReplicas != 0 || *status.DesiredWorkerReplicas != 0 {
		t.Errorf("a suspended Ray has the status %v", status)
	}
	f.checkScaling("False Suspended: " + suspendedBySpec)
	f.takeEvents()
	f.checkSteadyState(nil)

	delete(f.recommender, sampleKey)
	f.editRay(setSuspend(false))
	f.makeHealthy()
	f.checkTarget(3)
	f.checkScaling("False Starting: " + messageStarting)
}

// TestAddAutoscaling adds autoscaling to a Ray, and removes it. The workers that run stay, as far as the bounds allow.
func TestAddAutoscaling(t *testing.T) {
	for _, test := range []struct {
		minReplicas, maxReplicas, want int32
	}{{0, 9, 3}, {5, 9, 5}, {0, 2, 2}} {
		t.Run(fmt.Sprintf("from %d to %d workers", test.minReplicas, test.maxReplicas), func(t *testing.T) {
			f := newHealthyFixture(t)
			f.checkScaling("")
			f.editRay(func(ray *rayv1.Ray) {
				autoscale(test.minReplicas, test.maxReplicas)(ray)
				ray.Spec.Worker.Replicas = new(int32(7))
			})
			f.makeHealthy()
			f.checkTarget(test.want)
			f.checkScaling("False Starting: " + messageStarting)
			f.checkRestart(nil)
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Autoscaling = nil })
			f.makeHealthy()
			f.checkNoTarget(7)
			f.checkScaling("")
			if status := f.ray().Status; status.Worker.DesiredReplicas != nil || *status.DesiredWorkerReplicas != 7 {
				t.Errorf("without autoscaling, the status is %v", status)
			}
			f.checkRestart(nil)
		})
	}
}

// TestLowerMaximum lowers maxReplicas. The replicas follow when the autoscaler has drained idle nodes, or at once if
// there is no recommendation.
func TestLowerMaximum(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.recommend(workers(5))
	f.makeHealthy()
	f.recommender[sampleKey].Outdated = true
	f.editRay(autoscale(1, 2))
	f.makeHealthy()
	f.checkTarget(5)
	f.recommender[sampleKey].Outdated = false
	f.makeHealthy()
	f.checkTarget(2)
	delete(f.recommender, sampleKey)
	f.editRay(autoscale(1, 1))
	f.makeHealthy()
	f.checkTarget(1)
}

// TestScaleOneGroup has a worker group that is autoscaled, beside workers that are not.
func TestScaleOneGroup(t *testing.T) {
	f := newGroupsFixture(t, "gpu", "spot")
	f.editRay(func(ray *rayv1.Ray) {
		ray.Spec.WorkerGroups[0].Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 9}
	})
	f.makeHealthy()
	f.recommend(map[string]int32{"gpu": 0, "worker": 7, "spot": 7})
	f.checkSync(nil, []string{writeGroup("update", "gpu"), updateStatus}, []string{scaledGroupEvent("gpu", 2, 0, "2 actors wait")})
	f.makeHealthy()
	status := f.ray().Status
	want := []rayv1.WorkerGroupStatus{{Name: "gpu", DesiredReplicas: new(int32(0))}, {Name: "spot", ReplicaCounts: newCounts(2)}}
	if diff := cmp.Diff(want, status.WorkerGroups); diff != "" {
		t.Errorf("status.workerGroups (-want +got):\n%s", diff)
	}
	if status.Worker.DesiredReplicas != nil || *status.DesiredWorkerReplicas != 5 {
		t.Errorf("the status is %v", status)
	}
	f.checkNoTarget(3)
}

// TestScaleDuringRollout scales workers with a new template that waits for the head.
func TestScaleDuringRollout(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.editRay(setImages("new"))
	f.converge()
	f.checkImages("new", "rayproject/examples:1")
	f.takeWrites()
	f.takeEvents()
	for _, replicas := range []int32{5, 2} {
		f.recommend(workers(replicas))
		f.deliver()
		f.clock.Step(time.Minute)
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.checkTarget(replicas)
		f.checkPending(true)
		f.checkImages("new", "rayproject/examples:1")
		f.takeEvents()
		f.checkSteadyState(nil)
	}
	f.rollOut()
	f.makeHealthy()
	f.checkImages("new", "new")
	f.checkTarget(2)
}

// TestScaleIsOneWrite has admission that changes Deployments. Its values are known already, so that a scaling is one
// write, and nothing else is sent again.
func TestScaleIsOneWrite(t *testing.T) {
	for name, admit := range map[string]func(object){"the strategy": setStrategy, "images": mirrorImages} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.server.admit = admit
			f.editRay(autoscale(1, 6))
			f.deliver()
			f.rollOutWithAdmission()
			f.clock.Step(time.Minute)
			f.recommend(workers(5))
			f.checkSync(nil, []string{updateWorker, updateStatus}, scaled(3, 5, "8 tasks wait"))
			f.rollOutWithAdmission()
			f.checkSteadyState(nil)
			f.checkRestart(nil)
		})
	}
}

// TestRejectedScale has an API server that rejects a scaling.
func TestRejectedScale(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.reject(overQuota(), updateWorker)
	f.recommend(workers(5))
	f.checkSync(apierrors.IsForbidden, []string{updateWorker, updateStatus}, []string{"Warning FailedUpdate " + workerRejected})
	f.checkHealth("False FailedUpdate: worker: " + workerRejected)
	f.server.reject = nil
	f.deliver()
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateWorker, updateStatus}, scaled(3, 5, "8 tasks wait"))
	f.checkTarget(5)
}

// TestAdoptAutoscaled has workers that lost their owner after they were scaled. A new Ray continues with them.
func TestAdoptAutoscaled(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.recommend(workers(5))
	f.makeHealthy()
	delete(f.recommender, sampleKey)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.OwnerReferences = nil })
	f.makeHealthy()
	f.checkTarget(5)
}

// TestDeletionOfAutoscaled has a Ray that was scaled and is being deleted. The status has the last target.
func TestDeletionOfAutoscaled(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.recommend(workers(5))
	f.makeHealthy()
	f.deleteRay(metav1.FinalizerDeleteDependents)
	f.deliver()
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkTarget(5)
}
