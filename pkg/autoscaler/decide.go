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

// Package autoscaler recommends how many nodes groups of workers need for the demand that Ray reports: tasks, actors,
// placement groups and the size that a user requests with request_resources. It writes neither Rays nor their children,
// except for the deletion cost of Pods: that is left to package controller.
//
// The decision is pure. It follows Ray's own autoscaler (python/ray/autoscaler/v2/scheduler.py), with two
// differences: it places numbers of equal requests instead of each request, and it keeps no state of instances.
// How many nodes a group should have is a number, and Kubernetes creates and deletes the Pods.
package autoscaler

import (
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// Group is a group of workers, as the decision sees it.
type Group struct {
	// Name is the name of the group, which its nodes report.
	Name string
	// Autoscaled is whether the group is scaled. The nodes of other groups only take demand.
	Autoscaled bool
	// Min and Max limit the number of nodes. They have no effect if the group is not autoscaled.
	Min, Max int32
	// IdleTimeout is for how long nothing must need a node until it is removed.
	IdleTimeout time.Duration
	// Desired is the last recommended number of nodes, or else the replicas of the Deployment.
	Desired int32
	// Resources are those of an empty node, or nil if they are unknown. A group with unknown resources takes no
	// demand with nodes that are not alive, and is scaled only to meet Min and Max.
	Resources gcs.Resources
	// Labels are those of a new node, ray.io/node-group included.
	Labels map[string]string
	// Rolling is whether the Deployment is replacing Pods. Meanwhile no node is removed except to meet Max.
	Rolling bool
}

// Input is what a decision depends on. It is not changed.
type Input struct {
	// State is what the GCS reports. If it has no node that is alive, groups are only scaled to meet Min and Max.
	State *gcs.ClusterState
	// Groups are those of the spec, in the order of declaration. The head need not be one of them.
	Groups []Group
	// Memory is that of the previous decision for the same cluster, or the zero value.
	Memory Memory
	// Now is the time of the decision. It is only compared with the times in Memory.
	Now time.Time
}

// Decision is how many nodes the groups should have.
type Decision struct {
	// Groups has one entry for each group of the input, in the same order.
	Groups []GroupDecision
	// Infeasible is the demand that no number of nodes can meet.
	Infeasible Infeasible
	// Incomplete is whether there is so much different demand that some of it has not been considered. In this
	// case no node is removed except to meet Max.
	Incomplete bool
	// UnknownNodes is whether a node is alive that is neither the head nor of any group. It can be a node that counts as
	// pending, so no pending node is removed except to meet Max.
	UnknownNodes bool
	// Memory is for the next decision.
	Memory Memory
}

// GroupDecision is how many nodes a group should have.
type GroupDecision struct {
	Name string
	// Replicas is the recommended number of nodes, from Min to Max. Nodes in Drain are included.
	Replicas int32
	// Surplus is the number of pending nodes that are not included, as nothing has needed them for the idle timeout.
	Surplus int32
	// Reason is why Replicas differs from the desired number, or empty if it does not.
	Reason string
	// Alive is the number of nodes that are alive.
	Alive int32
	// Pending is the number of the recommended nodes that are not alive.
	Pending int32
	// Drain has idle nodes that nothing has needed for the idle timeout, the longest idle one first. Replicas
	// should be lowered by the number of nodes that accept to be drained.
	Drain []gcs.Node
	// Excess has idle nodes to drain before Replicas is applied, as Max is lower than the number of nodes. Replicas
	// does not include them, so it is the same if they reject.
	Excess []gcs.Node
	// Limited lists demand for more nodes than Max allows. It is empty if there is none.
	Limited string
	// Unknown is whether the group cannot be scaled up on demand because its resources are unknown.
	Unknown bool
}

// Infeasible is demand that no number of nodes of the groups can meet.
type Infeasible struct {
	// Requests are those of tasks and actors, one for each shape.
	Requests []gcs.Request
	// Gangs are placement groups.
	Gangs []gcs.Gang
	// Constraint are those of request_resources.
	Constraint []gcs.Demand
	// Message says which demand is infeasible and why. It is empty if there is none, and stays the same as long as
	// the same shapes are infeasible.
	Message string
}

// Reasons for an event.
const (
	// ReasonDrained is why a group is scaled down by the number of nodes of Drain that accepted.
	ReasonDrained = "idle for idleTimeoutSeconds"
	reasonSurplus = "not needed for idleTimeoutSeconds"
	reasonMin     = "minReplicas"
	reasonMax     = "maxReplicas"
)

// Decide returns how many nodes the groups of a cluster should have. Equal inputs have equal decisions; the order of
// nodes and demand does not matter.
func Decide(in *Input) *Decision {
	alive := aliveNodes(in.State)
	groups, unknown := newGroupStates(in.Groups, alive)
	decision := newDecision(groups)
	if len(alive) == 0 {
		return decision // The head is starting: even its own node is not alive yet.
	}
	plan := newPlan(groups, alive, newDemand(in.State))
	plan.recommend(decision)
	plan.shortfall(decision)
	decision.Incomplete = plan.demand.incomplete || plan.isExhausted()
	decision.UnknownNodes = len(unknown) > 0
	removal{plan, in, decision}.decide(alive)
	return decision
}

// newDecision returns the decision that only meets the limits of the groups.
func newDecision(groups []*groupState) *Decision {
	decision := &Decision{Groups: make([]GroupDecision, len(groups))}
	for i, g := range groups {
		decision.Groups[i] = GroupDecision{
			Name:     g.Name,
			Replicas: g.target,
			Reason:   g.limitReason(),
			Alive:    int32(len(g.alive)),
			Pending:  g.pending(g.target),
			Excess:   g.newExcess(),
			Unknown:  g.Autoscaled && g.Resources == nil,
		}
	}
	return decision
}
