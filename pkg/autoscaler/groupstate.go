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
	"maps"
	"slices"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// groupState is a group with the nodes that it has.
type groupState struct {
	Group
	// target is the desired number of nodes, within the limits of the group.
	target int32
	// alive has the nodes that are alive, the longest idle one first.
	alive []*gcs.Node
	// excess is how many of the first nodes in alive are removed because of Max. They are idle and take no demand.
	excess int
}

// newGroupStates returns groups with their nodes, and the nodes that are neither the head nor of any group, because they
// report another name: they were started by hand, or have another RAY_NODE_TYPE_NAME than the operator sets.
func newGroupStates(input []Group, alive []*gcs.Node) (groups []*groupState, unknown []*gcs.Node) {
	groups = make([]*groupState, len(input))
	byName := make(map[string]*groupState, len(input))
	for i := range input {
		groups[i] = &groupState{Group: input[i]}
		byName[input[i].Name] = groups[i]
	}
	for _, node := range alive {
		if g := byName[node.Group]; g != nil {
			g.alive = append(g.alive, node)
		} else if node.Group != string(rayv1.RoleHead) && node.Total[resourceHead] == 0 {
			unknown = append(unknown, node)
		}
	}
	for _, g := range groups {
		g.setTarget()
		if !g.Autoscaled {
			// If the user's command starts the nodes of a group that is not autoscaled, they report no group.
			own := min(int(g.pending(g.target)), len(unknown))
			g.alive, unknown = append(g.alive, unknown[:own]...), unknown[own:]
		}
	}
	return groups, unknown
}

// aliveNodes returns the nodes that can take demand, the longest idle one first, and busy ones last.
func aliveNodes(state *gcs.ClusterState) []*gcs.Node {
	if state == nil {
		return nil
	}
	var nodes []*gcs.Node
	seen := make(map[string]bool, len(state.Nodes))
	for i := range state.Nodes {
		if node := &state.Nodes[i]; isAlive(node) && !seen[node.ID] {
			seen[node.ID] = true
			nodes = append(nodes, node)
		}
	}
	slices.SortFunc(nodes, func(a, b *gcs.Node) int {
		return cmp.Or(
			-cmp.Compare(a.Status, b.Status), // NodeIdle before NodeRunning
			-cmp.Compare(a.Idle, b.Idle),
			cmp.Compare(a.ID, b.ID))
	})
	return nodes
}

func isAlive(node *gcs.Node) bool {
	return node.Status == gcs.NodeRunning || node.Status == gcs.NodeIdle
}

// resourceHead is a resource that only the head has. The head has no group if the user's command starts it.
const resourceHead = "node:__internal_head__"

// setTarget sets the target of a group, and which nodes Max removes. If it must also remove busy ones, the ReplicaSet
// selects them.
func (g *groupState) setTarget() {
	g.target = max(g.Desired, 0)
	if !g.Autoscaled {
		return
	}
	maximum := max(g.Max, 0)
	g.target = min(max(g.target, g.Min), maximum)
	for g.excess < len(g.alive)-int(maximum) && g.alive[g.excess].Status == gcs.NodeIdle && !g.Rolling {
		g.excess++
	}
}

// newExcess returns the excess nodes if they have not been removed from the desired number yet.
func (g *groupState) newExcess() []gcs.Node {
	var nodes []gcs.Node
	for _, node := range g.alive[:g.excess] {
		if g.target < g.Desired {
			nodes = append(nodes, *node)
		}
	}
	return nodes
}

// limitReason returns which limit changes the number of nodes, or "".
func (g *groupState) limitReason() string {
	switch {
	case g.target > g.Desired:
		return reasonMin
	case g.target < g.Desired:
		return reasonMax
	default:
		return ""
	}
}

// pending returns how many of a number of nodes are not alive.
func (g *groupState) pending(replicas int32) int32 {
	return int32(max(int64(replicas)-int64(len(g.alive)), 0))
}

// base returns the number of nodes to which others are added. More than the target can be alive while a Deployment
// removes or replaces Pods.
func (g *groupState) base() int64 {
	return max(int64(g.target), int64(len(g.alive)))
}

// room returns how many nodes can be added.
func (g *groupState) room() int64 {
	if !g.Autoscaled {
		return 0
	}
	return max(int64(g.Max)-g.base(), 0)
}

// newResources returns the resources of a new node of which it has some.
func (g *groupState) newResources() gcs.Resources {
	resources := maps.Clone(g.Resources)
	maps.DeleteFunc(resources, func(_ string, amount float64) bool { return units(amount) == 0 })
	return resources
}
