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

package autoscaler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// maxDrains is the number of nodes of a group that one poll drains at most, unless maxReplicas was lowered. The
	// others follow in the next.
	maxDrains = 50
	// keepInterval is for how long a node is not drained after that failed, for example because Ray rejected it. Each
	// attempt costs two writes.
	keepInterval = 30 * time.Second
	// requestTimeout is the timeout of each request of a removal.
	requestTimeout = 2 * time.Second
	// drainMessage is what Ray logs about a drain.
	drainMessage = "idle for longer than idleTimeoutSeconds"
)

// remover removes nodes of a group in one poll: it drains them, and makes their Pods the first that the ReplicaSet
// deletes when the Deployment gets fewer replicas.
//
// Nothing is lost if the operator stops before the replicas are lowered: the containers of drained nodes restart, and
// the nodes are idle again.
type remover struct {
	*Autoscaler
	cluster *cluster
	ray     *rayv1.Ray
	group   resources.Group
	target  gcs.Target
	// nodes are those of all groups.
	nodes []gcs.Node
	// pods are those of the group.
	pods []*corev1.Pod
	// reported is the number of nodes that the GCS reports for a Pod, and alive is whether one of them is alive.
	reported map[string]int
	alive    map[string]bool
	// forced is set if the replicas are lowered even if nodes cannot be drained.
	forced bool
	// floor is the rank of the Pod that the ReplicaSet deletes first of those that must stay.
	floor deletionRank
}

// remove removes what a decision removes, and returns how many nodes the group should have after that. If canDrain is
// not set, it drains no node.
func (r *remover) remove(ctx context.Context, d *GroupDecision, canDrain bool) int32 {
	var candidates []gcs.Node
	if canDrain {
		// Because of Max, as many nodes as possible are drained, since the replicas are lowered in any case.
		candidates, r.forced = slices.Concat(d.Excess, r.candidates(d.Drain)), len(d.Excess) > 0
	}
	if len(candidates) == 0 && d.Surplus == 0 {
		return d.Replicas
	}
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "group", r.group.Name))
	surplus, err := r.prepare(ctx, candidates, d)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot prepare the removal of nodes")
		r.keep(candidates)
		return d.Replicas + d.Surplus
	}
	drained := r.drain(ctx, candidates)
	if len(d.Excess) > 0 {
		drained = 0 // Replicas does not include them
	}
	return d.Replicas + surplus - drained
}

// candidates returns the nodes that can be drained now.
func (r *remover) candidates(nodes []gcs.Node) []gcs.Node {
	now := r.clock.Now()
	for pod, until := range r.cluster.keptUntil {
		if !now.Before(until) {
			delete(r.cluster.keptUntil, pod)
		}
	}
	nodes = slices.DeleteFunc(nodes, func(node gcs.Node) bool {
		_, kept := r.cluster.keptUntil[node.Instance]
		return kept
	})
	return nodes[:min(len(nodes), maxDrains)]
}

// keep makes nodes no candidates for some time.
func (r *remover) keep(nodes []gcs.Node) {
	for i := range nodes {
		r.cluster.keptUntil[nodes[i].Instance] = r.clock.Now().Add(keepInterval)
	}
}

// prepare reads the Pods of the group, and marks those of the surplus that the ReplicaSet does not delete first anyway.
// It returns how much of the surplus must stay, all or nothing.
func (r *remover) prepare(ctx context.Context, candidates []gcs.Node, d *GroupDecision) (surplus int32, err error) {
	if err := r.listPods(ctx, candidates); err != nil {
		return 0, err
	}
	if err := r.resetCosts(ctx, candidates); err != nil {
		return 0, err
	}
	victims, removable := r.surplusPods(d)
	if !removable {
		klog.FromContext(ctx).V(2).Info("Kept pending nodes, since the ReplicaSet could delete others", "count", d.Surplus)
		surplus = d.Surplus
	}
	for _, pod := range victims {
		if err := ctx.Err(); err != nil {
			return 0, err // shutdown, or the end of the poll
		}
		if err := r.mark(ctx, pod); err != nil {
			return 0, err
		}
	}
	return surplus, nil
}

// resetCosts resets the deletion cost of Pods that are marked, as their nodes were drained, but are alive again: the
// replicas were never lowered, and they may be busy. Other marked Pods are about to be deleted.
func (r *remover) resetCosts(ctx context.Context, candidates []gcs.Node) error {
	for _, pod := range r.pods {
		if !isMarked(pod) || runsIn(candidates, pod.Name) || !r.alive[pod.Name] {
			continue
		}
		if err := r.setDeletionCost(ctx, pod, nil); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// drain shuts down idle nodes, and returns how many. Ray rejects a node that has got work meanwhile.
func (r *remover) drain(ctx context.Context, nodes []gcs.Node) (drained int32) {
	logger := klog.FromContext(ctx)
	pods := map[string]*corev1.Pod{}
	for _, pod := range r.pods {
		pods[pod.Name] = pod
	}
	// A Pod that is not ready goes before one that is, so it must have been drained before.
	slices.SortStableFunc(nodes, func(a, b gcs.Node) int { return cmp.Compare(rank(pods[a.Instance]), rank(pods[b.Instance])) })
	for i := range nodes {
		if ctx.Err() != nil {
			return drained // shutdown, or the end of the poll
		}
		node, pod := &nodes[i], pods[nodes[i].Instance]
		err := r.check(node, pod)
		if err == nil {
			err = r.drainNode(ctx, pod, node)
		}
		if err == nil {
			logger.V(2).Info("Drained an idle node", "pod", node.Instance, "idle", node.Idle)
			drainedNodes.Inc()
			drained++
			continue
		}
		logger.V(2).Info("Kept an idle node", "pod", node.Instance, "reason", err)
		r.keep(nodes[i : i+1])
		if pod != nil {
			r.floor = min(r.floor, rank(pod))
		}
		if errors.Is(err, gcs.ErrUnreachable) {
			r.keep(nodes[i:])
			return drained
		}
	}
	return drained
}

// check returns why a node must not be drained, although it is idle.
func (r *remover) check(node *gcs.Node, pod *corev1.Pod) error {
	switch {
	case pod == nil:
		return errors.New("not a node of a Pod of the Deployment")
	case r.reported[node.Instance] > 1:
		return errors.New("the container has restarted, and the GCS reports its former node, too")
	case !r.forced && rank(pod) > r.floor:
		return errors.New("the ReplicaSet would first delete the Pod of a node that must stay, as it is not ready")
	default:
		return nil
	}
}

// drainNode makes a Pod the first to be deleted, and shuts down its node. If Ray rejects that, the Pod is as before.
func (r *remover) drainNode(ctx context.Context, pod *corev1.Pod, node *gcs.Node) error {
	if err := r.mark(ctx, pod); err != nil {
		return err
	}
	drainCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	accepted, rejection, err := r.gcsClient.DrainNode(drainCtx, r.target, node.ID, drainMessage)
	if err == nil && accepted {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("rejected by Ray: %s", rejection)
	}
	var before *string
	if value, found := pod.Annotations[corev1.PodDeletionCost]; found && value != firstToDelete {
		before = &value
	}
	if resetErr := r.setDeletionCost(ctx, pod, before); resetErr != nil {
		klog.FromContext(ctx).Error(resetErr, "Cannot reset the deletion cost of a Pod", "pod", pod.Name)
	}
	return err
}
