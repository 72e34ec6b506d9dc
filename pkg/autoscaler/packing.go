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
	"math"
	"slices"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// node is a node that takes demand. It is not changed.
type node struct {
	labels map[string]string
	// total are the resources of the empty node, and available those that are free now. Both have only resources
	// that are requested.
	total, available amounts
	gpu              bool
	// kinds is the number of all resources of an empty node of a group.
	kinds int
	// alive is the node in the state of the cluster, or nil if it does not exist yet.
	alive *gcs.Node
}

// bin is one or several equal nodes with equal demand on them. It is not changed: bins are shared by packings.
type bin struct {
	*node
	count int64
	// free are the resources of each node that are left.
	free amounts
	// mark is the label that the last gang on the nodes sets. Each gang has a label of its own.
	mark gcs.Label
	// used is whether demand is on the nodes.
	used bool
	// group is the index of the group of nodes that do not exist yet.
	group int
	// causes are up to maxListed shapes for which these nodes must be added to the desired number. It is empty if
	// they are part of it.
	causes []*shape
}

// packing is demand placed on nodes. Only the number of equal requests and of equal nodes is known: 10,000 tasks on
// 1,000 new nodes are one bin.
type packing struct {
	// bins are the nodes that are alive, and then those that demand needs in addition.
	bins []*bin
	// empty has the empty node of each group, or nil if its resources are unknown. It is not changed.
	empty []*node
	// pending is the number of nodes of each group that are desired, but neither alive nor in a bin.
	pending []int64
	// room is by how many nodes the desired number of each group can be raised.
	room []int64
	// budget is that of the decision.
	*budget
}

// clone returns a copy that can be changed.
func (p *packing) clone() *packing {
	p.spend(len(p.bins))
	return &packing{slices.Clone(p.bins), p.empty, slices.Clone(p.pending), slices.Clone(p.room), p.budget}
}

// place places requests, and subtracts from left, the number of requests of each shape, what it has placed. Nodes that
// are alive come first, then those that are pending, then new ones.
func (p *packing) place(shapes []*shape, left []int64) {
	for i, s := range shapes {
		left[i] -= p.fill(s, left[i])
	}
	p.open(shapes, left, p.pending, false)
	p.open(shapes, left, p.room, true)
}

// placeAll places all requests and returns true, or none.
func (p *packing) placeAll(shapes []*shape) bool {
	trial, left := p.clone(), counts(shapes)
	trial.place(shapes, left)
	if slices.Max(left) > 0 {
		return false
	}
	*p = *trial
	return true
}

// counts returns the number of requests of each shape.
func counts(shapes []*shape) []int64 {
	result := make([]int64, len(shapes))
	for i, s := range shapes {
		result[i] = s.count
	}
	return result
}

// release removes the demand from all nodes, which nevertheless count as used.
func (p *packing) release() { p.setFree(func(n *node) amounts { return n.available }) }

// vacate also removes what occupies the nodes.
func (p *packing) vacate() { p.setFree(func(n *node) amounts { return n.total }) }

func (p *packing) setFree(free func(*node) amounts) {
	p.spend(costCopy * len(p.bins))
	bins := make([]bin, len(p.bins))
	for i, b := range p.bins {
		bins[i] = *b
		bins[i].free = free(b.node)
		p.bins[i] = &bins[i]
	}
}

// fill places requests of a shape on nodes in bins, and returns how many. Preferred nodes come first, and among them
// those without a GPU.
func (p *packing) fill(s *shape, limit int64) int64 {
	var placed int64
	for rank := range s.ranks() {
		for _, gpu := range []bool{false, true} {
			for i := 0; i < len(p.bins) && placed < limit; i++ {
				b := p.bins[i]
				if b.gpu != gpu {
					continue
				}
				if !p.spend(s.needCost) {
					return placed
				}
				each := b.takes(s, limit-placed)
				if each > 0 && p.rank(s, b.node) == rank {
					placed += p.put(i, s, each, limit-placed)
				}
			}
		}
	}
	return placed
}

// rank returns how much a shape prefers a node.
func (p *packing) rank(s *shape, n *node) int {
	p.spend(s.rankCost)
	return s.rank(n.labels)
}

// takes returns how many requests of a shape fit on each node of a bin, at most limit, which is at least 1. Selectors
// are not considered.
func (b *bin) takes(s *shape, limit int64) int64 {
	each := s.need.fits(b.free, limit)
	if each == 0 || s.anti == (gcs.Label{}) {
		return each
	}
	if b.mark == s.anti || hasLabel(b.labels, s.anti) {
		return 0
	}
	return 1
}

// put places up to limit requests on the nodes of bin i, each of which takes a number of them, and returns how many.
// The bin is split if not all of its nodes get the same number.
func (p *packing) put(i int, s *shape, each, limit int64) int64 {
	b := p.bins[i]
	full := min(b.count, limit/each)
	rest := int64(0)
	if full < b.count {
		rest = limit - full*each
	}
	var parts [3]*bin
	split := parts[:0]
	for _, part := range [...]struct{ nodes, each int64 }{{full, each}, {min(rest, 1), rest}, {b.count - full - min(rest, 1), 0}} {
		if part.nodes > 0 {
			split = append(split, b.with(s, part.nodes, part.each))
		}
	}
	p.spend(costPut)
	p.bins = slices.Replace(p.bins, i, i+1, split...)
	return full*each + rest
}

// with returns a number of the nodes of a bin, each with a number of requests.
func (b *bin) with(s *shape, nodes, each int64) *bin {
	result := *b
	result.count = nodes
	if each > 0 {
		result.used = true
		result.free = slices.Clone(b.free)
		result.free.take(s.need, each)
		result.setMark(s)
	}
	return &result
}

// setMark marks the nodes with the label that a request sets.
func (b *bin) setMark(s *shape) {
	if s.anti != (gcs.Label{}) {
		b.mark = s.anti
	}
}

// open adds nodes for requests that are left, at most as many of each group as there is room for.
func (p *packing) open(shapes []*shape, left, room []int64, isNew bool) {
	for {
		best := p.bestLoad(shapes, left, room)
		if best == nil {
			return
		}
		best.count = min(best.times, room[best.group])
		room[best.group] -= best.count
		for _, t := range best.taken {
			left[t.shape] -= t.each * best.count
		}
		if isNew {
			for _, t := range best.taken[:min(len(best.taken), maxListed)] {
				best.causes = append(best.causes, shapes[t.shape])
			}
		}
		p.bins = append(p.bins, &best.bin)
	}
}

// bestLoad returns the load of a new node with the best score, of the first group if there are several. It returns nil
// if there is nothing left that a group has room for, or no budget.
func (p *packing) bestLoad(shapes []*shape, left, room []int64) *load {
	var best *load
	for g, n := range p.empty {
		if room[g] == 0 || n == nil {
			continue
		}
		l := p.newLoad(n, shapes, left)
		if p.isExhausted() {
			return nil
		}
		l.group = g
		if len(l.taken) > 0 && (best == nil || l.score.compare(best.score) > 0) {
			best = l
		}
	}
	return best
}

// load is what a new node takes of the requests that are left.
type load struct {
	bin
	taken []taken
	// times is how many nodes can take this.
	times int64
	score score
}

// taken is a number of requests of a shape.
type taken struct {
	shape int
	each  int64
}

// newLoad returns the load of an empty node. It is not complete if the budget ends.
func (p *packing) newLoad(n *node, shapes []*shape, left []int64) *load {
	l := &load{bin: bin{node: n, free: slices.Clone(n.total), used: true}, times: math.MaxInt64}
	for i, s := range shapes {
		if left[i] == 0 || !p.spend(s.needCost) {
			continue
		}
		each := l.takes(s, left[i])
		if each == 0 {
			continue
		}
		rank := p.rank(s, n)
		if rank < 0 {
			continue
		}
		l.free.take(s.need, each)
		l.taken = append(l.taken, taken{i, each})
		l.times = min(l.times, left[i]/each)
		l.setMark(s)
		l.score.add(s, rank)
	}
	l.score.setUtilization(n, l.free)
	return l
}
