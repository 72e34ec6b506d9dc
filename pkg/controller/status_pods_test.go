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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestHealthSaysWhy has groups that are incomplete for a reason that is known.
func TestHealthSaysWhy(t *testing.T) {
	caused := func(cause string, available int32) func(*groupObservation) {
		return func(group *groupObservation) {
			group.cause = cause
			group.deployment.Status.AvailableReplicas = available
		}
	}
	waiting := func(waiting string) func(*groupObservation) {
		return func(group *groupObservation) { group.waiting = waiting }
	}
	terminating := func(count int32) func(*groupObservation) {
		return ofStatus(func(s *appsv1.DeploymentStatus) { s.TerminatingReplicas = &count })
	}
	both := func(changes ...func(*groupObservation)) func(*groupObservation) {
		return func(group *groupObservation) {
			for _, change := range changes {
				change(group)
			}
		}
	}
	refused := func(group *groupObservation) {
		group.deployment.Name = "x"
		group.deployment.Status.Conditions = append(group.deployment.Status.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ReplicaSetCreateError", Message: "no",
		})
		group.err = refusedReplicaSet(group.deployment)
	}
	tests := []struct {
		name         string
		service      error
		head, worker func(*groupObservation)
		want         string
	}{
		{
			name:   "the cause is known",
			worker: caused("2 Pods unschedulable: x", 1),
			want:   "False PodFailure: worker: 1 of 3 available: 2 Pods unschedulable: x",
		},
		{
			name:   "a cause that is known is not that of a complete group",
			worker: caused("x", 3),
			want:   healthy,
		},
		{
			name: "the causes of both groups are known",
			head: caused("x", 0), worker: caused("y", 0),
			want: "False PodFailure: head: 0 of 1 available: x; worker: 0 of 3 available: y",
		},
		{
			name: "the cause of the second group is known",
			head: caused("", 0), worker: caused("y", 0),
			want: "False PodFailure: head: 0 of 1 available; worker: 0 of 3 available: y",
		},
		{
			name: "the cause of the first group is known, and Pods of the second are rejected",
			head: caused("x", 0), worker: failingReplicas("y"),
			want: "False PodFailure: head: 0 of 1 available: x; worker: 1 of 3 available: y",
		},
		{
			name:   "Pods are rejected, and a cause is known",
			worker: both(failingReplicas("y"), caused("x", 0)),
			want:   "False ReplicaFailure: worker: 0 of 3 available: y",
		},
		{
			name:   "the Deployment is paused, and a cause is known",
			worker: both(caused("x", 0), func(group *groupObservation) { group.deployment.Spec.Paused = true }),
			want:   "False RolloutIncomplete: worker: 0 of 3 available: the Deployment is paused",
		},
		{
			name:    "the Service has a problem, and a cause is known",
			service: failed(reasonFailedCreate, "Service", "x", errors.New("no")),
			worker:  caused("y", 0),
			want:    `False FailedCreate: Service "x" could not be created: no; worker: 0 of 3 available: y`,
		},
		{
			name:   "a cause is long",
			worker: caused(strings.Repeat("x", 2000), 0),
			want:   "False PodFailure: worker: 0 of 3 available: " + strings.Repeat("x", 1021) + "…",
		},
		{
			name: "an old head is terminating",
			head: terminating(1),
			want: "False RolloutIncomplete: head: 1 old Pod is terminating",
		},
		{
			name: "two old heads are terminating",
			head: terminating(2),
			want: "False RolloutIncomplete: head: 2 old Pods are terminating",
		},
		{
			name: "no old head is terminating",
			head: terminating(0),
			want: healthy,
		},
		{
			name: "an old head is terminating, and the new one is not available",
			head: both(terminating(1), caused("", 0)),
			want: "False RolloutIncomplete: head: 0 of 1 available: 1 old Pod is terminating",
		},
		{
			name: "an old head does not terminate",
			head: both(terminating(1), caused("Pod does not terminate", 0)),
			want: "False PodFailure: head: 0 of 1 available: 1 old Pod is terminating: Pod does not terminate",
		},
		{
			name:   "an old worker is terminating",
			worker: terminating(1),
			want:   healthy,
		},
		{
			name:   "workers wait for the head, which is complete",
			worker: waiting(waitingUpdate),
			want:   "False RolloutIncomplete: worker: not updated: waiting for the head",
		},
		{
			name: "workers wait for a head with a cause",
			head: caused("x", 0), worker: both(waiting(waitingUpdate), caused("y", 0)),
			want: "False PodFailure: head: 0 of 1 available: x; worker: not updated: waiting for the head",
		},
		{
			name:   "workers that do not exist wait for a head that is rejected",
			head:   func(group *groupObservation) { group.err = blocked(reasonAlreadyExists, "Deployment", "x", "exists") },
			worker: both(waiting(waitingCreate), func(group *groupObservation) { group.deployment = nil }),
			want:   `False AlreadyExists: head: Deployment "x" exists; worker: not created: waiting for the head`,
		},
		{
			name: "workers are rejected, so that the head is not updated",
			head: waiting(waitingGroup),
			worker: func(group *groupObservation) {
				group.err = failed(reasonFailedUpdate, "Deployment", "x", errors.New("no"))
			},
			want: `False FailedUpdate: head: not updated: an update of another group was rejected; worker: Deployment "x" could not be updated: no`,
		},
		{
			name: "a ReplicaSet cannot be created",
			head: refused,
			want: `False ReplicaFailure: head: Deployment "x" could not create a ReplicaSet: no`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			observed := &observation{serviceErr: test.service, groups: []groupObservation{
				availableGroup(rayv1.RoleHead, 1, test.head),
				availableGroup(rayv1.RoleWorker, 3, test.worker),
			}}
			checkHealth(t, newStatus(readSample(t), observed, later), test.want)
		})
	}
}

// TestDeletionIsTheOnlyReason has a Ray that is being deleted, of which nothing else matters.
func TestDeletionIsTheOnlyReason(t *testing.T) {
	observed := &observation{deleting: "being deleted, waiting for x", groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, ofStatus(func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 0 })),
		availableGroup(rayv1.RoleWorker, 3, failingReplicas("x")),
	}}
	status := newStatus(readSample(t), observed, later)
	checkHealth(t, status, "False Terminating: being deleted, waiting for x")
	if got := status.Worker; got == nil || got.AvailableReplicas != 1 {
		t.Errorf("the status has the workers %v, want 1 available", got)
	}
}

// TestRefusedReplicaSetMessage has messages of the Deployment controller.
func TestRefusedReplicaSetMessage(t *testing.T) {
	tests := []struct{ name, reason, message, want string }{
		{
			"a rejected ReplicaSet", "ReplicaSetCreateError", `Failed to create new replica set "x-1": replicasets.apps "x-1" is forbidden: exceeded quota`,
			`Deployment "x" could not create a ReplicaSet: replicasets.apps "x-1" is forbidden: exceeded quota`,
		},
		{"another message", "ReplicaSetCreateError", "sorry: no", `Deployment "x" could not create a ReplicaSet: sorry: no`},
		{"another reason", "ProgressDeadlineExceeded", "sorry: no", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := &appsv1.Deployment{}
			d.Name = "x"
			d.Status.Conditions = []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentAvailable, Reason: "ReplicaSetCreateError", Message: "of another type"},
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: test.reason, Message: test.message},
			}
			got := ""
			if err := refusedReplicaSet(d); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	if err := refusedReplicaSet(nil); err != nil {
		t.Errorf("a Deployment that does not exist has the problem %v", err)
	}
}
