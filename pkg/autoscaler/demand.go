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
	"strings"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// maxShapes limits the number of different requests of a kind: of tasks, of placement groups, and of
// request_resources. Ray reports at most 100 shapes for a node, and 1,000 placement groups.
const maxShapes = 1000

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
	// needCost and rankCost are the work of comparing need and selectors with a node.
	needCost, rankCost int
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
	// key is the same only for gangs that request the same, each with a label of its own.
	key string
}

// demand is what waits for resources, in the order in which it is placed.
type demand struct {
	*catalog
	constraint, tasks []*shape
	gangs             []*gang
	// incomplete is whether demand was left out because of its size.
	incomplete bool
}

// newDemand returns the demand of a cluster.
func newDemand(state *gcs.ClusterState) *demand {
	lists := [][]gcs.Request{requestsOf(state.Constraint), requestsOf(state.Tasks)}
	for i := range state.Gangs {
		lists = append(lists, state.Gangs[i].Requests)
	}
	d := &demand{catalog: newCatalog(lists...)}
	d.constraint = d.limit(d.shapes(state.Constraint, kindConstraint))
	d.tasks = d.limit(d.shapes(state.Tasks, kindTasks))
	d.gangs = d.limitGangs(d.sortedGangs(state.Gangs))
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
			gangs = append(gangs, c.newGang(&reported[i]))
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

func (c *catalog) newGang(source *gcs.Gang) *gang {
	g := &gang{shapes: c.gangShapes(source.Requests), source: source}
	var key strings.Builder
	for _, s := range g.shapes {
		fmt.Fprintf(&key, "%d %s\n", s.count, s.gangKey())
	}
	g.key = key.String()
	return g
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
	s.needCost, s.rankCost = len(s.need)+1, s.comparisons()
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

// comparisons returns how many there are at most of the selectors with labels.
func (s *shape) comparisons() int {
	n := 0
	for _, a := range s.selectors {
		for _, selector := range a {
			for _, term := range selector {
				n += len(term.Values) + 1
			}
		}
	}
	return n
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

// limit returns the first maxShapes shapes.
func (d *demand) limit(shapes []*shape) []*shape {
	if len(shapes) <= maxShapes {
		return shapes
	}
	d.incomplete = true
	return shapes[:maxShapes]
}

// limitGangs returns gangs with up to maxShapes shapes.
func (d *demand) limitGangs(gangs []*gang) []*gang {
	kept, shapes := gangs[:0], 0
	for _, g := range gangs {
		if shapes+len(g.shapes) <= maxShapes {
			kept, shapes = append(kept, g), shapes+len(g.shapes)
		} else {
			d.incomplete = true
		}
	}
	return kept
}
