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
	"context"
	"errors"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// pollSafely polls a Ray. A panic, which is a bug that one Ray triggers, does not stop the polls of all others.
func (a *Autoscaler) pollSafely(ctx context.Context, key cache.ObjectName) (after time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	start := a.clock.Now()
	defer func() {
		if cause := recover(); cause != nil {
			klog.FromContext(ctx).Error(nil, "Panic in poll, which is a bug in the operator", "panic", cause, "stack", string(debug.Stack()))
			after = maxFailureInterval
		}
		if after > 0 {
			after = max(after, pauseFactor*a.clock.Since(start))
		}
	}()
	return a.poll(ctx, key)
}

// poll asks the GCS of a Ray for its demand, decides and recommends. It returns after how long to poll the Ray
// again, or 0 for not before it changes.
func (a *Autoscaler) poll(ctx context.Context, key cache.ObjectName) time.Duration {
	ray, err := a.reader.Ray(key)
	if err != nil {
		ray = nil // it does not exist
	}
	c := a.known(key, ray)
	if c == nil {
		return 0
	}
	defer a.finish(key, c, ray.Generation)
	if c.failures > 0 {
		select {
		case a.retries <- struct{}{}:
			defer func() { <-a.retries }()
		default:
			return pollInterval
		}
	}
	start := a.clock.Now()
	gcsTarget, state, err := a.observe(ctx, ray, c)
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0
	}
	if !errors.Is(err, errHeadNotReady) { // else the GCS was not asked
		observePoll(a.clock.Since(start), err)
	}
	if c.answers = err == nil; err != nil {
		return a.hold(ctx, key, ray, c, err)
	}
	c.failures = 0

	groups := a.groups(ray, c, state)
	decision := Decide(&Input{State: state, Groups: groups, Memory: c.memory, Now: start})
	c.memory = decision.Memory
	replicas := map[string]int32{}
	for i, group := range resources.Groups(ray)[1:] {
		if group.Autoscaling != nil {
			r := remover{Autoscaler: a, cluster: c, ray: ray, group: group, target: gcsTarget, nodes: state.Nodes}
			next := r.remove(ctx, &decision.Groups[i], a.canDrain(ray, c, group.Role, groups[i].Desired))
			// Only a change is recommended: what is the target already may be that of a stale cache, or soon that of
			// another operator. Desired is the target, unless a number is recommended.
			if next != groups[i].Desired || c.recommends(group.Name) && next != target(&group, a.deployment(ray, group.Role)) {
				replicas[group.Name] = next
			}
		}
	}
	a.recommend(key, c, newRecommendation(ray, c.recommendation, decision, replicas))
	a.report(ctx, ray, c, gcsTarget, state.Session, groups, decision)
	return pollInterval
}

// observe returns what the GCS of a Ray reports.
func (a *Autoscaler) observe(ctx context.Context, ray *rayv1.Ray, c *cluster) (gcs.Target, *gcs.ClusterState, error) {
	if err := c.settingsOf(ray).head; err != nil {
		return gcs.Target{}, nil, err
	}
	if !c.answers && !publishesNotReady(ray) && !a.isHead(ray, isReady) {
		return gcs.Target{}, nil, errHeadNotReady
	}
	address, err := a.address(ray, c)
	if err != nil {
		return gcs.Target{}, nil, err
	}
	target := gcs.Target{Address: address}
	wasRead := c.token.value != ""
	if target.Token, err = a.readToken(ctx, ray, c); err != nil {
		return target, nil, err
	}
	// The peer of an open connection may be a head that is gone.
	stateCtx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	state, err := a.gcsClient.ClusterState(stateCtx, target)
	if errors.Is(err, gcs.ErrUnauthenticated) {
		c.token = token{} // the Secret may have changed
		if wasRead {
			return a.observe(ctx, ray, c)
		}
	}
	if err != nil {
		return target, nil, err
	}
	return target, state, nil
}

// address returns the address of the GCS of a Ray: the ClusterIP of its Service, since a name would need a lookup for
// each connection.
func (a *Autoscaler) address(ray *rayv1.Ray, c *cluster) (string, error) {
	service, err := a.reader.Service(cache.NewObjectName(ray.Namespace, resources.ServiceName(ray)))
	if err != nil || !metav1.IsControlledBy(service, ray) || service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return "", inactive(reasonHeadUnavailable, "the Service of the head does not exist, or has no address")
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(c.settingsOf(ray).port)))
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.address != "" && c.address != address {
		a.gcsClient.Forget(c.address)
	}
	c.address = address
	return address, nil
}

// hold recommends what was recommended before, since the demand of a Ray is unknown, and returns after how long
// to poll it again.
func (a *Autoscaler) hold(ctx context.Context, key cache.ObjectName, ray *rayv1.Ray, c *cluster, err error) time.Duration {
	c.failures++
	klog.FromContext(ctx).V(4).Info("Cannot poll", "reason", err, "failures", c.failures)
	available := a.isHead(ray, isAvailable)
	// That the head of a new Ray is starting is in its status already. After a restart of the operator, the Ray may be
	// older, and its status may say that its demand is known.
	starting := c.recommendation == nil && !available && !wasActive(ray)
	if isLasting(err) || !starting && (!available || c.failures >= minFailures) {
		a.recommend(key, c, heldRecommendation(ray, c.recommendation, inactiveCondition(err, available)))
	}
	switch {
	case errors.Is(err, errHeadNotReady):
		c.failures = 0 // the GCS was not asked
		return pollInterval
	case !available:
		return min(maxStartInterval, pollInterval<<min(c.failures, 5))
	default:
		return min(maxFailureInterval, pollInterval<<min(c.failures, 5))
	}
}

// wasActive returns whether the status of a Ray has the condition that its demand is known.
func wasActive(ray *rayv1.Ray) bool {
	return slices.ContainsFunc(ray.Status.Conditions, func(condition rayv1.RayCondition) bool {
		return condition.Type == rayv1.RayScalingActive && condition.Status == corev1.ConditionTrue
	})
}

// errHeadNotReady is why a GCS is not asked: the head's Service leads to no Pod, so that a request would fail at best,
// and get no answer at worst.
var errHeadNotReady = errors.New("the head is not ready")

// publishesNotReady returns whether the head's Service leads to a head that is not ready, too.
func publishesNotReady(ray *rayv1.Ray) bool {
	return ray.Spec.HeadService != nil && ptr.Deref(ray.Spec.HeadService.PublishNotReadyAddresses, false)
}

func isReady(status *appsv1.DeploymentStatus) bool     { return status.ReadyReplicas > 0 }
func isAvailable(status *appsv1.DeploymentStatus) bool { return status.AvailableReplicas > 0 }

// isHead returns whether the Deployment of a Ray's head has a status.
func (a *Autoscaler) isHead(ray *rayv1.Ray, is func(*appsv1.DeploymentStatus) bool) bool {
	head := a.deployment(ray, rayv1.RoleHead)
	return head != nil && is(&head.Status)
}

// deployment returns the Deployment of a group as the cache has it, or nil. That of an earlier Ray with the same name
// is none.
func (a *Autoscaler) deployment(ray *rayv1.Ray, role rayv1.Role) *appsv1.Deployment {
	deployment, err := a.reader.Deployment(cache.NewObjectName(ray.Namespace, resources.DeploymentName(ray, role)))
	if err != nil || !metav1.IsControlledBy(deployment, ray) || deployment.Spec.Replicas == nil {
		return nil
	}
	return deployment
}

// canDrain returns whether the Deployment of a group has the last recommended number of nodes. If not, more nodes must
// not be drained: those that were are not removed yet, and are started again. Nor must any unless the last recommendation
// came from a decision, since otherwise the sync handler lowers replicas to maxReplicas at once.
func (a *Autoscaler) canDrain(ray *rayv1.Ray, c *cluster, role rayv1.Role, desired int32) bool {
	deployment := a.deployment(ray, role)
	return c.recommendation != nil && c.recommendation.decided && deployment != nil && *deployment.Spec.Replicas == desired
}

// groups returns the groups of workers of a Ray as the decision sees them.
func (a *Autoscaler) groups(ray *rayv1.Ray, c *cluster, state *gcs.ClusterState) []Group {
	groups := slices.Clone(c.settingsOf(ray).groups)
	for i, group := range resources.Groups(ray)[1:] {
		g := &groups[i]
		if g.Resources == nil {
			g.Resources = resourcesOfNodes(state, group.Name)
		}
		deployment := a.deployment(ray, group.Role)
		if deployment != nil {
			status := &deployment.Status
			g.Rolling = status.ObservedGeneration < deployment.Generation || status.UpdatedReplicas < status.Replicas
		}
		g.Desired = c.desired(&group, deployment, a.clock.Now())
	}
	return groups
}

// recommends returns whether a number is recommended for a group.
func (c *cluster) recommends(group string) bool {
	if c.recommendation == nil {
		return false
	}
	_, found := c.recommendation.Replicas[group]
	return found
}

// desired returns how many nodes a group is to have: what was recommended, which the Deployment may not have yet, else
// its target.
func (c *cluster) desired(group *resources.Group, deployment *appsv1.Deployment, now time.Time) int32 {
	if !c.recommends(group.Name) {
		delete(c.aboveSince, group.Name)
		return target(group, deployment)
	}
	recommended := c.recommendation.Replicas[group.Name]
	if deployment == nil || *deployment.Spec.Replicas <= recommended {
		delete(c.aboveSince, group.Name)
		return recommended
	}
	since, found := c.aboveSince[group.Name]
	if !found {
		since = now
		c.aboveSince[group.Name] = since
	}
	if now.Sub(since) < maxScaleDelay {
		return recommended
	}
	return *deployment.Spec.Replicas
}

// target returns how many nodes a group is to have if nothing was recommended, as the controller sees it. The Deployment
// of a Ray that has just resumed may still have no replicas, and no target. It is nil if there is none.
func target(group *resources.Group, deployment *appsv1.Deployment) int32 {
	switch {
	case deployment == nil:
		return group.Replicas
	case group.Autoscaling == nil:
		return *deployment.Spec.Replicas
	}
	if recorded := resources.RecordedReplicas(deployment); recorded != nil {
		return *recorded
	}
	if running := *deployment.Spec.Replicas; running > 0 {
		return running
	}
	return group.Autoscaling.Clamp(group.Replicas)
}

// resourcesOfNodes returns the resources of a node of a group that is alive, or nil: always of the same node, since a
// GCS reports them in any order. Each node has a resource of its own name, which no other node has.
func resourcesOfNodes(state *gcs.ClusterState, group string) gcs.Resources {
	var first *gcs.Node
	for i := range state.Nodes {
		node := &state.Nodes[i]
		if node.Group == group && len(node.Total) > 0 && (first == nil || node.ID < first.ID) {
			first = node
		}
	}
	if first == nil {
		return nil
	}
	total := maps.Clone(first.Total)
	maps.DeleteFunc(total, func(name string, _ float64) bool { return strings.HasPrefix(name, "node:") })
	return total
}
