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

package ray

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	gcsPort = 6379
	// pollInterval is the time between two requests to the GCS, and the error of measured times.
	pollInterval = 100 * time.Millisecond
)

// observer compares a Ray's condition Ready with Ray's own view of its nodes, all the time.
type observer struct {
	t                      testing.TB
	namespace, name, token string
	start                  time.Time

	mutex sync.Mutex
	// lines are what has changed, for the log of the test.
	lines []string
	// ray is the newest version of the Ray.
	ray *rayv1.Ray
	// ready and readySince are the condition, and when it was seen first.
	ready      corev1.ConditionStatus
	readySince time.Time
	// pods describes the Pods.
	pods string
	// state is the newest answer of the GCS. It has no nodes if the GCS did not answer.
	state *rayState
	// completeSince is since when the GCS has all nodes, or zero.
	completeSince time.Time
	// untrue is the sum of the times in which Ready was True and the GCS did not have all nodes.
	untrue time.Duration
}

// observe starts to observe a Ray, which need not exist yet, until the test ends. The token may be empty.
func observe(t testing.TB, namespace, name, token string) *observer {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o := &observer{t: t, namespace: namespace, name: name, token: token, start: time.Now(), state: &rayState{}}
	var running sync.WaitGroup
	running.Go(func() { o.watch(ctx) })
	running.Go(func() { o.poll(ctx) })
	running.Go(func() { o.watchPods(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if t.Failed() || testing.Verbose() {
			t.Logf("what was observed, by seconds:\n%s", strings.Join(o.lines, "\n"))
		}
	})
	return o
}

// watch follows the Ray.
func (o *observer) watch(ctx context.Context) {
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + o.name}
	watcher, err := cluster.Rays.RayV1().Rays(o.namespace).Watch(ctx, options)
	if err != nil {
		o.t.Error(err)
		return
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		ray, ok := event.Object.(*rayv1.Ray)
		if !ok {
			if ctx.Err() == nil {
				o.t.Errorf("the watch of the Ray ends with %v", event.Object)
			}
			return
		}
		o.update(ctx, ray)
	}
}

// update stores a new version of the Ray. When Ready becomes True, all nodes must be alive. Nodes that
// leave may be alive, too.
func (o *observer) update(ctx context.Context, ray *rayv1.Ray) {
	ready := condition(ray, rayv1.RayReady)
	o.mutex.Lock()
	changed := o.ray == nil || condition(o.ray, rayv1.RayReady).Message != ready.Message
	becameReady := ready.Status == corev1.ConditionTrue && o.ready != corev1.ConditionTrue
	if ready.Status != o.ready {
		o.readySince = time.Now()
	}
	o.ray, o.ready = ray, ready.Status
	if changed {
		o.log("Ready is %s: %s", ready.Status, ready.Message)
	}
	o.mutex.Unlock()
	if !becameReady {
		return
	}
	state := o.ask(ctx)
	if want := desiredNodes(ray); len(state.nodes) < want && ctx.Err() == nil {
		o.t.Errorf("Ready became True while the GCS has %d nodes, want %d", len(state.nodes), want)
	}
}

// poll follows the nodes of the GCS.
func (o *observer) poll(ctx context.Context) {
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollInterval):
		}
		state, now := o.ask(ctx), time.Now()
		o.mutex.Lock()
		if before, after := describe(o.state), describe(state); before != after {
			o.log("%s", after)
		}
		complete := o.ray != nil && len(state.nodes) == desiredNodes(o.ray)
		switch {
		case !complete:
			o.completeSince = time.Time{}
		case o.completeSince.IsZero() || state.session != o.state.session:
			o.completeSince = now
		}
		if o.ready == corev1.ConditionTrue && len(state.nodes) < desiredNodes(o.ray) {
			o.untrue += now.Sub(last)
		}
		o.state, last = state, now
		o.mutex.Unlock()
	}
}

// watchPods follows the Pods, for the log.
func (o *observer) watchPods(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * pollInterval):
		}
		list, err := cluster.Kube.CoreV1().Pods(o.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		pods := describePods(list.Items)
		o.mutex.Lock()
		if pods != o.pods {
			o.pods = pods
			o.log("%s", pods)
		}
		o.mutex.Unlock()
	}
}

// ask returns the state of the GCS, without nodes if the GCS does not answer.
func (o *observer) ask(ctx context.Context) *rayState {
	service, err := cluster.Kube.CoreV1().Services(o.namespace).Get(ctx, o.name+"-head", metav1.GetOptions{})
	if err != nil {
		return &rayState{}
	}
	state, err := readGCS(ctx, net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(gcsPort)), o.token)
	if err != nil {
		return &rayState{}
	}
	return state
}

// log adds a line to the log. The caller holds the mutex.
func (o *observer) log(format string, args ...any) {
	o.lines = append(o.lines, fmt.Sprintf("%6.1f  ", time.Since(o.start).Seconds())+fmt.Sprintf(format, args...))
}

// step adds a step of the test to the log.
func (o *observer) step(format string, args ...any) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.log("==> "+format, args...)
}

// observation is what an observer knows at some time.
type observation struct {
	ray                       *rayv1.Ray
	ready                     corev1.ConditionStatus
	message                   string
	readySince, completeSince time.Time
	state                     *rayState
	untrue                    time.Duration
}

func (o *observer) observation() observation {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	now := observation{o.ray, o.ready, "", o.readySince, o.completeSince, o.state, o.untrue}
	if o.ray != nil {
		now.message = condition(o.ray, rayv1.RayReady).Message
	}
	return now
}

// eventually waits until an observation meets a condition.
func (o *observer) eventually(what string, timeout time.Duration, met func(observation) bool) observation {
	o.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		seen := o.observation()
		if met(seen) {
			return seen
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("timed out after %s waiting until %s: Ready is %s: %s; %s", timeout, what, seen.ready, seen.message, describe(seen.state))
		}
		time.Sleep(pollInterval / 2)
	}
}

// waitReady waits until all nodes are alive and Ready is True, of the newest generation of the Ray.
func (o *observer) waitReady() observation {
	o.t.Helper()
	newest, err := cluster.Rays.RayV1().Rays(o.namespace).Get(o.t.Context(), o.name, metav1.GetOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	return o.eventually("all nodes are alive and Ready is True", startTimeout, func(seen observation) bool {
		return seen.ready == corev1.ConditionTrue && !seen.completeSince.IsZero() && seen.ray.Status.ObservedGeneration >= newest.Generation
	})
}

// desiredNodes returns the number of nodes that a Ray should have.
func desiredNodes(ray *rayv1.Ray) int {
	nodes := 0
	for _, group := range resources.Groups(ray) {
		if group.Autoscaling == nil {
			nodes += int(group.Replicas)
		}
	}
	if worker := ray.Status.Worker; worker != nil && worker.DesiredReplicas != nil {
		nodes += int(*worker.DesiredReplicas)
	}
	for _, group := range ray.Status.WorkerGroups {
		if group.DesiredReplicas != nil {
			nodes += int(*group.DesiredReplicas)
		}
	}
	return nodes
}

// describe describes a state of the GCS in one line.
func describe(state *rayState) string {
	if state.session == "" {
		return "the GCS does not answer"
	}
	return fmt.Sprintf("%s: %d nodes %v, %d busy", state.session, len(state.nodes), state.groups(), state.busy())
}

// describePods describes the containers of Pods in one line.
func describePods(pods []corev1.Pod) string {
	var parts []string
	for i := range pods {
		pod := &pods[i]
		state := "pending"
		for _, status := range pod.Status.ContainerStatuses {
			switch {
			case status.Ready:
				state = "ready"
			case status.State.Running != nil:
				state = "running"
			case status.State.Waiting != nil:
				state = status.State.Waiting.Reason
			default:
				state = "exited"
			}
			state += fmt.Sprintf(", %d restarts", status.RestartCount)
		}
		if pod.DeletionTimestamp != nil {
			state += ", terminating"
		}
		parts = append(parts, pod.Name[max(0, len(pod.Name)-12):]+" ("+state+")")
	}
	return "Pods: " + strings.Join(parts, "; ")
}

// condition returns a condition of a Ray. It is Unknown if the Ray does not have it.
func condition(ray *rayv1.Ray, kind rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range ray.Status.Conditions {
		if ray.Status.Conditions[i].Type == kind {
			return &ray.Status.Conditions[i]
		}
	}
	return &rayv1.RayCondition{Type: kind, Status: corev1.ConditionUnknown, Message: "the condition is missing"}
}
