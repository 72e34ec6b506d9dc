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

package podcause

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// startTimeout is the time after which a step of starting a Pod that usually takes seconds is reported.
const startTimeout = 30 * time.Second

// podCause returns why a Pod is not available: the first cause in the order in which a Pod starts.
// Later causes follow from it.
func podCause(pod *corev1.Pod, now time.Time) cause {
	switch {
	case pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		return cause{}
	case pod.DeletionTimestamp != nil:
		return terminatingCause(pod, now)
	case isTrue(pod, corev1.PodReady):
		return cause{}
	}
	finders := []func(*corev1.Pod, time.Time) cause{
		schedulingCause, volumesCause, containersCause, gatesCause, nodeCause,
	}
	for _, find := range finders {
		if c := find(pod, now); c != (cause{}) {
			return c
		}
	}
	return cause{}
}

// failedCause returns why a Pod failed as a whole: for example, it was evicted.
func failedCause(pod *corev1.Pod) cause {
	if pod.Status.Phase != corev1.PodFailed || pod.DeletionTimestamp != nil {
		return cause{}
	}
	text := ""
	if reason := clean(pod, pod.Status.Reason); reason != "" {
		text += ": " + reason
	}
	// The sentences that follow contain quantities, which differ between Pods.
	sentence, _, _ := strings.Cut(pod.Status.Message, ". ")
	if sentence = strings.TrimSuffix(clean(pod, sentence), "."); sentence != "" {
		text += ": " + sentence
	}
	return cause{one: "Pod failed", many: " Pods failed", text: text}
}

// terminatingCause returns why a Pod still exists after its grace period, which deletionTimestamp
// includes.
func terminatingCause(pod *corev1.Pod, now time.Time) cause {
	if !pod.DeletionTimestamp.Time.Before(now) {
		return cause{}
	}
	c := cause{one: "Pod does not terminate", many: " Pods do not terminate"}
	switch {
	case pod.Spec.NodeName != "" && nodeUnresponsive(pod):
		c.text = ": node " + quote(pod.Spec.NodeName) + " is unresponsive"
	case len(pod.Finalizers) > 0:
		c.text = ": finalizers: " + list(pod.Finalizers)
	case pod.Spec.NodeName != "":
		c.text = " on node " + quote(pod.Spec.NodeName)
	}
	return c
}

// nodeUnresponsive returns whether a Pod has a status that the controller manager set because the
// kubelet does not report one.
func nodeUnresponsive(pod *corev1.Pod) bool {
	ready := condition(pod, corev1.PodReady)
	switch {
	case pod.Status.Reason == "NodeLost":
		return true
	case ready == nil || ready.Status == corev1.ConditionTrue:
		return false
	case ready.Reason == "NodeLost", ready.Reason == "NodeStatusUnknown", ready.Reason == "NodeStatusNeverUpdated":
		return true
	default:
		// The node lifecycle controller changes only the status of this condition. A kubelet always
		// sets a reason, and reports a Pod without ready containers in both conditions.
		return ready.Reason == "" && isTrue(pod, corev1.ContainersReady)
	}
}

// schedulingCause returns why a Pod has no node.
func schedulingCause(pod *corev1.Pod, _ time.Time) cause {
	scheduled := condition(pod, corev1.PodScheduled)
	if scheduled == nil || scheduled.Status != corev1.ConditionFalse {
		return cause{}
	}
	switch scheduled.Reason {
	case corev1.PodReasonSchedulingGated:
		var gates []string
		for _, gate := range pod.Spec.SchedulingGates {
			gates = append(gates, gate.Name)
		}
		if len(gates) == 0 {
			return cause{} // just removed
		}
		return causeOf("waiting for scheduling gates: " + list(gates))
	case corev1.PodReasonUnschedulable, corev1.PodReasonSchedulerError:
		message := strings.TrimRight(clean(pod, withoutPreemption(scheduled.Message)), " .:")
		// Pods with the same template differ only in how many nodes there were at the last attempt.
		return cause{one: "unschedulable", many: " Pods unschedulable", detail: message, dated: true}
	default:
		return cause{}
	}
}

// withoutPreemption returns the message of the scheduler without the last sentence, if this reports the
// result of preemption.
func withoutPreemption(message string) string {
	reasons, _, found := strings.Cut(message, "preemption: ")
	if end := strings.LastIndex(reasons, ". "); found && end >= 0 {
		return reasons[:end]
	}
	return reasons
}

// volumesCause returns whether a kubelet prepares a Pod for unusually long. A kubelet reports in events
// what fails meanwhile.
func volumesCause(pod *corev1.Pod, now time.Time) cause {
	scheduled := condition(pod, corev1.PodScheduled)
	switch {
	case pod.Status.Phase != corev1.PodPending,
		isTrue(pod, corev1.PodReadyToStartContainers),
		scheduled == nil || scheduled.Status != corev1.ConditionTrue,
		!longAgo(scheduled.LastTransitionTime.Time, now, startTimeout),
		!noContainerCreated(pod):
		return cause{}
	}
	var volumes []string
	for i := range pod.Spec.Volumes {
		if mayFail(&pod.Spec.Volumes[i]) {
			volumes = append(volumes, quote(pod.Spec.Volumes[i].Name))
		}
	}
	text := "waiting for volumes or network"
	if len(volumes) > 0 {
		text += " (volumes " + list(volumes) + ")"
	}
	return causeOf(text)
}

// noContainerCreated returns whether all containers still wait for the Pod's volumes and network.
func noContainerCreated(pod *corev1.Pod) bool {
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for i := range statuses {
		waiting := statuses[i].State.Waiting
		if waiting == nil || waiting.Reason != containerCreating && waiting.Reason != podInitializing {
			return false
		}
	}
	return len(statuses) > 0 // otherwise the kubelet has not seen the Pod
}

// mayFail returns whether a volume depends on more than the node: not an emptyDir, which is the default,
// and not the token that the API server adds.
func mayFail(volume *corev1.Volume) bool {
	if projected := volume.Projected; projected != nil {
		return !slices.ContainsFunc(projected.Sources, func(source corev1.VolumeProjection) bool {
			return source.ServiceAccountToken != nil
		})
	}
	return volume.EmptyDir == nil && volume.VolumeSource != (corev1.VolumeSource{})
}

// gatesCause returns for which readiness gates a Pod with ready containers waits.
func gatesCause(pod *corev1.Pod, now time.Time) cause {
	ready := condition(pod, corev1.ContainersReady)
	if ready == nil || ready.Status != corev1.ConditionTrue || !longAgo(ready.LastTransitionTime.Time, now, startTimeout) {
		return cause{}
	}
	passed := map[corev1.PodConditionType]bool{}
	for i := range pod.Status.Conditions {
		passed[pod.Status.Conditions[i].Type] = pod.Status.Conditions[i].Status == corev1.ConditionTrue
	}
	var gates []string
	for _, gate := range pod.Spec.ReadinessGates {
		if !passed[gate.ConditionType] {
			gates = append(gates, string(gate.ConditionType))
		}
	}
	if len(gates) == 0 {
		return cause{}
	}
	return causeOf("waiting for readiness gates: " + list(gates))
}

// nodeCause returns whether the node of a Pod with ready containers no longer reports its status.
func nodeCause(pod *corev1.Pod, _ time.Time) cause {
	if pod.Spec.NodeName == "" || !nodeUnresponsive(pod) {
		return cause{}
	}
	return causeOf("node " + quote(pod.Spec.NodeName) + " is unresponsive")
}

// condition returns a condition of a Pod, or nil.
func condition(pod *corev1.Pod, conditionType corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == conditionType {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// isTrue returns whether a condition of a Pod is True.
func isTrue(pod *corev1.Pod, conditionType corev1.PodConditionType) bool {
	c := condition(pod, conditionType)
	return c != nil && c.Status == corev1.ConditionTrue
}

// longAgo returns whether a known time is longer ago than a duration.
func longAgo(then, now time.Time, duration time.Duration) bool {
	return !then.IsZero() && now.Sub(then) > duration
}
