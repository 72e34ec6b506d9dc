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
	"fmt"
	"slices"
	"strconv"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

const (
	// maxShapes limits the number of different requests of a kind: of tasks, of placement groups, and of
	// request_resources. Ray reports at most 100 shapes for a node, and 1,000 placement groups.
	maxShapes = 1000
	// maxWork limits how often a term of a request of a kind is compared with a node, for a cluster that reports
	// nonsense. A comparison takes a few nanoseconds.
	maxWork = 4_000_000
)

// shape is a number of equal requests.
type shape struct {
	need amounts
	// anti must not be a label of the node, and becomes one. Empty if not requested.
	anti gcs.Label
	// selectors have alternatives. One of each must select the node.
	selectors []alternatives
	// count is the number of requests, 1 to maxUnits.
	count int64
	// gpu is whether the request needs a GPU.
	gpu bool
	// source is the request, as reported, or the first of several that must be on one node.
	source *gcs.Request
	kind   demandKind
	// key is the same for equal requests only.
	key string
}

// demandKind is what requests.
type demandKind string

// The kinds of demand. They are part of messages.
const (
	kindTasks      demandKind = ""
	kindGang       demandKind = "placement group with "
	kindConstraint demandKind = "request_resources of "
)

// gang is a placement group: its shapes are placed all or not at all.
type gang struct {
	shapes []*shape
	source *gcs.Gang
}

// demand is what waits for resources, in the order in which it is placed.
type demand struct {
	*catalog
	constraint, tasks []*shape
	gangs             []*gang
	// incomplete is whether demand was left out because of its size.
	incomplete bool
}

// newDemand returns the demand of a cluster, as far as it can be placed on a number of nodes.
func newDemand(state *gcs.ClusterState, nodes int) *demand {
	lists := [][]gcs.Request{requestsOf(state.Constraint), requestsOf(state.Tasks)}
	for i := range state.Gangs {
		lists = append(lists, state.Gangs[i].Requests)
	}
	d := &demand{catalog: newCatalog(lists...)}
	d.constraint = d.limit(nodes, d.shapes(state.Constraint, kindConstraint))
	d.tasks = d.limit(nodes, d.shapes(state.Tasks, kindTasks))
	d.gangs = d.limitGangs(nodes, d.sortedGangs(state.Gangs))
	return d
}

// requestsOf returns the requests of demands.
func requestsOf(demands []gcs.Demand) []gcs.Request {
	requests := make([]gcs.Request, len(demands))
	for i := range demands {
		requests[i] = demands[i].Request
	}
	return requests
}

// shapes returns the shapes of demands, the largest one first.
func (c *catalog) shapes(demands []gcs.Demand, kind demandKind) []*shape {
	var shapes []*shape
	for i := range demands {
		if demands[i].Count > 0 {
			s := c.newShape(kind, &demands[i].Request)
			s.count = min(demands[i].Count, maxUnits)
			shapes = append(shapes, s)
		}
	}
	return merge(shapes)
}

// sortedGangs returns the gangs that request something, the largest one first. The GCS reports empty ones, too.
func (c *catalog) sortedGangs(reported []gcs.Gang) []*gang {
	gangs := make([]*gang, 0, len(reported))
	for i := range reported {
		if len(reported[i].Requests) > 0 {
			gangs = append(gangs, &gang{c.gangShapes(reported[i].Requests), &reported[i]})
		}
	}
	slices.SortStableFunc(gangs, func(a, b *gang) int {
		return cmp.Or(
			-cmp.Compare(constraints(a.source), constraints(b.source)),
			-cmp.Compare(len(a.source.Requests), len(b.source.Requests)),
			slices.CompareFunc(a.shapes, b.shapes, compareShapes),
			cmp.Compare(a.source.Details, b.source.Details))
	})
	return gangs
}

// constraints returns the number of requests of a gang that restrict each other's nodes.
func constraints(g *gcs.Gang) int {
	n := 0
	for i := range g.Requests {
		if g.Requests[i].AntiAffinity != (gcs.Label{}) || g.Requests[i].Affinity != (gcs.Label{}) {
			n++
		}
	}
	return n
}

// gangShapes returns the shapes of the requests of a gang, the largest one first. Requests that share a label for
// affinity are one request, as they must be on one node.
func (c *catalog) gangShapes(requests []gcs.Request) []*shape {
	var shapes []*shape
	together := map[gcs.Label][]*gcs.Request{}
	for i := range requests {
		r := &requests[i]
		if r.Affinity == (gcs.Label{}) {
			shapes = append(shapes, c.newShape(kindGang, r))
		} else {
			together[r.Affinity] = append(together[r.Affinity], r)
		}
	}
	for _, same := range together {
		shapes = append(shapes, c.newShape(kindGang, same...))
	}
	return merge(shapes)
}

// newShape returns the shape of a request, or of several that must be on one node.
func (c *catalog) newShape(kind demandKind, requests ...*gcs.Request) *shape {
	s := &shape{anti: requests[0].AntiAffinity, count: 1, source: requests[0], kind: kind}
	known := map[string]bool{}
	for _, r := range requests {
		s.need = append(s.need, c.amounts(r.Resources)...)
		s.gpu = s.gpu || units(r.Resources[resourceGPU]) > 0
		if key := alternatives(r.Selectors).key(); len(r.Selectors) > 0 && !known[key] {
			known[key] = true
			s.selectors = append(s.selectors, r.Selectors)
		}
	}
	s.need = s.need.sum()
	slices.SortFunc(s.selectors, func(a, b alternatives) int { return cmp.Compare(a.key(), b.key()) })
	s.key = fmt.Sprintf("%s not %q", s.gangKey(), s.anti)
	return s
}

// gangKey returns a key that does not depend on the label for anti-affinity, only on whether there is one.
func (s *shape) gangKey() string {
	b := strconv.AppendBool(nil, s.anti != (gcs.Label{}))
	for _, n := range s.need {
		b = strconv.AppendInt(append(b, ' '), int64(n.resource), 10)
		b = strconv.AppendInt(append(b, '='), n.units, 10)
	}
	for _, a := range s.selectors {
		b = append(b, " on "+a.key()...)
	}
	return string(b)
}

// merge returns the shapes without equal ones, the largest one first.
func merge(shapes []*shape) []*shape {
	slices.SortStableFunc(shapes, compareShapes)
	merged := shapes[:0]
	for _, s := range shapes {
		if last := len(merged) - 1; last >= 0 && merged[last].key == s.key {
			merged[last].count = addCapped(merged[last].count, s.count)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// compareShapes sorts shapes as Ray does: those that fit the fewest nodes and the largest ones first.
func compareShapes(a, b *shape) int {
	return cmp.Or(
		-cmp.Compare(a.terms(), b.terms()),
		-cmp.Compare(len(a.need), len(b.need)),
		-cmp.Compare(a.size(), b.size()),
		cmp.Compare(a.key, b.key))
}

// terms returns the number of terms in the preferred selectors.
func (s *shape) terms() int {
	n := 0
	for _, a := range s.selectors {
		n += len(a[0])
	}
	return n
}

// size returns the sum of all amounts, which Ray compares, too.
func (s *shape) size() int64 {
	var sum int64
	for _, n := range s.need {
		sum = addCapped(sum, n.units)
	}
	return sum
}

// limit returns shapes that can be placed on a number of nodes within maxShapes and maxWork.
func (d *demand) limit(nodes int, shapes []*shape) []*shape {
	kept, work := shapes[:0], 0
	for _, s := range shapes {
		if w := s.work() * nodes; len(kept) < maxShapes && w <= maxWork-work {
			kept, work = append(kept, s), work+w
		} else {
			d.incomplete = true
		}
	}
	return kept
}

// limitGangs returns gangs that can be placed on a number of nodes within maxShapes and maxWork.
func (d *demand) limitGangs(nodes int, gangs []*gang) []*gang {
	kept, shapes, work := gangs[:0], 0, 0
	for _, g := range gangs {
		w := 0
		for _, s := range g.shapes {
			w += s.work() * nodes
		}
		if shapes+len(g.shapes) <= maxShapes && w <= maxWork-work {
			kept, shapes, work = append(kept, g), shapes+len(g.shapes), work+w
		} else {
			d.incomplete = true
		}
	}
	return kept
}

// work returns the number of comparisons for one node.
func (s *shape) work() int {
	work := len(s.need) + 1
	for _, a := range s.selectors {
		for _, selector := range a {
			for _, term := range selector {
				work += len(term.Values) + 1
			}
		}
	}
	return min(work*s.ranks(), maxWork)
}
