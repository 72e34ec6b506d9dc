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
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

// startGCS starts the GCS of all Rays that have a fakeRay. The ClusterIPs of a local cluster are loopback addresses,
// so that it gets what the operator sends to the Service of a head.
var startGCS = sync.OnceValues(func() (*gcstest.Server, error) { return gcstest.Start("0.0.0.0:6379") })

// fakeRay is the GCS and the scheduler of a Ray, as far as an autoscaler sees them: each Pod that is ready is a node,
// with the CPUs and GPUs of its container. A task takes one CPU of a worker and runs until the test finishes it. A node
// that was drained is gone, until its Pod is replaced.
type fakeRay struct {
	u       *user
	name    string
	address string
	gcs     *gcstest.Cluster

	mu      sync.Mutex // locked by calls of gcs, which have its own lock
	pods    map[string]*fakeNode
	waiting int64 // tasks
	// demand is other demand, which is never met.
	demand  []gcs.Demand
	drained []string
	// interrupted are the Pods that were deleted while a task ran on their nodes.
	interrupted []string
	// onDrain is called when a node has been drained, with the name of its Pod. It must not call the fakeRay.
	onDrain func(pod string)
}

// fakeNode is a Pod and its node.
type fakeNode struct {
	id, group string
	role      rayv1.Role
	total     gcs.Resources
	tasks     int64
	idleSince time.Time
	drained   bool
}

// newFakeRay returns the GCS of a Ray that exists.
func newFakeRay(u *user, name string) *fakeRay {
	u.Helper()
	server, err := startGCS()
	if err != nil {
		u.Fatal(err)
	}
	f := &fakeRay{u: u, name: name, pods: map[string]*fakeNode{}}
	u.eventually("the Service of the head has an address", func() error {
		service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), name+"-head", metav1.GetOptions{})
		if err == nil {
			f.address = service.Spec.ClusterIP
		}
		return err
	})
	f.gcs = server.Cluster(f.address)
	u.Cleanup(func() {
		server.Remove(f.address)
		for _, violation := range f.gcs.Violations() {
			u.Errorf("the operator makes a call that no client must make: %s", violation)
		}
	})
	f.gcs.OnDrain(f.drain)
	f.watchPods(u.T)
	return f
}

// watchPods keeps the nodes equal to the Pods until the test ends.
func (f *fakeRay) watchPods(t *testing.T) {
	t.Helper()
	informer := informers.NewSharedInformerFactoryWithOptions(cluster.Kube, 0, informers.WithNamespace(f.u.namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = rayv1.LabelName + "=" + f.name }),
	).Core().V1().Pods().TypedInformer()
	registration, err := informer.AddTypedEventHandler(cache.TypedResourceEventHandlerFuncs[*corev1.Pod]{
		AddFunc:    f.setPod,
		UpdateFunc: func(_, pod *corev1.Pod) { f.setPod(pod) },
		DeleteFunc: func(pod cache.DeletedObject[*corev1.Pod]) {
			f.change(func() { f.removePod(pod.GetObjectName().Name) })
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), registration.HasSynced) {
		t.Fatal("the Pods could not be listed")
	}
}

// change changes tasks and Pods, and lets the GCS report the result.
func (f *fakeRay) change(change func()) {
	f.gcs.Update(func(state *gcs.ClusterState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		change()
		*state = f.schedule()
	})
}

// setPod adds the node of a Pod that is ready, and removes that of a Pod that is not.
func (f *fakeRay) setPod(pod *corev1.Pod) {
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	f.mu.Lock()
	known := f.pods[pod.Name] != nil
	f.mu.Unlock()
	switch {
	case pod.DeletionTimestamp != nil || !ready:
		f.change(func() { f.removePod(pod.Name) })
	case !known:
		f.change(func() { f.pods[pod.Name] = newFakeNode(pod) })
	}
}

func newFakeNode(pod *corev1.Pod) *fakeNode {
	role := rayv1.Role(pod.Labels[rayv1.LabelRole])
	node := &fakeNode{id: string(pod.UID), role: role, group: strings.TrimPrefix(string(role), "worker-"), total: gcs.Resources{}, idleSince: time.Now()}
	for name, resource := range map[string]corev1.ResourceName{"CPU": corev1.ResourceCPU, "GPU": "nvidia.com/gpu"} {
		// The head runs no tasks.
		if limit := pod.Spec.Containers[0].Resources.Limits[resource]; !limit.IsZero() && role != rayv1.RoleHead {
			node.total[name] = limit.AsApproximateFloat64()
		}
	}
	return node
}

// removePod removes the node of a Pod. Its tasks wait again.
func (f *fakeRay) removePod(name string) {
	node := f.pods[name]
	if node == nil {
		return
	}
	if node.tasks > 0 {
		f.interrupted = append(f.interrupted, name)
		f.waiting += node.tasks
	}
	delete(f.pods, name)
}

// drain drains a node that is idle, as Ray does.
func (f *fakeRay) drain(gcsNode gcs.Node, _ gcstest.Drain) (accepted bool, rejection string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.pods[gcsNode.Instance]
	switch {
	case node == nil || node.drained:
		return true, ""
	case node.tasks > 0:
		return false, "The node to be idle terminated is no longer idle."
	}
	node.drained = true
	f.drained = append(f.drained, gcsNode.Instance)
	if f.onDrain != nil {
		f.onDrain(gcsNode.Instance)
	}
	return true, ""
}

// schedule starts tasks that wait on nodes with room, and returns the state of the cluster.
func (f *fakeRay) schedule() gcs.ClusterState {
	state := gcs.ClusterState{Session: f.u.namespace}
	for _, name := range slices.Sorted(maps.Keys(f.pods)) {
		node := f.pods[name]
		if node.drained {
			continue
		}
		started := min(f.waiting, int64(node.total["CPU"])-node.tasks)
		f.waiting -= started
		node.tasks += started
		reported := gcs.Node{ID: node.id, Instance: name, Group: node.group, Total: node.total, Available: maps.Clone(node.total), Status: gcs.NodeRunning}
		if cpus := node.total["CPU"]; cpus > 0 {
			reported.Available["CPU"] = cpus - float64(node.tasks)
		}
		if node.tasks == 0 {
			reported.Status, reported.Idle = gcs.NodeIdle, time.Since(node.idleSince)
		}
		state.Nodes = append(state.Nodes, reported)
	}
	state.Tasks = slices.Clone(f.demand)
	if f.waiting > 0 {
		state.Tasks = append(state.Tasks, newDemand(f.waiting, "CPU", 1))
	}
	return state
}

func newDemand(count int64, resource string, amount float64) gcs.Demand {
	return gcs.Demand{Request: gcs.Request{Resources: gcs.Resources{resource: amount}}, Count: count}
}

// submit submits tasks.
func (f *fakeRay) submit(count int64) { f.change(func() { f.waiting += count }) }

// require sets other demand, which is never met.
func (f *fakeRay) require(demand ...gcs.Demand) { f.change(func() { f.demand = demand }) }

// finish finishes the tasks on the nodes of some Pods, or all tasks, even those that wait.
func (f *fakeRay) finish(pods ...string) {
	f.change(func() {
		if len(pods) == 0 {
			f.waiting = 0
			pods = slices.Collect(maps.Keys(f.pods))
		}
		for _, pod := range pods {
			if node := f.pods[pod]; node != nil && node.tasks > 0 {
				node.tasks, node.idleSince = 0, time.Now()
			}
		}
	})
}

// restartDrained restarts the nodes that were drained, as kubelets restart containers that have exited.
func (f *fakeRay) restartDrained() {
	f.change(func() {
		for _, node := range f.pods {
			if node.drained {
				node.id, node.drained, node.idleSince = node.id+"'", false, time.Now()
			}
		}
	})
}

// busy returns the Pods of nodes with tasks, sorted.
func (f *fakeRay) busy() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, node := range f.pods {
		if node.tasks > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// nodes returns the number of nodes of a group, drained ones included.
func (f *fakeRay) nodes(role rayv1.Role) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	count := 0
	for _, node := range f.pods {
		if node.role == role {
			count++
		}
	}
	return count
}

// drainedPods returns the Pods of the nodes that were drained, sorted.
func (f *fakeRay) drainedPods() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.drained))
}

// checkNotInterrupted checks that no Pod was deleted while a task ran on its node.
func (f *fakeRay) checkNotInterrupted() {
	f.u.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.interrupted) > 0 {
		f.u.Errorf("Pods were deleted while a task ran on their nodes: %v", f.interrupted)
	}
}

// waitWorkers waits until a group of workers is to have a number of nodes, and has them.
func (f *fakeRay) waitWorkers(role rayv1.Role, want int) {
	f.u.Helper()
	f.u.eventually(fmt.Sprintf("group %s has %d nodes", role, want), func() error {
		deployment, err := cluster.Kube.AppsV1().Deployments(f.u.namespace).Get(f.u.Context(), f.name+"-"+string(role), metav1.GetOptions{})
		if err != nil {
			return err
		}
		desired, replicas, pods := f.desired(role), int(*deployment.Spec.Replicas), 0
		for _, pod := range f.u.pods(role) {
			if pod.Labels[rayv1.LabelName] == f.name {
				pods++
			}
		}
		if nodes := f.nodes(role); desired != want || replicas != want || pods != want || nodes > want {
			return fmt.Errorf("the status has %d, the Deployment %d replicas, and %d Pods and %d nodes exist", desired, replicas, pods, nodes)
		}
		return nil
	})
}

// desired returns the number of desired nodes of a group in the status, or -1 if it has none.
func (f *fakeRay) desired(role rayv1.Role) int {
	f.u.Helper()
	status := f.u.ray(f.name).Status
	var desired *int32
	if role == rayv1.RoleWorker && status.Worker != nil {
		desired = status.Worker.DesiredReplicas
	}
	for _, group := range status.WorkerGroups {
		if role == rayv1.RoleWorker+"-"+rayv1.Role(group.Name) {
			desired = group.DesiredReplicas
		}
	}
	if desired == nil {
		return -1
	}
	return int(*desired)
}

// waitScaling waits until a condition about autoscaling has a status, a reason, and a message with a text.
func (f *fakeRay) waitScaling(kind rayv1.RayConditionType, status corev1.ConditionStatus, reason, text string) {
	f.u.Helper()
	f.u.eventually(fmt.Sprintf("%s is %s, %s, %q", kind, status, reason, text), func() error {
		got := condition(f.u.ray(f.name), kind)
		if got.Status != status || got.Reason != reason || !strings.Contains(got.Message, text) {
			return fmt.Errorf("%s is %s, %s, %q", kind, got.Status, got.Reason, got.Message)
		}
		return nil
	})
}
