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
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

func TestUnits(t *testing.T) {
	for _, test := range []struct {
		value float64
		want  int64
	}{
		{0, 0},
		{1, 10_000},
		{0.29, 2900},
		{1.0 / 3, 3333},
		{2.0 / 3, 6667},
		{0.00006, 1},
		{0.00004, 0},
		{-1, 0},
		{math.NaN(), 0},
		{math.Inf(-1), 0},
		{1 << 40, 10_000 << 40},
		{1e300, maxUnits},
		{math.Inf(1), maxUnits},
	} {
		if got := units(test.value); got != test.want {
			t.Errorf("%v has %d units, want %d", test.value, got, test.want)
		}
	}
}

func TestAmounts(t *testing.T) {
	c := newCatalog([]gcs.Request{{Resources: gcs.Resources{"a": 1, "b": 0, "c": 1}}})
	total := c.amounts(gcs.Resources{"a": 1, "b": 2, "c": 3, "d": 4, "e": math.NaN()})
	if diff := gocmp.Diff([]int64{10_000, 20_000, 30_000}, []int64{total.of(0), total.of(1), total.of(2)}); diff != "" || len(total) != 3 {
		t.Errorf("amounts (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		need gcs.Resources
		want int64
	}{
		{nil, 7},
		{gcs.Resources{"b": 1}, 2},
		{gcs.Resources{"a": 0.5, "c": 1}, 2},
		{gcs.Resources{"c": 0.1}, 7},
		{gcs.Resources{"a": 1.0001}, 0},
		{gcs.Resources{"a": 1, "b": 2, "c": 3}, 1},
	} {
		if got := c.amounts(test.need).fits(total, 7); got != test.want {
			t.Errorf("%v fits %d times, want %d", test.need, got, test.want)
		}
	}
	if got := c.amounts(gcs.Resources{"c": 1}).fits(c.amounts(gcs.Resources{"b": 5}), 1); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
	total.take(c.amounts(gcs.Resources{"a": 0.5, "c": 1}), 2)
	sum := append(total, c.amounts(gcs.Resources{"c": 1, "a": 1e300})...).sum()
	if diff := gocmp.Diff([]int64{maxUnits, 20_000, 20_000}, []int64{sum.of(0), sum.of(1), sum.of(2)}); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
}

func TestRank(t *testing.T) {
	s := &shape{selectors: []alternatives{
		{labelIn("a", "1"), labelIn("a", "2"), labelNotIn("a", "3")},
		{labelIn("b", "1"), gcs.Selector{}},
	}}
	if s.ranks() != 4 {
		t.Errorf("got %d ranks, want 4", s.ranks())
	}
	for _, test := range []struct {
		labels map[string]string
		want   int
	}{
		{map[string]string{"a": "1", "b": "1"}, 0},
		{map[string]string{"a": "1"}, 1},
		{map[string]string{"a": "2", "b": "1"}, 1},
		{map[string]string{"a": "2", "b": "2"}, 2},
		{nil, 3},
		{map[string]string{"a": "3", "b": "1"}, -1},
	} {
		if got := s.rank(test.labels); got != test.want {
			t.Errorf("%v has rank %d, want %d", test.labels, got, test.want)
		}
	}
}

func TestMissingLabel(t *testing.T) {
	for _, selector := range []gcs.Selector{labelIn("a", ""), labelIn("a")} {
		if selects(selector, nil) {
			t.Errorf("%v selects a node without the label", selector)
		}
	}
	if !selects(labelNotIn("a", ""), nil) {
		t.Error("notin excludes a node without the label")
	}
	if hasLabel(map[string]string{"a": "1"}, gcs.Label{Name: "a"}) || hasLabel(nil, gcs.Label{Name: "a"}) || !hasLabel(map[string]string{"a": ""}, gcs.Label{Name: "a"}) {
		t.Error("a label has a name and a value")
	}
}

// The first request with a selector determines how much a node is preferred.
func TestScoreOfSelectors(t *testing.T) {
	var s score
	s.add(&shape{}, 0)
	s.add(&shape{selectors: []alternatives{{labelIn("a"), labelIn("b"), labelIn("c")}}}, 1)
	s.add(&shape{selectors: []alternatives{{labelIn("a")}}}, 0)
	if s.selected != 2 {
		t.Errorf("got %d, want 2", s.selected)
	}
}

// TestResourcesOfNodes takes the resources of a new node from one that is alive, without the one that only this has.
func TestResourcesOfNodes(t *testing.T) {
	state := &gcs.ClusterState{Nodes: []gcs.Node{
		{ID: "c", Group: "worker", Total: gcs.Resources{"CPU": 8}},
		{ID: "b", Group: "worker", Total: gcs.Resources{"CPU": 4, "node:10.0.0.1": 1}},
		{ID: "a", Group: "other", Total: gcs.Resources{"CPU": 2}},
	}}
	for group, want := range map[string]gcs.Resources{"worker": cpu(4), "other": cpu(2), "none": nil} {
		if diff := gocmp.Diff(want, resourcesOfNodes(state, group)); diff != "" {
			t.Errorf("group %s (-want +got):\n%s", group, diff)
		}
	}
	if len(state.Nodes[1].Total) != 2 {
		t.Error("the node is changed")
	}
}

// Equal placement groups have an order, too.
func TestOrderOfGangs(t *testing.T) {
	in := newInput(placementGroup("2", "PACK", cpu(9)), placementGroup("1", "PACK", cpu(9)), placementGroup("3", "PACK", cpu(9)))
	first := Decide(in).Infeasible
	slices.Reverse(in.State.Gangs)
	if diff := gocmp.Diff(first, Decide(in).Infeasible); diff != "" {
		t.Errorf("infeasible demand in another order (-first +second):\n%s", diff)
	}
}
