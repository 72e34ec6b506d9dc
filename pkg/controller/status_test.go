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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

var (
	earlier = metav1.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	later   = metav1.Date(2026, time.January, 1, 0, 0, 9, 0, time.UTC)
)

// availableGroup returns a group with all desired replicas available, after a change.
func availableGroup(role rayv1.Role, desired int32, change func(*groupObservation)) groupObservation {
	group := groupObservation{name: string(role), role: role, desired: &desired, deployment: &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Generation: 3},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 3,
			Replicas:           desired, UpdatedReplicas: desired, ReadyReplicas: desired, AvailableReplicas: desired,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "Available", Message: "It is."},
			},
		},
	}}
	if change != nil {
		change(&group)
	}
	return group
}

// ofStatus returns a change of a group that changes the status of its Deployment.
func ofStatus(change func(*appsv1.DeploymentStatus)) func(*groupObservation) {
	return func(group *groupObservation) { change(&group.deployment.Status) }
}

func failingReplicas(message string) func(*groupObservation) {
	return ofStatus(func(s *appsv1.DeploymentStatus) {
		s.AvailableReplicas = 1
		s.Conditions = append(s.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: message,
		})
	})
}

func TestHealth(t *testing.T) {
	unobserved := func(group *groupObservation) { group.deployment.Status = appsv1.DeploymentStatus{} }
	absent := func(group *groupObservation) { group.desired, group.deployment = nil, nil }
	tests := []struct {
		name         string
		ray, service error
		head, worker func(*groupObservation)
		want         string
	}{
		{
			name: "everything is available",
			want: healthy,
		},
		{
			name:   "there are no workers, and none are desired",
			worker: absent,
			want:   healthy,
		},
		{
			name: "nothing has been observed",
			head: unobserved, worker: unobserved,
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet",
		},
		{
			name: "the only group has not been observed",
			head: unobserved, worker: absent,
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet",
		},
		{
			name: "one group has not been observed, and the other is known to be incomplete",
			head: unobserved, worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }),
			want: "False RolloutIncomplete: head: the Deployment has not been observed yet; worker: 0 of 3 available",
		},
		{
			name:   "there is no Deployment",
			worker: func(group *groupObservation) { group.deployment = nil },
			want:   "False RolloutIncomplete: worker: the Deployment does not exist",
		},
		{
			name:   "the newest generation has not been observed",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 2 }),
			want:   "False RolloutIncomplete: worker: the Deployment's newest generation has not been observed yet",
		},
		{
			name:   "a Pod is not available",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 2 }),
			want:   "False RolloutIncomplete: worker: 2 of 3 available",
		},
		{
			name:   "a Pod has an old template",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 2 }),
			want:   "False RolloutIncomplete: worker: 2 of 3 updated",
		},
		{
			name:   "an old Pod still exists",
			worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.Replicas = 4 }),
			want:   "False RolloutIncomplete: worker: 1 old replicas are pending termination",
		},
		{
			name: "the head is new, and the workers have been observed",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 0 }),
			want: "False RolloutIncomplete: head: the Deployment has not been observed yet",
		},
		{
			name: "Pods have an old template because the rollout is paused",
			worker: func(group *groupObservation) {
				group.deployment.Spec.Paused = true
				group.deployment.Status.UpdatedReplicas = 2
			},
			want: "False RolloutIncomplete: worker: 2 of 3 updated: the Deployment is paused",
		},
		{
			name: "both groups are incomplete",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }), worker: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 }),
			want: "False RolloutIncomplete: head: 0 of 1 available; worker: 1 of 3 available",
		},
		{
			name:   "Pods are rejected",
			worker: failingReplicas(`pods "x" is forbidden: exceeded quota`),
			want:   `False ReplicaFailure: worker: 1 of 3 available: pods "x" is forbidden: exceeded quota`,
		},
		{
			name: "the head is starting, and Pods of the workers are rejected",
			head: ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }), worker: failingReplicas("exceeded quota"),
			want: "False ReplicaFailure: head: 0 of 1 available; worker: 1 of 3 available: exceeded quota",
		},
		{
			name: "a condition says that Pods are no longer rejected",
			worker: func(group *groupObservation) {
				failingReplicas("x")(group)
				group.deployment.Status.Conditions[1].Status = corev1.ConditionFalse
			},
			want: "False RolloutIncomplete: worker: 1 of 3 available",
		},
		{
			name:    "the Service has a problem, which is the first one",
			service: blocked(reasonAlreadyExists, "Service", "x", "exists"),
			worker:  ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 2 }),
			want:    "False AlreadyExists: Service \"x\" exists; worker: 2 of 3 available",
		},
		{
			name:   "a problem sets the reason even if another group is incomplete",
			head:   ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 }),
			worker: func(group *groupObservation) { group.err = blocked(reasonAlreadyExists, "Service", "x", "exists") },
			want:   "False AlreadyExists: head: 0 of 1 available; worker: Service \"x\" exists",
		},
		{
			name:    "the Service has a problem, and nothing has been observed",
			service: failed(reasonFailedCreate, "Service", "x", errors.New("no")),
			head:    unobserved, worker: unobserved,
			want: "False FailedCreate: Service \"x\" could not be created: no; head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet",
		},
		{
			name: "the Ray cannot be decoded",
			ray:  unreadable("spec cannot be decoded: x"),
			want: "False Unreadable: spec cannot be decoded: x",
		},
		{
			name: "workers that are no longer desired cannot be deleted",
			worker: func(group *groupObservation) {
				absent(group)
				group.err = failed(reasonFailedDelete, "Deployment", "x", errors.New("no"))
			},
			want: "False FailedDelete: worker: Deployment \"x\" could not be deleted: no",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			observed := &observation{rayErr: test.ray}
			if test.ray == nil {
				observed.serviceErr = test.service
				observed.groups = []groupObservation{
					availableGroup(rayv1.RoleHead, 1, test.head),
					availableGroup(rayv1.RoleWorker, 3, test.worker),
				}
			}
			checkHealth(t, newStatus(readSample(t), observed, later), test.want)
		})
	}
}

// checkHealth checks the condition Health of a status, and that Ready equals it except for the type.
func checkHealth(t *testing.T, status rayv1.RayStatus, want string) {
	t.Helper()
	health, ready := findCondition(status.Conditions, rayv1.RayHealth), findCondition(status.Conditions, rayv1.RayReady)
	if health == nil || ready == nil {
		t.Fatalf("conditions %v, want Health and Ready", status.Conditions)
	}
	if got := strings.TrimSuffix(string(health.Status)+" "+health.Reason+": "+health.Message, ": "); got != want {
		t.Errorf("Health is\n%s, want\n%s", got, want)
	}
	wantReady := *health
	wantReady.Type = rayv1.RayReady
	if diff := cmp.Diff(wantReady, *ready); diff != "" {
		t.Errorf("Ready differs from Health (-want +got):\n%s", diff)
	}
}

func TestRayWithoutReplicasIsHealthy(t *testing.T) {
	observed := &observation{groups: []groupObservation{availableGroup(rayv1.RoleHead, 0, nil)}}
	checkHealth(t, newStatus(readSample(t), observed, later), healthy)
}

// TestHealthOfChangedDeployment has a healthy Ray with a head that another client changed.
func TestHealthOfChangedDeployment(t *testing.T) {
	const unobserved = "False RolloutIncomplete: head: the Deployment's newest generation has not been observed yet"
	newGeneration := func(d *appsv1.Deployment) { d.Generation++ }
	tests := []struct {
		name string
		ray  func(*rayv1.Ray)
		head func(*appsv1.Deployment)
		want string
	}{
		{
			name: "a healthy Ray stays healthy until the Deployment controller observes the change",
			head: newGeneration,
			want: healthy,
		},
		{
			name: "an unhealthy Ray does not become healthy before that",
			ray: func(ray *rayv1.Ray) {
				ray.Status.Conditions[0].Status, ray.Status.Conditions[1].Status = corev1.ConditionFalse, corev1.ConditionFalse
			},
			head: newGeneration,
			want: unobserved,
		},
		{
			name: "a new generation of the Ray is not healthy before that",
			ray:  func(ray *rayv1.Ray) { ray.Generation++ },
			head: newGeneration,
			want: unobserved,
		},
		{
			name: "a missing Pod makes the Ray unhealthy",
			head: func(d *appsv1.Deployment) {
				d.Generation++
				d.Status.AvailableReplicas = 0
			},
			want: "False RolloutIncomplete: head: 0 of 1 available",
		},
		{
			name: "a new Deployment makes the health unknown",
			head: func(d *appsv1.Deployment) { d.Status = appsv1.DeploymentStatus{} },
			want: "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := readSample(t)
			ray.Generation, ray.Status.ObservedGeneration = 2, 2
			ray.Status.Conditions = []rayv1.RayCondition{
				{Type: rayv1.RayHealth, Status: corev1.ConditionTrue},
				{Type: rayv1.RayReady, Status: corev1.ConditionTrue},
			}
			if test.ray != nil {
				test.ray(ray)
			}
			head := availableGroup(rayv1.RoleHead, 1, func(group *groupObservation) { test.head(group.deployment) })
			checkHealth(t, newStatus(ray, &observation{groups: []groupObservation{head}}, later), test.want)
		})
	}
}

func TestNewStatus(t *testing.T) {
	ray := readSample(t)
	ray.Generation = 7
	before := ray.DeepCopy()
	observed := &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, nil),
		availableGroup(rayv1.RoleWorker, 3, ofStatus(func(s *appsv1.DeploymentStatus) {
			s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas, s.UnavailableReplicas = 5, 4, 3, 2, 1
		})),
	}}
	condition := func(conditionType rayv1.RayConditionType, status corev1.ConditionStatus, reason, message string) rayv1.RayCondition {
		return rayv1.RayCondition{
			Type: conditionType, Status: status, ObservedGeneration: 7, Reason: reason, Message: message,
			LastUpdateTime: later, LastTransitionTime: later,
		}
	}
	want := rayv1.RayStatus{
		ObservedGeneration: 7,
		StartTime:          &later,
		Head:               rayv1.HeadStatus{ReplicaCounts: rayv1.ReplicaCounts{Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}},
		Worker: &rayv1.WorkerStatus{
			ReplicaCounts: rayv1.ReplicaCounts{Replicas: 5, UpdatedReplicas: 4, ReadyReplicas: 3, AvailableReplicas: 2, UnavailableReplicas: 1},
			Selector:      "ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=worker",
		},
		DesiredWorkerReplicas: new(int32(3)), UpdatedWorkerReplicas: new(int32(4)),
		ReadyWorkerReplicas: new(int32(3)), AvailableWorkerReplicas: new(int32(2)),
		Endpoints: rayv1.Endpoints{GCS: "sample-cluster-head.default.svc:6379"},
		Conditions: []rayv1.RayCondition{
			condition(rayv1.RayHealth, corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"),
			condition(rayv1.RayReady, corev1.ConditionFalse, reasonProgressing, "worker: 2 of 3 available"),
			condition(rayv1.RayHeadDeploymentProgressing, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayHeadDeploymentAvailable, corev1.ConditionTrue, "Available", "It is."),
			condition(rayv1.RayHeadDeploymentReplicaFailure, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayWorkerDeploymentProgressing, corev1.ConditionUnknown, "", ""),
			condition(rayv1.RayWorkerDeploymentAvailable, corev1.ConditionTrue, "Available", "It is."),
			condition(rayv1.RayWorkerDeploymentReplicaFailure, corev1.ConditionUnknown, "", ""),
		},
	}
	got := newStatus(ray, observed, later)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, ray); diff != "" {
		t.Errorf("newStatus changed the Ray (-before +after):\n%s", diff)
	}

	ray.Status = got
	if again := newStatus(ray, observed, metav1.NewTime(later.Add(time.Hour))); !equality.Semantic.DeepEqual(got, again) {
		t.Errorf("the status changed although nothing was observed to change (-before +after):\n%s", cmp.Diff(got, again))
	}

	ray.Spec.Worker, observed.groups[1] = nil, groupObservation{name: "worker", role: rayv1.RoleWorker}
	headOnly := newStatus(ray, observed, later)
	if len(headOnly.Conditions) != 5 || headOnly.Worker != nil || headOnly.DesiredWorkerReplicas != nil || headOnly.ReadyWorkerReplicas != nil {
		t.Errorf("the status of a Ray without workers has workers: %v", headOnly)
	}
}

// TestObservedGeneration has a new generation of a Ray. The Deployment controller has observed the head's
// Deployment, but not that of the workers.
func TestObservedGeneration(t *testing.T) {
	ray := readSample(t)
	ray.Generation = 2
	ray.Status.Conditions = []rayv1.RayCondition{{Type: rayv1.RayWorkerDeploymentAvailable, ObservedGeneration: 1}}
	status := newStatus(ray, &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, nil),
		availableGroup(rayv1.RoleWorker, 3, ofStatus(func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 2 })),
	}}, later)
	for conditionType, want := range map[rayv1.RayConditionType]int64{
		rayv1.RayHealth: 2, rayv1.RayReady: 2, rayv1.RayHeadDeploymentAvailable: 2, rayv1.RayWorkerDeploymentAvailable: 1,
	} {
		if got := findCondition(status.Conditions, conditionType).ObservedGeneration; got != want {
			t.Errorf("observedGeneration of %s is %d, want %d", conditionType, got, want)
		}
	}
}

// TestStatusEndpoints checks the endpoints in the status, which remain while the spec cannot be decoded.
func TestStatusEndpoints(t *testing.T) {
	ray := readSample(t)
	want := rayv1.Endpoints{GCS: "sample-cluster-head.default.svc:6379"}
	ray.Status = newStatus(ray, &observation{}, earlier)
	if ray.Status.Endpoints != want {
		t.Errorf("the endpoints are %v, want %v", ray.Status.Endpoints, want)
	}
	ray.Spec = rayv1.RaySpec{}
	if got := newStatus(ray, &observation{rayErr: unreadable("a")}, later).Endpoints; got != want {
		t.Errorf("the endpoints of a Ray that cannot be decoded are %v, want %v", got, want)
	}
}
