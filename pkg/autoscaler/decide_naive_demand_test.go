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
	"strconv"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// naiveRequest is one request, with the selectors of all requests that must be on the same node.
type naiveRequest struct {
	need      map[string]int64
	anti      gcs.Label
	selectors [][]gcs.Selector
	key       string
}

// compareGangs sorts gangs: those with more constraints first, then the larger ones.
func compareGangs(a, b gcs.Gang) int {
	size := func(g gcs.Gang) int {
		n := 0
		for _, r := range g.Requests {
			if r.AntiAffinity.Name != "" || r.Affinity.Name != "" {
				n++
			}
		}
		return 1000*n + len(g.Requests)
	}
	if c := cmp.Compare(size(b), size(a)); c != 0 {
		return c
	}
	x, y := bundles(&a), bundles(&b)
	distinct := func(r naiveRequest, other naiveRequest) bool { return r.key == other.key }
	x, y = slices.CompactFunc(x, distinct), slices.CompactFunc(y, distinct)
	return cmp.Or(slices.CompareFunc(x, y, compareRequests), cmp.Compare(a.Details, b.Details))
}

// expand returns one request for each task.
func expand(demands []gcs.Demand) []naiveRequest {
	var requests []naiveRequest
	for i := range demands {
		for range demands[i].Count {
			requests = append(requests, newNaiveRequest(&demands[i].Request))
		}
	}
	slices.SortStableFunc(requests, compareRequests)
	return requests
}

// bundles returns the requests of a gang.
func bundles(g *gcs.Gang) []naiveRequest {
	byAffinity := map[string][]*gcs.Request{}
	for i := range g.Requests {
		key := g.Requests[i].Affinity.Name
		if key == "" {
			key = strconv.Itoa(i)
		}
		byAffinity[key] = append(byAffinity[key], &g.Requests[i])
	}
	var requests []naiveRequest
	for _, same := range byAffinity {
		requests = append(requests, newNaiveRequest(same...))
	}
	slices.SortStableFunc(requests, compareRequests)
	return requests
}

func newNaiveRequest(requests ...*gcs.Request) naiveRequest {
	r := naiveRequest{need: map[string]int64{}, anti: requests[0].AntiAffinity}
	seen := map[string]bool{}
	for _, request := range requests {
		for name, u := range inUnits(request.Resources) {
			r.need[name] += u
		}
		if key := alternatives(request.Selectors).key(); len(request.Selectors) > 0 && !seen[key] {
			seen[key] = true
			r.selectors = append(r.selectors, request.Selectors)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.need)) {
		r.key += name + "=" + strconv.FormatInt(r.need[name], 10) + " "
	}
	r.key += r.anti.Name
	for _, s := range r.selectors {
		r.key += " " + alternatives(s).key()
	}
	return r
}

func compareRequests(a, b naiveRequest) int {
	size := func(r naiveRequest) (terms, kinds int, sum int64) {
		for _, s := range r.selectors {
			terms += len(s[0])
		}
		for _, u := range r.need {
			sum += u
		}
		return terms, len(r.need), sum
	}
	a1, a2, a3 := size(a)
	b1, b2, b3 := size(b)
	return cmp.Or(cmp.Compare(b1, a1), cmp.Compare(b2, a2), cmp.Compare(b3, a3), cmp.Compare(a.key, b.key))
}

func (r *naiveRequest) rank(labels map[string]string) int {
	rank := 0
	for _, alternatives := range r.selectors {
		i := 0
		for i < len(alternatives) && !meets(labels, alternatives[i]) {
			i++
		}
		if i == len(alternatives) {
			return math.MinInt / 4
		}
		rank += i
	}
	return rank
}

func meets(labels map[string]string, terms gcs.Selector) bool {
	for _, term := range terms {
		v, ok := labels[term.Name]
		if slices.Contains(term.Values, v) && ok == term.Not || !term.Not && !slices.Contains(term.Values, v) {
			return false
		}
	}
	return true
}
