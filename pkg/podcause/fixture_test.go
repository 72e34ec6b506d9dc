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
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// now is the time of all tests.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ago returns a time before now.
func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

// option changes a Pod.
type option func(*corev1.Pod)

// newPod returns a Pod of a worker with one container that was scheduled a minute ago.
func newPod(options ...option) corev1.Pod {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "x-worker-6d4f8b7c9-bcdfg", GenerateName: "x-worker-6d4f8b7c9-"},
		Spec: corev1.PodSpec{
			NodeName:   "n1",
			Containers: []corev1.Container{{Name: "ray", Image: "ray:2.9"}},
		},
		Status: corev1.PodStatus{
			Phase:      corev1.PodPending,
			Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: ago(time.Minute)}},
			PodIP:      "10.244.1.7",
		},
	}
	for _, o := range options {
		o(&pod)
	}
	return pod
}

// with adds a condition, or replaces the one of this type.
func with(conditionType corev1.PodConditionType, status corev1.ConditionStatus, reason, message string, age time.Duration) option {
	return func(pod *corev1.Pod) {
		c := condition(pod, conditionType)
		if c == nil {
			pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: conditionType})
			c = condition(pod, conditionType)
		}
		c.Status, c.Reason, c.Message, c.LastTransitionTime = status, reason, message, ago(age)
	}
}

// unscheduled removes the node, and adds the scheduler's message.
func unscheduled(reason, message string) option {
	return func(pod *corev1.Pod) {
		pod.Spec.NodeName = ""
		with(corev1.PodScheduled, corev1.ConditionFalse, reason, message, time.Minute)(pod)
	}
}

// status adds the status of the first container. Its name is filled in.
func status(s corev1.ContainerStatus) option {
	return func(pod *corev1.Pod) {
		s.Name = pod.Spec.Containers[len(pod.Status.ContainerStatuses)].Name
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
	}
}

// initContainer adds an init container with a status.
func initContainer(name string, s corev1.ContainerStatus) option {
	return func(pod *corev1.Pod) {
		s.Name = name
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: name, Image: name + ":1"})
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, s)
	}
}

// sidecar adds a native sidecar with a status.
func sidecar(name string, s corev1.ContainerStatus) option {
	return func(pod *corev1.Pod) {
		initContainer(name, s)(pod)
		pod.Spec.InitContainers[len(pod.Spec.InitContainers)-1].RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	}
}

// waiting returns the status of a container that waits.
func waiting(reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

// running returns the status of a container that runs and is not ready.
func running(age time.Duration) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		State:   corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: ago(age)}},
		Started: new(true),
	}
}

// exit returns how a container exited.
func exit(code int32, reason, message string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, StartedAt: ago(time.Minute), FinishedAt: ago(time.Second)}
}

// terminated returns the status of a container that exited and was not restarted yet.
func terminated(e *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: e}}
}

// after returns a status of a container that exited before.
func after(e *corev1.ContainerStateTerminated, s corev1.ContainerStatus) corev1.ContainerStatus {
	s.LastTerminationState.Terminated = e
	s.RestartCount = 3
	return s
}

// crashLoop returns the status of a container that waits until it is restarted.
func crashLoop(e *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	return after(e, waiting("CrashLoopBackOff", "back-off 2m40s restarting failed container=ray pod=x-worker-6d4f8b7c9-bcdfg_default(8d3c6f6e-0d3c-4b7e-9d2a-0a1b2c3d4e5f)"))
}

// deleted sets the time by which a Pod must have terminated.
func deleted(age time.Duration) option {
	return func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(ago(age)), new(int64(30))
		pod.Status.Phase = corev1.PodRunning
	}
}

// finalizers sets the finalizers of a Pod.
func finalizers(names ...string) option {
	return func(pod *corev1.Pod) { pod.Finalizers = names }
}

// phase sets the phase of a Pod.
func phase(p corev1.PodPhase, reason, message string) option {
	return func(pod *corev1.Pod) { pod.Status.Phase, pod.Status.Reason, pod.Status.Message = p, reason, message }
}

// spec changes the spec of a Pod.
func spec(change func(*corev1.PodSpec)) option {
	return func(pod *corev1.Pod) { change(&pod.Spec) }
}

// check fails a test if the summary of some Pods is not as expected.
func check(t *testing.T, want string, pods ...corev1.Pod) {
	t.Helper()
	if got := Summary(pods, now); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
