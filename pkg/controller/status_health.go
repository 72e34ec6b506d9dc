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
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// wasHealthy returns whether the status says that a Ray is healthy in its current generation.
func wasHealthy(ray *rayv1.Ray) bool {
	health := findCondition(ray.Status.Conditions, rayv1.RayHealth)
	return ray.Status.ObservedGeneration == ray.Generation && health != nil && health.Status == corev1.ConditionTrue
}

// newHealth returns the condition Health. Its message is one line with all that is missing. Its reason
// is that of the first problem, else Suspended if the Ray is, else ReplicaFailure, else that of the first
// group that is incomplete.
//
// A healthy Ray stays healthy while the Deployment controller has yet to observe a new generation of a
// Deployment: no Pod has changed. Otherwise, each annotation that a client sets on a Deployment, which
// is a new generation, would change Health twice.
func newHealth(ray *rayv1.Ray, observed *observation) rayv1.RayCondition {
	if observed.deleting != "" {
		return rayv1.RayCondition{Type: rayv1.RayHealth, Status: corev1.ConditionFalse, Reason: reasonDeleting, Message: normalize(observed.deleting)}
	}
	healthy := wasHealthy(ray)
	var reason string
	var messages []string
	if problems := observed.problems(); len(problems) > 0 {
		reason = asProblem(problems[0]).reason
	}
	for _, err := range []error{observed.rayErr, observed.serviceErr} {
		if err != nil {
			messages = append(messages, asProblem(err).message)
		}
	}
	anyObserved := false
	for i := range observed.groups {
		group := &observed.groups[i]
		groupReason, message := incomplete(group, healthy)
		anyObserved = anyObserved || group.desired != nil && groupReason != reasonUnobserved
		if groupReason == "" {
			continue
		}
		messages = append(messages, fmt.Sprintf("%s: %s", group.name, message))
		if reason == "" || reason == reasonUnobserved || reason == reasonProgressing && isPodProblem(groupReason) {
			reason = groupReason
		}
	}
	if anyObserved && reason == reasonUnobserved {
		reason = reasonProgressing
	}
	if suspended := suspension(ray); suspended != "" && !isProblem(reason) {
		reason, messages = reasonSuspended, append([]string{suspended}, messages...)
	}

	health := rayv1.RayCondition{Type: rayv1.RayHealth, Status: corev1.ConditionFalse, Reason: reason, Message: joinMessages(messages)}
	switch reason {
	case "":
		health.Status, health.Reason = corev1.ConditionTrue, reasonHealthy
	case reasonUnobserved:
		health.Status = corev1.ConditionUnknown
	}
	return health
}

// maxHealthMessage is the length, in bytes, from which on the message of Health names no further groups: a
// Ray can have fifty, each with a long message.
const maxHealthMessage = 4096

// joinMessages joins the messages about the Ray and its groups.
func joinMessages(messages []string) string {
	length := 0
	for i, message := range messages {
		if length += len(message); length > maxHealthMessage && i > 0 {
			return fmt.Sprintf("%s; and %d more groups", strings.Join(messages[:i], "; "), len(messages)-i)
		}
	}
	return strings.Join(messages, "; ")
}

// incomplete returns the reason and the message why a group is not healthy, or nothing if it is.
func incomplete(group *groupObservation, wasHealthy bool) (reason, message string) {
	switch {
	case group.err != nil:
		problem := asProblem(group.err)
		return problem.reason, problem.message
	case group.desired == nil:
		return "", ""
	case group.waiting != "":
		return reasonProgressing, group.waiting
	case group.deployment == nil:
		return reasonProgressing, "the Deployment does not exist"
	}
	deployment := group.deployment
	progress := group.progress()
	failure := findDeploymentCondition(deployment, appsv1.DeploymentReplicaFailure)
	switch {
	case deployment.Status.ObservedGeneration == 0:
		return reasonUnobserved, "the Deployment has not been observed yet"
	case deployment.Status.ObservedGeneration < deployment.Generation && !wasHealthy:
		return reasonProgressing, "the Deployment's newest generation has not been observed yet"
	case progress == "":
		return "", ""
	case failure != nil && failure.Status == corev1.ConditionTrue:
		return reasonReplicaFailure, progress + ": " + normalize(failure.Message)
	case deployment.Spec.Paused:
		return reasonProgressing, progress + ": the Deployment is paused"
	case group.cause != "":
		return reasonPodFailure, progress + ": " + normalize(group.cause)
	default:
		return reasonProgressing, progress
	}
}

// incompleteReplicas returns how the Pods of a Deployment differ from the desired ones, or "". Its
// conditions are those of kubectl rollout status.
func incompleteReplicas(status *appsv1.DeploymentStatus, desired int32) string {
	switch {
	case status.AvailableReplicas < desired:
		return fmt.Sprintf("%d of %d available", status.AvailableReplicas, desired)
	case status.UpdatedReplicas < desired:
		return fmt.Sprintf("%d of %d updated", status.UpdatedReplicas, desired)
	case status.Replicas > desired:
		return fmt.Sprintf("%d old replicas are pending termination", status.Replicas-desired)
	default:
		return ""
	}
}
