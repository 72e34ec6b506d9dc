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
	"encoding/json"
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// A Deployment that gets fewer replicas does not say which Pods are to go. This file has what the ReplicaSet decides
// by: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset.

// firstToDelete is the cost of Pods that a ReplicaSet is to delete first, the lowest possible.
const firstToDelete = "-2147483648"

// listPods reads the Pods of the group as the API server has them in its cache, and which of them must stay: those of
// busy nodes, and of idle ones that are no candidates.
func (r *remover) listPods(ctx context.Context, candidates []gcs.Node) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := r.kubeClient.CoreV1().Pods(r.ray.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector:   resources.Selector(r.ray, r.group.Role),
		ResourceVersion: "0",
	})
	if err != nil {
		return fmt.Errorf("listing the Pods of group %q: %w", r.group.Name, err)
	}
	stays := map[string]bool{}
	r.reported, r.alive, r.floor = map[string]int{}, map[string]bool{}, rankReady
	for i := range r.nodes {
		node := &r.nodes[i]
		r.reported[node.Instance]++
		r.alive[node.Instance] = r.alive[node.Instance] || isAlive(node)
		stays[node.Instance] = stays[node.Instance] || node.Status != gcs.NodeIdle || !runsIn(candidates, node.Instance)
	}
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp != nil || metav1.GetControllerOfNoCopy(pod) == nil {
			continue
		}
		r.pods = append(r.pods, pod)
		if stays[pod.Name] {
			r.floor = min(r.floor, rank(pod))
		}
	}
	return nil
}

// runsIn returns whether one of the nodes runs in a Pod.
func runsIn(nodes []gcs.Node, pod string) bool {
	return slices.ContainsFunc(nodes, func(node gcs.Node) bool { return node.Instance == pod })
}

// surplusPods returns those Pods that must be marked so that the ReplicaSet deletes no Pod of a node that is alive when
// the surplus is removed. It reports false if that cannot be ensured.
func (r *remover) surplusPods(d *GroupDecision) (marked []*corev1.Pod, removable bool) {
	deleted := len(r.pods) - int(d.Replicas)
	if d.Surplus == 0 || deleted <= 0 {
		return nil, true // other Pods of the surplus were never created
	}
	pending := slices.DeleteFunc(slices.Clone(r.pods), func(pod *corev1.Pod) bool { return r.reported[pod.Name] > 0 })
	if len(pending) < deleted {
		return nil, false
	}
	slices.SortFunc(pending, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	pending = pending[:deleted]
	if rank(pending[deleted-1]) > r.floor {
		return nil, false
	}
	return slices.DeleteFunc(pending, func(pod *corev1.Pod) bool { return rank(pod) < rankNotReady }), true
}

// mark makes a Pod the first to be deleted.
func (r *remover) mark(ctx context.Context, pod *corev1.Pod) error {
	if isMarked(pod) {
		return nil
	}
	cost := firstToDelete
	return r.setDeletionCost(ctx, pod, &cost)
}

func isMarked(pod *corev1.Pod) bool { return pod.Annotations[corev1.PodDeletionCost] == firstToDelete }

// setDeletionCost sets the annotation of a Pod that says how early a ReplicaSet deletes it, or removes it if cost is
// nil. It does so even at the end of a poll: a mark that remains could cost a busy node.
func (r *remover) setDeletionCost(ctx context.Context, pod *corev1.Pod, cost *string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID, // fails if it is another Pod by now
		"annotations": map[string]*string{corev1.PodDeletionCost: cost},
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if _, err := r.kubeClient.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("setting the deletion cost of Pod %q: %w", pod.Name, err)
	}
	return nil
}

// deletionRank is how early a ReplicaSet deletes a Pod, the lowest rank first. Only among Pods of the same rank, the
// deletion cost matters.
type deletionRank int

const (
	rankUnassigned deletionRank = iota
	rankPending
	rankUnknown
	rankNotReady
	rankReady
)

// rank returns the rank of a Pod, which may be nil, as k8s.io/kubernetes/pkg/controller.ActivePodsWithRanks has it.
func rank(pod *corev1.Pod) deletionRank {
	switch {
	case pod == nil:
		return math.MaxInt
	case pod.Spec.NodeName == "":
		return rankUnassigned
	case pod.Status.Phase == corev1.PodPending:
		return rankPending
	case pod.Status.Phase == corev1.PodUnknown:
		return rankUnknown
	}
	for i := range pod.Status.Conditions {
		if condition := &pod.Status.Conditions[i]; condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return rankReady
		}
	}
	return rankNotReady
}
