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
	"slices"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// maxRounds limits how often demand is placed anew in a decision. Nearly always 2 are enough.
const maxRounds = 10

// resourceGPU is the name of the resource that other work should not occupy.
const resourceGPU = "GPU"

// plan is the demand placed on the nodes of a cluster.
type plan struct {
	*packing
	groups []*groupState
	demand *demand
	// added is how many nodes demand needs in addition to the target of each group, and reasons are requests that do.
	added   []int64
	reasons [][]string
	// waiting is the demand that has no room.
	waiting waiting
}

// waiting is demand that is not placed.
type waiting struct {
	// constraint and tasks are the number of requests of each shape.
	constraint, tasks []int64
	gangs             []*gang
}

// newPlan places the demand of a cluster on its nodes.
//
// Pending nodes come before new ones, which can change the order in which groups are chosen. Therefore new nodes count
// as pending ones in another round, until no more nodes are needed. So the next decision adds none.
func newPlan(groups []*groupState, alive []*gcs.Node, d *demand) *plan {
	start := newPacking(groups, alive, d.catalog)
	p := &plan{groups: groups, demand: d, added: make([]int64, len(groups)), reasons: make([][]string, len(groups))}
	for range maxRounds {
		p.packing = start.clone()
		p.pack()
		if !p.addNew(start) || p.isExhausted() {
			break
		}
	}
	return p
}

// newPacking returns the nodes of a cluster without demand. Demand fills them in this order: nodes that are never
// removed, busy ones, and then idle ones, so that those that have been idle for longest remain idle.
func newPacking(groups []*groupState, alive []*gcs.Node, c *catalog) *packing {
	p := &packing{
		empty: make([]*node, len(groups)), pending: make([]int64, len(groups)), room: make([]int64, len(groups)),
		budget: &budget{maxWork},
	}
	removable, excess := make(map[*gcs.Node]bool, len(alive)), make(map[*gcs.Node]bool, len(alive))
	for i, g := range groups {
		if g.Resources != nil {
			resources := g.newResources()
			p.empty[i] = c.newNode(g.Labels, resources)
			p.empty[i].kinds = len(resources)
		}
		p.pending[i], p.room[i] = int64(g.pending(g.target)), g.room()
		for i, n := range g.alive {
			excess[n], removable[n] = i < g.excess, g.Autoscaled
		}
	}
	for _, pass := range []bool{false, true} {
		for _, n := range slices.Backward(alive) {
			if removable[n] == pass && !excess[n] {
				existing := c.newNode(n.Labels, n.Total)
				existing.alive, existing.available = n, c.amounts(n.Available)
				p.bins = append(p.bins, &bin{node: existing, count: 1})
			}
		}
	}
	return p
}

// newNode returns an empty node.
func (c *catalog) newNode(labels map[string]string, total gcs.Resources) *node {
	n := &node{labels: labels, total: c.amounts(total), gpu: units(total[resourceGPU]) > 0}
	n.available = n.total
	return n
}

// pack places all demand. What request_resources asks for is placed on empty nodes: it occupies no room.
func (p *plan) pack() {
	p.vacate()
	p.waiting = waiting{constraint: counts(p.demand.constraint), tasks: counts(p.demand.tasks)}
	p.place(p.demand.constraint, p.waiting.constraint)
	p.release()
	p.placeGangs()
	p.place(p.demand.tasks, p.waiting.tasks)
}

// placeGangs places gangs. A gang does not fit if an equal one did not, except because of nodes that this already uses.
func (p *plan) placeGangs() {
	failed := map[string]bool{}
	for _, g := range p.demand.gangs {
		if !failed[g.key] && p.placeAll(g.shapes) {
			continue
		}
		p.waiting.gangs = append(p.waiting.gangs, g)
		if !failed[g.key] {
			failed[g.key] = !p.isPartlyPlaced(g)
		}
	}
}

// addNew adds the new nodes of a packing to those that are pending at its start, and returns whether there are any.
func (p *plan) addNew(start *packing) bool {
	found := false
	for _, b := range p.bins {
		if len(b.causes) > 0 {
			found = true
			start.pending[b.group] += b.count
			start.room[b.group] -= b.count
			p.added[b.group] += b.count
			for _, s := range b.causes {
				p.reasons[b.group] = appendNew(p.reasons[b.group], p.demand.text(s))
			}
		}
	}
	return found
}

// recommend sets how many nodes the groups need.
func (p *plan) recommend(decision *Decision) {
	for i, g := range p.groups {
		if p.added[i] > 0 {
			d := &decision.Groups[i]
			d.Replicas = int32(g.base() + p.added[i])
			d.Pending = g.pending(d.Replicas)
			d.Reason = "needed for " + enumerate(p.reasons[i])
		}
	}
}
