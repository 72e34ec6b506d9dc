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
	"math"
	"slices"
	"strings"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// naive places demand request by request on node by node, with maps and copies, as Ray's autoscaler does. It is the
// oracle for the packing, which places numbers of them.
type naive struct {
	groups  []*groupState
	nodes   []*naiveNode
	pending []int
	room    []int
	added   []int
}

// naiveNode is a node with what is left of its resources, in units.
type naiveNode struct {
	id          string
	total, free map[string]int64
	available   gcs.Resources
	labels      map[string]string
	used        bool
	group       int
}

func inUnits(r gcs.Resources) map[string]int64 {
	result := map[string]int64{}
	for name, v := range r {
		if u := int64(math.Round(v * 10000)); u > 0 {
			result[name] = u
		}
	}
	return result
}

// newNaive returns the nodes of a cluster.
func newNaive(groups []*groupState, alive []*gcs.Node) *naive {
	n := &naive{groups: groups, pending: make([]int, len(groups)), room: make([]int, len(groups)), added: make([]int, len(groups))}
	scaled, excess := map[string]bool{}, map[string]bool{}
	for i, g := range groups {
		n.pending[i] = max(int(g.target)-len(g.alive), 0)
		if g.Autoscaled {
			n.room[i] = max(int(g.Max)-max(int(g.target), len(g.alive)), 0)
			scaled[g.Name] = true
		}
		for _, node := range g.alive[:g.excess] {
			excess[node.ID] = true
		}
	}
	for _, a := range alive {
		if !excess[a.ID] {
			n.nodes = append(n.nodes, &naiveNode{id: a.ID, total: inUnits(a.Total), available: a.Available, labels: maps.Clone(a.Labels), group: -1})
		}
	}
	rank := map[string]int{}
	for i, a := range alive {
		rank[a.ID] = -i
		if scaled[a.Group] {
			rank[a.ID] += len(alive)
		}
	}
	slices.SortFunc(n.nodes, func(a, b *naiveNode) int { return cmp.Compare(rank[a.id], rank[b.id]) })
	return n
}

// decide returns how many nodes are added to each group, and the IDs of the nodes that are not used.
func (n *naive) decide(state *gcs.ClusterState) (added []int, unused []string) {
	for range maxRounds {
		trial := n.clone()
		trial.placeAll(state)
		sum := 0
		for i, a := range trial.added {
			n.pending[i] += a
			n.room[i] -= a
			n.added[i] += a
			sum += a
		}
		unused = nil
		for _, node := range trial.nodes {
			if !node.used && node.id != "" {
				unused = append(unused, node.id)
			}
		}
		if sum == 0 {
			break
		}
	}
	slices.Sort(unused)
	return n.added, unused
}

func (n *naive) clone() *naive {
	c := &naive{groups: n.groups, pending: slices.Clone(n.pending), room: slices.Clone(n.room), added: make([]int, len(n.groups))}
	for _, node := range n.nodes {
		copied := *node
		copied.free, copied.labels = maps.Clone(node.free), maps.Clone(node.labels)
		c.nodes = append(c.nodes, &copied)
	}
	return c
}

func (n *naive) placeAll(state *gcs.ClusterState) {
	for _, node := range n.nodes {
		node.free = maps.Clone(node.total)
	}
	n.place(expand(state.Constraint))
	for _, node := range n.nodes {
		node.free = inUnits(node.available)
	}
	gangs := slices.Clone(state.Gangs)
	slices.SortStableFunc(gangs, compareGangs)
	for i := range gangs {
		trial := n.clone()
		copy(trial.added, n.added)
		if requests := bundles(&gangs[i]); len(trial.place(requests)) == 0 {
			n.nodes, n.pending, n.room, n.added = trial.nodes, trial.pending, trial.room, trial.added
		}
	}
	n.place(expand(state.Tasks))
}

// place places requests and returns those that have no room.
func (n *naive) place(requests []naiveRequest) []naiveRequest {
	var left []naiveRequest
	for _, r := range requests {
		if node := n.best(&r); node != nil {
			node.take(&r)
		} else {
			left = append(left, r)
		}
	}
	left = n.open(left, n.pending, false)
	return n.open(left, n.room, true)
}

// best returns the existing node for a request: the preferred one, without a GPU, the first one.
func (n *naive) best(r *naiveRequest) *naiveNode {
	var best *naiveNode
	cost := math.MaxInt
	for _, node := range n.nodes {
		c := 2 * r.rank(node.labels)
		if node.total["GPU"] > 0 {
			c++
		}
		if node.fits(r) && c >= 0 && c < cost {
			best, cost = node, c
		}
	}
	return best
}

func (node *naiveNode) fits(r *naiveRequest) bool {
	if v, ok := node.labels[r.anti.Name]; ok && v == r.anti.Value && r.anti.Name != "" {
		return false
	}
	for name, u := range r.need {
		if node.free[name] < u {
			return false
		}
	}
	return r.rank(node.labels) >= 0
}

func (node *naiveNode) take(r *naiveRequest) {
	for name, u := range r.need {
		node.free[name] -= u
	}
	if r.anti.Name != "" {
		node.labels[r.anti.Name] = r.anti.Value
	}
	node.used = true
}

// open adds nodes one by one: another one of the previous group if it takes the same, else the best one.
func (n *naive) open(left []naiveRequest, room []int, isNew bool) []naiveRequest {
	group, key := -1, ""
	for {
		again := group >= 0 && room[group] > 0
		if again {
			node, taken, _ := n.load(group, left)
			again = node != nil && taken == key
		}
		if !again {
			group, key = n.bestGroup(left, room)
		}
		if group < 0 {
			return left
		}
		node, _, rest := n.load(group, left)
		n.nodes = append(n.nodes, node)
		room[group]--
		if isNew {
			n.added[group]++
		}
		left = rest
	}
}

func (n *naive) bestGroup(left []naiveRequest, room []int) (group int, key string) {
	group = -1
	var score [5]float64
	for i := range n.groups {
		if room[i] == 0 || n.groups[i].Resources == nil {
			continue
		}
		if node, taken, rest := n.load(i, left); node != nil {
			if s := node.score(left, rest); group < 0 || slices.Compare(s[:], score[:]) > 0 {
				group, key, score = i, taken, s
			}
		}
	}
	return group, key
}

// load returns a new node with what it takes, and what is left.
func (n *naive) load(group int, left []naiveRequest) (node *naiveNode, taken string, rest []naiveRequest) {
	g := n.groups[group]
	node = &naiveNode{total: inUnits(g.Resources), free: inUnits(g.Resources), available: g.Resources, labels: maps.Clone(g.Labels), group: group}
	if node.labels == nil {
		node.labels = map[string]string{}
	}
	var keys []string
	for _, r := range left {
		if node.fits(&r) {
			node.take(&r)
			keys = append(keys, r.key)
		} else {
			rest = append(rest, r)
		}
	}
	if !node.used {
		return nil, "", left
	}
	return node, strings.Join(keys, "\n"), rest
}

// score is that of Ray's autoscaler.
func (node *naiveNode) score(left, rest []naiveRequest) [5]float64 {
	var s [5]float64
	needsGPU, i := false, 0
	for _, r := range left {
		if i < len(rest) && rest[i].key == r.key {
			i++
			continue
		}
		needsGPU = needsGPU || r.need["GPU"] > 0
		if s[0] == 0 && len(r.selectors) > 0 {
			ranks := 1
			for _, a := range r.selectors {
				ranks += len(a) - 1
			}
			s[0] = float64(ranks - r.rank(node.labels))
		}
	}
	if node.total["GPU"] == 0 || needsGPU {
		s[1] = 1
	}
	s[3] = math.Inf(1)
	for _, name := range slices.Sorted(maps.Keys(node.total)) {
		total := node.total[name]
		util := float64(total-node.free[name]) / float64(total)
		if util > 0 {
			s[2]++
		}
		u := float64(total) / 10000 * util * util * util
		s[3] = min(s[3], u)
		s[4] += u
	}
	s[4] /= float64(len(node.total))
	return s
}
