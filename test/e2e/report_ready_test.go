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

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// minReadySeconds is how long a Pod without a readiness probe must run to be available.
const minReadySeconds = 5

// TestHealthAfterCrashes has a head that crashes two seconds after its start, again and again. Without a
// readiness probe, Kubernetes takes it for ready meanwhile. Health is never True, until the head runs for
// longer.
func TestHealthAfterCrashes(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(smallRay("crashing", fmt.Sprintf("nodeName: %s, terminationGracePeriodSeconds: 0, containers: [{name: ray-head, image: a, command: [ray]}]", u.newNode()), 0, ""), "create", "-f", "-")
	trues := u.watchHealthy("crashing")
	const crashes = 3
	for restarts := range int32(crashes) {
		u.setPodStatus("crashing", rayv1.RoleHead, func(pod *corev1.Pod) {
			setRunning(pod)
			pod.Status.ContainerStatuses[0].RestartCount = restarts
		})
		u.eventually("the head counts as ready", func() error {
			return wantCount(1, int(u.deployment("crashing-head").Status.ReadyReplicas))
		})
		time.Sleep(2 * time.Second) // It crashes only then.
		u.setPodStatus("crashing", rayv1.RoleHead, setCrashed)
	}
	u.waitProblem("crashing", "PodFailure", `head: 0 of 1 available: container "ray-head" exited with 2: Error: No such option '--redis-port'`)
	if got := trues(); got > 0 {
		t.Errorf("Health was True %d times", got)
	}

	u.setPodStatus("crashing", rayv1.RoleHead, setRunning)
	u.waitHealthy("crashing")
	ran := condition(u.ray("crashing"), rayv1.RayHealth).LastTransitionTime.Sub(u.podsOf("crashing", rayv1.RoleHead)[0].Status.StartTime.Time)
	if ran < minReadySeconds*time.Second {
		t.Errorf("Health is True after the head ran for %s, want at least %ds", ran, minReadySeconds)
	}
}

// TestReadiness checks what the operator adds so that a Pod that does not work is not available. The
// groups have no replicas.
func TestReadiness(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const probe = `"readinessProbe":{"exec":{"command":["true"]}}`
	tests := []struct {
		name       string
		containers string // JSON
		head       readiness
		worker     readiness
	}{
		{
			name:       "nothing",
			containers: `[{"name":"a","image":"a","command":["ray"]}]`,
			head:       readiness{MinReadySeconds: minReadySeconds, Policies: "FallbackToLogsOnError"},
			worker:     readiness{MinReadySeconds: minReadySeconds, Policies: "FallbackToLogsOnError"},
		},
		{
			name:       "the port of the GCS",
			containers: `[{"name":"a","image":"a","command":["ray"],"ports":[{"containerPort":8265},{"containerPort":6379}]}]`,
			head:       readiness{Port: 6379, Policies: "FallbackToLogsOnError"},
			worker:     readiness{MinReadySeconds: minReadySeconds, Policies: "FallbackToLogsOnError"},
		},
		{
			name:       "the port of the GCS and a probe",
			containers: `[{"name":"a","image":"a","command":["ray"],"ports":[{"containerPort":6379}],` + probe + `}]`,
			head:       readiness{Policies: "FallbackToLogsOnError"},
			worker:     readiness{Policies: "FallbackToLogsOnError"},
		},
		{
			name:       "a sidecar with a probe",
			containers: `[{"name":"a","image":"a","command":["ray"]},{"name":"b","image":"b",` + probe + `}]`,
			head:       readiness{Policies: "FallbackToLogsOnError,File"},
			worker:     readiness{Policies: "FallbackToLogsOnError,File"},
		},
		{
			name:       "a sidecar with the port of the GCS, and a policy",
			containers: `[{"name":"a","image":"a","command":["ray"],"terminationMessagePolicy":"File"},{"name":"b","image":"b","ports":[{"containerPort":6379}]}]`,
			head:       readiness{MinReadySeconds: minReadySeconds, Policies: "File,File"},
			worker:     readiness{MinReadySeconds: minReadySeconds, Policies: "File,File"},
		},
	}
	for i, test := range tests {
		group := fmt.Sprintf(`{"replicas":0,"template":{"spec":{"containers":%s}}}`, test.containers)
		u.kubectlWith(fmt.Sprintf(`{"apiVersion":"ray.kubeflow.org/v1","kind":"Ray","metadata":{"name":"r%d"},"spec":{"head":%s,"worker":%s}}`, i, group, group), "create", "-f", "-")
	}
	for i, test := range tests {
		name := fmt.Sprintf("r%d", i)
		u.waitSuspended(name) // it has no head, so there are no Pods
		got := []readiness{u.readiness(name + "-head"), u.readiness(name + "-worker")}
		if diff := cmp.Diff([]readiness{test.head, test.worker}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// readiness is what the operator adds to a Deployment.
type readiness struct {
	MinReadySeconds int32
	// Port is the port of the first container's TCP probe, or 0.
	Port int
	// Policies are the containers' policies for termination messages.
	Policies string
}

func (u *user) readiness(deployment string) readiness {
	u.Helper()
	spec := u.deployment(deployment).Spec
	got := readiness{MinReadySeconds: spec.MinReadySeconds}
	for i, container := range spec.Template.Spec.Containers {
		if i > 0 {
			got.Policies += ","
		}
		got.Policies += string(container.TerminationMessagePolicy)
	}
	if probe := spec.Template.Spec.Containers[0].ReadinessProbe; probe != nil && probe.TCPSocket != nil {
		got.Port = probe.TCPSocket.Port.IntValue()
	}
	return got
}

// watchHealthy watches a Ray until the returned function is called. That returns the number of versions
// of the Ray that were healthy.
func (u *user) watchHealthy(name string) func() int {
	u.Helper()
	ctx, cancel := context.WithCancel(u.Context())
	rays, err := cluster.Rays.RayV1().Rays(u.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		u.Fatal(err)
	}
	healthy := 0
	var done sync.WaitGroup
	done.Go(func() {
		for event := range rays.ResultChan() {
			if ray, ok := event.Object.(*rayv1.Ray); ok && condition(ray, rayv1.RayHealth).Status == corev1.ConditionTrue {
				healthy++
			}
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return healthy
	}
}

// newNode returns a node that kwok does not manage, since it lacks the annotation that the cluster's nodes
// have. So the test sets the status of its Pods. Pods reach it only by nodeName.
func (u *user) newNode() string {
	u.Helper()
	nodes := cluster.Kube.CoreV1().Nodes()
	_, err := nodes.Create(u.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: u.namespace},
		Spec:       corev1.NodeSpec{Unschedulable: true},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}},
	}, metav1.CreateOptions{})
	if err != nil {
		u.Fatal(err)
	}
	u.Cleanup(func() {
		if err := nodes.Delete(context.Background(), u.namespace, metav1.DeleteOptions{}); err != nil {
			u.Error(err)
		}
	})
	return u.namespace
}

// podsOf returns the Pods of a group of one Ray that are not being deleted.
func (u *user) podsOf(ray string, role rayv1.Role) []corev1.Pod {
	u.Helper()
	var pods []corev1.Pod
	for _, pod := range u.pods(role) {
		if pod.Labels[rayv1.LabelName] == ray && pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// setPodStatus waits until a group has one Pod, and changes its status as a kubelet does.
func (u *user) setPodStatus(ray string, role rayv1.Role, change func(*corev1.Pod)) {
	u.Helper()
	u.eventually("the status of the "+string(role)+" of "+ray+" is set", func() error {
		pods := u.podsOf(ray, role)
		if err := wantCount(1, len(pods)); err != nil {
			return err
		}
		change(&pods[0])
		_, err := cluster.Kube.CoreV1().Pods(u.namespace).UpdateStatus(u.Context(), &pods[0], metav1.UpdateOptions{})
		return err
	})
}

// setRunning has all containers of a Pod run and be ready.
func setRunning(pod *corev1.Pod) {
	pod.Status.Phase = corev1.PodRunning
	pod.Status.StartTime = new(metav1.Now())
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	for _, gate := range pod.Spec.ReadinessGates {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: gate.ConditionType, Status: corev1.ConditionTrue})
	}
	pod.Status.Conditions = append(pod.Status.Conditions,
		corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
		corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
		corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = nil, nil
	for i := range pod.Spec.InitContainers {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: pod.Spec.InitContainers[i].Name, Ready: true,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}},
		})
	}
	for i := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: pod.Spec.Containers[i].Name, Ready: true, Started: new(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
}

// setReady sets the condition Ready of a Pod.
func setReady(pod *corev1.Pod, status corev1.ConditionStatus) {
	for i := range pod.Status.Conditions {
		if condition := &pod.Status.Conditions[i]; condition.Type == corev1.PodReady {
			condition.Status, condition.LastTransitionTime = status, metav1.Now()
		}
	}
}

// setCrashed has the first container of a Pod crash as Ray does when it does not know an option.
func setCrashed(pod *corev1.Pod) {
	restarts := int32(1)
	if statuses := pod.Status.ContainerStatuses; len(statuses) > 0 {
		restarts = statuses[0].RestartCount + 1
	}
	waiting("CrashLoopBackOff", fmt.Sprintf("back-off %ds restarting failed container", 10*restarts), 2, "Error",
		"Usage: ray start [OPTIONS]\nTry 'ray start --help' for help.\n\nError: No such option '--redis-port'\n")(pod)
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses[0].RestartCount = restarts
}

// waiting returns a function that has the first container of a Pod wait. Before, it exited, if
// exitReason is not empty.
func waiting(reason, message string, exitCode int32, exitReason, log string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		status := corev1.ContainerStatus{
			Name:  pod.Spec.Containers[0].Name,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}
		if exitReason != "" {
			status.RestartCount = 1
			status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
				ExitCode: exitCode, Reason: exitReason, Message: log, FinishedAt: metav1.Now(),
			}
		}
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
		pod.Status.Conditions = []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
			{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: metav1.Now()},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", LastTransitionTime: metav1.Now()},
		}
	}
}
