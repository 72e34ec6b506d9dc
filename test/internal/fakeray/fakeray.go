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

// Package fakeray is the GCS and the scheduler of a Ray without Ray, as far as an autoscaler sees them. The Pods are
// those of simulated nodes.
package fakeray

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

// Ray is the GCS and the scheduler of a Ray: each Pod that is ready is a node, with the CPUs and GPUs of its container.
// A task takes one CPU of a worker and runs until the test finishes it. A node that was drained is gone, until its Pod
// is replaced or RestartDrained is called.
type Ray struct {
	GCS *gcstest.Cluster

	session string

	mu      sync.Mutex // locked by calls of GCS, which have their own lock
	pods    map[string]*node
	waiting int64 // tasks
	// demand is other demand, which is never met.
	demand      []gcs.Demand
	drained     []string
	interrupted []string
	onDrain     func(pod string)
}

// node is a Pod and its node.
type node struct {
	id, group string
	role      rayv1.Role
	total     gcs.Resources
	tasks     int64
	idleSince time.Time
	drained   bool
}

// New returns a Ray, of which the cluster is the GCS. Until ctx is done, its nodes are the Pods in a namespace that have
// the name of the Ray in their labels.
func New(ctx context.Context, kube kubernetes.Interface, cluster *gcstest.Cluster, namespace, name string) (*Ray, error) {
	r := &Ray{GCS: cluster, session: namespace, pods: map[string]*node{}}
	cluster.OnDrain(r.drain)
	informer := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = rayv1.LabelName + "=" + name }),
	).Core().V1().Pods().TypedInformer()
	registration, err := informer.AddTypedEventHandler(cache.TypedResourceEventHandlerFuncs[*corev1.Pod]{
		AddFunc:    r.setPod,
		UpdateFunc: func(_, pod *corev1.Pod) { r.setPod(pod) },
		DeleteFunc: func(pod cache.DeletedObject[*corev1.Pod]) {
			r.change(func() { r.removePod(pod.GetObjectName().Name) })
		},
	})
	if err != nil {
		return nil, err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, errors.New("the Pods could not be listed")
	}
	return r, nil
}

// change changes tasks and Pods, and lets the GCS report the result.
func (r *Ray) change(change func()) {
	r.GCS.Update(func(state *gcs.ClusterState) {
		r.mu.Lock()
		defer r.mu.Unlock()
		change()
		*state = r.schedule()
	})
}

// setPod adds the node of a Pod that is ready, and removes that of a Pod that is not.
func (r *Ray) setPod(pod *corev1.Pod) {
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	r.mu.Lock()
	known := r.pods[pod.Name] != nil
	r.mu.Unlock()
	switch {
	case pod.DeletionTimestamp != nil || !ready:
		r.change(func() { r.removePod(pod.Name) })
	case !known:
		r.change(func() { r.pods[pod.Name] = newNode(pod) })
	}
}

func newNode(pod *corev1.Pod) *node {
	role := rayv1.Role(pod.Labels[rayv1.LabelRole])
	n := &node{id: string(pod.UID), role: role, group: strings.TrimPrefix(string(role), "worker-"), total: gcs.Resources{}, idleSince: time.Now()}
	for name, resource := range map[string]corev1.ResourceName{"CPU": corev1.ResourceCPU, "GPU": "nvidia.com/gpu"} {
		// The head runs no tasks.
		if limit := pod.Spec.Containers[0].Resources.Limits[resource]; !limit.IsZero() && role != rayv1.RoleHead {
			n.total[name] = limit.AsApproximateFloat64()
		}
	}
	return n
}

// removePod removes the node of a Pod. Its tasks wait again.
func (r *Ray) removePod(name string) {
	n := r.pods[name]
	if n == nil {
		return
	}
	if n.tasks > 0 {
		r.interrupted = append(r.interrupted, name)
		r.waiting += n.tasks
	}
	delete(r.pods, name)
}

// drain drains a node that is idle, as Ray does.
func (r *Ray) drain(gcsNode gcs.Node, _ gcstest.Drain) (accepted bool, rejection string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.pods[gcsNode.Instance]
	switch {
	case n == nil || n.drained:
		return true, ""
	case n.tasks > 0:
		return false, "The node to be idle terminated is no longer idle."
	}
	n.drained = true
	r.drained = append(r.drained, gcsNode.Instance)
	if r.onDrain != nil {
		r.onDrain(gcsNode.Instance)
	}
	return true, ""
}

// schedule starts tasks that wait on nodes with room, and returns the state of the cluster.
func (r *Ray) schedule() gcs.ClusterState {
	state := gcs.ClusterState{Session: r.session}
	for _, name := range slices.Sorted(maps.Keys(r.pods)) {
		n := r.pods[name]
		if n.drained {
			continue
		}
		started := min(r.waiting, int64(n.total["CPU"])-n.tasks)
		r.waiting -= started
		n.tasks += started
		reported := gcs.Node{ID: n.id, Instance: name, Group: n.group, Total: n.total, Available: maps.Clone(n.total), Status: gcs.NodeRunning}
		if cpus := n.total["CPU"]; cpus > 0 {
			reported.Available["CPU"] = cpus - float64(n.tasks)
		}
		if n.tasks == 0 {
			reported.Status, reported.Idle = gcs.NodeIdle, time.Since(n.idleSince)
		}
		state.Nodes = append(state.Nodes, reported)
	}
	state.Tasks = slices.Clone(r.demand)
	if r.waiting > 0 {
		state.Tasks = append(state.Tasks, Demand(r.waiting, "CPU", 1))
	}
	return state
}

// Demand returns the demand for a number of requests of one resource.
func Demand(count int64, resource string, amount float64) gcs.Demand {
	return gcs.Demand{Request: gcs.Request{Resources: gcs.Resources{resource: amount}}, Count: count}
}

// Submit submits tasks.
func (r *Ray) Submit(count int64) { r.change(func() { r.waiting += count }) }

// Require sets other demand, which is never met.
func (r *Ray) Require(demand ...gcs.Demand) { r.change(func() { r.demand = demand }) }

// Finish finishes the tasks on the nodes of some Pods, or all tasks, even those that wait.
func (r *Ray) Finish(pods ...string) {
	r.change(func() {
		if len(pods) == 0 {
			r.waiting = 0
			pods = slices.Collect(maps.Keys(r.pods))
		}
		for _, pod := range pods {
			if n := r.pods[pod]; n != nil && n.tasks > 0 {
				n.tasks, n.idleSince = 0, time.Now()
			}
		}
	})
}

// OnDrain sets a function that is called when a node has been drained, with the name of its Pod. It must not call the
// Ray.
func (r *Ray) OnDrain(call func(pod string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onDrain = call
}

// RestartDrained restarts the nodes that were drained, as kubelets restart containers that have exited.
func (r *Ray) RestartDrained() {
	r.change(func() {
		for _, n := range r.pods {
			if n.drained {
				n.id, n.drained, n.idleSince = n.id+"'", false, time.Now()
			}
		}
	})
}

// Busy returns the Pods of nodes with tasks, sorted.
func (r *Ray) Busy() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, n := range r.pods {
		if n.tasks > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Nodes returns the number of nodes of a group, drained ones included.
func (r *Ray) Nodes(role rayv1.Role) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, n := range r.pods {
		if n.role == role {
			count++
		}
	}
	return count
}

// Drained returns the Pods of the nodes that were drained, sorted.
func (r *Ray) Drained() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.drained))
}

// Interrupted returns the Pods that were deleted while a task ran on their nodes.
func (r *Ray) Interrupted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.interrupted)
}
