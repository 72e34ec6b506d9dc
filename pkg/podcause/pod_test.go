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
)

func TestPods(t *testing.T) {
	const (
		noCPU = "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 Insufficient cpu."
		short = "unschedulable: 0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 Insufficient cpu"
	)
	isReady := with(corev1.PodReady, corev1.ConditionTrue, "", "", time.Minute)
	containersReady := func(age time.Duration) option {
		return with(corev1.ContainersReady, corev1.ConditionTrue, "", "", age)
	}
	creating := status(waiting("ContainerCreating", ""))
	gates := spec(func(s *corev1.PodSpec) {
		s.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/b"}, {ConditionType: "example.com/a"}, {ConditionType: "example.com/passed"}}
	})
	passed := with("example.com/passed", corev1.ConditionTrue, "", "", 0)
	refused := with("example.com/a", corev1.ConditionFalse, "", "", 0)
	volumes := spec(func(s *corev1.PodSpec) {
		token := &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}}}
		s.Volumes = []corev1.Volume{
			{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "default"},
			{Name: "kube-api-access-7x2hq", VolumeSource: corev1.VolumeSource{Projected: token}},
			{Name: "models", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "m"}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
		}
	})

	tests := []struct {
		name string
		pod  corev1.Pod
		want string
	}{
		{"an empty Pod", corev1.Pod{}, ""},
		{"a Pod that was just created", newPod(unscheduled("", ""), with(corev1.PodScheduled, corev1.ConditionUnknown, "", "", 0)), ""},
		{"a ready Pod that restarted before", newPod(isReady, status(after(exit(1, "Error", ""), running(time.Second)))), ""},
		{"a Pod that succeeded", newPod(phase(corev1.PodSucceeded, "", ""), status(terminated(exit(0, "Completed", "")))), ""},

		{"an unschedulable Pod", newPod(unscheduled("Unschedulable", noCPU)), short},
		{"an unschedulable Pod after preemption was tried", newPod(unscheduled("Unschedulable", noCPU+" preemption: 0/4 nodes are available: 1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.")), short},
		{"an unschedulable Pod with resource claims", newPod(unscheduled("Unschedulable", noCPU+" no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.")), short},
		{"no nodes", newPod(unscheduled("Unschedulable", "no nodes available to schedule pods")), "unschedulable: no nodes available to schedule pods"},
		{"an unschedulable Pod without a message", newPod(unscheduled("Unschedulable", "")), "unschedulable"},
		{"only the result of preemption", newPod(unscheduled("Unschedulable", "0/4 nodes are available: preemption: not eligible.")), "unschedulable: 0/4 nodes are available"},
		{"an error of the scheduler", newPod(unscheduled("SchedulerError", `running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded`)), `unschedulable: running PreBind plugin "VolumeBinding": binding volumes: context deadline exceeded`},
		{"a Pod with scheduling gates", newPod(unscheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"), spec(func(s *corev1.PodSpec) {
			s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "kueue.x-k8s.io/topology"}, {Name: "kueue.x-k8s.io/admission"}}
		})), "waiting for scheduling gates: kueue.x-k8s.io/admission, kueue.x-k8s.io/topology"},
		{"a Pod after its last scheduling gate was removed", newPod(unscheduled("SchedulingGated", "")), ""},

		{"a Pod that waits for its network", newPod(creating), "waiting for volumes or network"},
		{"a Pod that waits for its volumes", newPod(creating, volumes, with(corev1.PodReadyToStartContainers, corev1.ConditionFalse, "", "", time.Minute)), `waiting for volumes or network (volumes "config", "models")`},
		{"a Pod with init containers that waits for its network", newPod(status(waiting("PodInitializing", "")), initContainer("wait", waiting("PodInitializing", ""))), "waiting for volumes or network"},
		{"a Pod that was scheduled 20 s ago", newPod(creating, with(corev1.PodScheduled, corev1.ConditionTrue, "", "", 20*time.Second)), ""},
		{"a Pod that pulls an image", newPod(creating, with(corev1.PodReadyToStartContainers, corev1.ConditionTrue, "", "", 20*time.Second)), ""},
		{"a Pod with a running init container", newPod(status(waiting("PodInitializing", "")), initContainer("wait", running(time.Minute))), ""},
		{"a Pod that the kubelet has not seen", newPod(), ""},

		{"readiness gates", newPod(gates, passed, refused, containersReady(time.Minute)), "waiting for readiness gates: example.com/a, example.com/b"},
		{"readiness gates of a Pod with containers that have just become ready", newPod(gates, passed, containersReady(20*time.Second)), ""},
		{"readiness gates of a Pod with containers that are not ready", newPod(gates, passed, with(corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", "", time.Minute)), ""},

		{"a node that does not report", newPod(phase(corev1.PodRunning, "", ""), containersReady(time.Hour), with(corev1.PodReady, corev1.ConditionFalse, "", "", time.Minute)), `node "n1" is unresponsive`},
		{"containers that have just become ready", newPod(phase(corev1.PodRunning, "", ""), containersReady(0), with(corev1.PodReady, corev1.ConditionFalse, "ReadinessGatesNotReady", "", time.Minute)), ""},

		{"a Pod that terminates within its grace period", newPod(deleted(-time.Second), status(crashLoop(exit(1, "Error", "x")))), ""},
		{"a Pod that does not terminate", newPod(deleted(time.Second), isReady), `Pod does not terminate on node "n1"`},
		{"a Pod without a node that does not terminate", newPod(deleted(time.Second), unscheduled("Unschedulable", noCPU)), "Pod does not terminate"},
		{"a Pod with finalizers that does not terminate", newPod(deleted(time.Second), finalizers("example.com/b", "example.com/a")), "Pod does not terminate: finalizers: example.com/a, example.com/b"},
		{"a Pod on a lost node", newPod(deleted(time.Minute), finalizers("example.com/a"), phase(corev1.PodRunning, "NodeLost", "Node n1 which was running pod x is unresponsive")), `Pod does not terminate: node "n1" is unresponsive`},
		{"a Pod on a node with unknown status", newPod(deleted(time.Minute), with(corev1.PodReady, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.", time.Hour)), `Pod does not terminate: node "n1" is unresponsive`},
		{"a Pod on a node that does not report", newPod(deleted(time.Minute), containersReady(time.Hour), with(corev1.PodReady, corev1.ConditionFalse, "", "", time.Minute)), `Pod does not terminate: node "n1" is unresponsive`},
		{"a Pod that hangs with stopped containers", newPod(deleted(time.Minute), with(corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", "", 0), with(corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", "", 0)), `Pod does not terminate on node "n1"`},
		{"a failed Pod with a finalizer", newPod(deleted(time.Minute), phase(corev1.PodFailed, "Evicted", ""), finalizers("example.com/a")), ""},

		{"an evicted Pod", newPod(phase(corev1.PodFailed, "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51204Ki. Container ray was using 8123456Ki, request is 4Gi, has larger consumption of memory. ")), "Pod failed: Evicted: The node was low on resource: memory"},
		{"a Pod that was not admitted", newPod(phase(corev1.PodFailed, "UnexpectedAdmissionError", "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1, Available: 0, which is unexpected")), "Pod failed: UnexpectedAdmissionError: Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu"},
		{"a failed Pod without a reason", newPod(phase(corev1.PodFailed, "", "")), "Pod failed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, test.want, test.pod) })
	}
}

func TestGroups(t *testing.T) {
	unschedulable := newPod(unscheduled("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu."))
	other := newPod(unscheduled("Unschedulable", "0/2 nodes are available: 2 Insufficient cpu."))
	gated := newPod(unscheduled("SchedulingGated", ""), spec(func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "a"}} }))
	crashes := newPod(status(crashLoop(exit(1, "Error", "boom"))))
	evicted := newPod(phase(corev1.PodFailed, "Evicted", "The node had condition: [DiskPressure]. "))
	hangs := newPod(deleted(time.Second))
	backOff := newPod(status(waiting("ImagePullBackOff", `Back-off pulling image "ray:2.9"`)))
	notFound := newPod(status(waiting("ErrImagePull", "not found")))
	denied := newPod(status(waiting("ErrImagePull", "denied")))
	starts := newPod(status(running(time.Second)))

	tests := []struct {
		name string
		pods []corev1.Pod
		want string
	}{
		{"no Pods", nil, ""},
		{"a Pod that starts", []corev1.Pod{starts}, ""},
		{"two Pods with one cause", []corev1.Pod{crashes, starts, crashes}, `2 Pods: container "ray" exited with 1: boom`},
		{"two unschedulable Pods", []corev1.Pod{unschedulable, unschedulable}, "2 Pods unschedulable: 0/1 nodes are available: 1 Insufficient cpu"},
		{"Pods that the scheduler tried with another number of nodes", []corev1.Pod{other, unschedulable, gated, other}, "3 Pods unschedulable: 0/2 nodes are available: 2 Insufficient cpu; waiting for scheduling gates: a"},
		{"two Pods that do not terminate", []corev1.Pod{hangs, hangs}, `2 Pods do not terminate on node "n1"`},
		{"two Pods with scheduling gates", []corev1.Pod{gated, gated}, "2 Pods: waiting for scheduling gates: a"},
		{"two failed Pods", []corev1.Pod{evicted, evicted}, "2 Pods failed: Evicted: The node had condition: [DiskPressure]"},
		{"a failed Pod that was replaced", []corev1.Pod{evicted, evicted, unschedulable}, "unschedulable: 0/1 nodes are available: 1 Insufficient cpu"},
		{"the most frequent cause", []corev1.Pod{crashes, unschedulable, unschedulable}, `2 Pods unschedulable: 0/1 nodes are available: 1 Insufficient cpu; container "ray" exited with 1: boom`},
		{"causes that are equally frequent", []corev1.Pod{unschedulable, crashes}, `container "ray" exited with 1: boom; unschedulable: 0/1 nodes are available: 1 Insufficient cpu`},
		{"three causes", []corev1.Pod{gated, unschedulable, crashes, gated}, `2 Pods: waiting for scheduling gates: a; container "ray" exited with 1: boom`},
		{"an older kubelet that reports why a pull failed only for some Pods", []corev1.Pod{backOff, notFound, backOff}, `3 Pods: container "ray" cannot pull image "ray:2.9": not found`},
		{"two reasons why a pull failed", []corev1.Pod{backOff, notFound, denied, notFound}, `3 Pods: container "ray" cannot pull image "ray:2.9": not found; container "ray" cannot pull image "ray:2.9": denied`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, test.want, test.pods...) })
	}
}
