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
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

var (
	decisionSeed  = flag.Uint64("decision.seed", 1, "first seed of the tests with random decisions")
	decisionCount = flag.Uint64("decision.count", 3000, "number of random decisions in a test")
)

// forRandomInputs runs a check for random inputs.
func forRandomInputs(t *testing.T, check func(*rand.Rand, *Input) error) {
	t.Helper()
	for seed := *decisionSeed; seed < *decisionSeed+*decisionCount; seed++ {
		random := rand.New(rand.NewPCG(seed, 0))
		in := randomInput(random)
		if err := check(random, in); err != nil {
			t.Fatalf("%v\nto reproduce: go test ./pkg/autoscaler -run '^%s$' -decision.seed %d -decision.count 1", err, t.Name(), seed)
		}
	}
}

// randomInput returns a cluster of random groups, nodes and demand, which are small enough that much of it matters.
func randomInput(random *rand.Rand) *Input {
	in := &Input{State: &gcs.ClusterState{Session: "s"}, Now: decisionTime, Memory: Memory{Session: "s", Surplus: map[string][]Surplus{}}}
	for i := range random.IntN(4) {
		in.Groups = append(in.Groups, randomGroup(random, "g"+strconv.Itoa(i)))
	}
	addNode("head", "head", gcs.NodeIdle, randomResources(random, 4), idleFor(time.Hour))(in)
	for i := range random.IntN(12) {
		in.State.Nodes = append(in.State.Nodes, randomNode(random, "n"+strconv.Itoa(i), in.Groups))
		if random.IntN(3) > 0 {
			in.Memory.Idle = append(in.Memory.Idle, "n"+strconv.Itoa(i))
		}
	}
	slices.Sort(in.Memory.Idle)
	for range random.IntN(5) {
		in.State.Tasks = append(in.State.Tasks, gcs.Demand{Request: randomRequest(random), Count: 1 + random.Int64N(12)})
	}
	for i := range random.IntN(4) {
		in.State.Gangs = append(in.State.Gangs, randomGang(random, strconv.Itoa(i)))
	}
	for range max(0, random.IntN(5)-2) {
		in.State.Constraint = append(in.State.Constraint, gcs.Demand{Request: randomRequest(random), Count: 1 + random.Int64N(6)})
	}
	return in
}

func randomGroup(random *rand.Rand, name string) Group {
	minimum := int32(max(0, random.IntN(5)-2))
	g := Group{
		Name: name, Autoscaled: random.IntN(6) > 0, Min: minimum, Max: minimum + int32(random.IntN(8)),
		IdleTimeout: time.Minute, Desired: int32(random.IntN(8)), Resources: randomResources(random, 8),
		Labels: randomLabels(random), Rolling: random.IntN(12) == 0,
	}
	if random.IntN(12) == 0 {
		g.Resources = nil
	}
	return g
}

func randomNode(random *rand.Rand, id string, groups []Group) gcs.Node {
	n := gcs.Node{ID: id, Group: "removed", Status: gcs.NodeStatus(1 + random.IntN(4)), Labels: randomLabels(random)}
	n.Total = randomResources(random, 8)
	if len(groups) > 0 && random.IntN(8) > 0 {
		g := &groups[random.IntN(len(groups))]
		n.Group = g.Name
		if g.Resources != nil && random.IntN(8) > 0 {
			n.Total, n.Labels = g.Resources, maps.Clone(g.Labels)
		}
	}
	n.Available = n.Total
	switch {
	case random.IntN(2) == 0:
		n.Status = gcs.NodeIdle
		n.Idle = time.Duration(random.IntN(120)) * time.Second
	case n.Status != gcs.NodeIdle:
		n.Available = gcs.Resources{}
		for _, name := range slices.Sorted(maps.Keys(n.Total)) {
			n.Available[name] = float64(random.IntN(int(n.Total[name]) + 1))
		}
		if random.IntN(3) == 0 {
			n.Labels["_PG_"+strconv.Itoa(random.IntN(4))] = ""
		}
	}
	return n
}

func randomLabels(random *rand.Rand) map[string]string {
	labels := map[string]string{}
	if random.IntN(2) == 0 {
		labels["zone"] = string(rune('a' + random.IntN(3)))
	}
	return labels
}

func randomResources(random *rand.Rand, most int) gcs.Resources {
	r := cpu(float64(1 + random.IntN(most)))
	if random.IntN(3) == 0 {
		r["GPU"] = float64(1 + random.IntN(2))
	}
	if random.IntN(4) == 0 {
		r["special"] = 1
	}
	return r
}

func randomRequest(random *rand.Rand) gcs.Request {
	r := gcs.Request{Resources: gcs.Resources{}}
	if random.IntN(12) > 0 {
		r.Resources["CPU"] = []float64{0.1, 0.5, 1, 1, 2, 3, 4, 6}[random.IntN(8)]
	}
	if random.IntN(6) == 0 {
		r.Resources["GPU"] = []float64{0.5, 1, 2}[random.IntN(3)]
	}
	if random.IntN(8) == 0 {
		r.Resources["special"] = 0.25
	}
	if random.IntN(5) == 0 {
		for range 1 + random.IntN(2) {
			r.Selectors = append(r.Selectors, gcs.Selector{{Name: "zone", Values: []string{string(rune('a' + random.IntN(4)))}, Not: random.IntN(3) == 0}})
		}
	}
	return r
}

func randomGang(random *rand.Rand, id string) gcs.Gang {
	strategy := []string{"PACK", "STRICT_PACK", "STRICT_SPREAD"}[random.IntN(3)]
	gang := gcs.Gang{Details: id + ":" + strategy + "|PENDING"}
	for range random.IntN(3) {
		r := randomRequest(random)
		switch label := (gcs.Label{Name: "_PG_" + id}); strategy {
		case "STRICT_PACK":
			r.Affinity = label
		case "STRICT_SPREAD":
			r.AntiAffinity = label
		}
		gang.Requests = append(gang.Requests, slices.Repeat([]gcs.Request{r}, 1+random.IntN(4))...)
	}
	return gang
}

// apply returns the input for the next decision, after the nodes to drain rejected or accepted.
func apply(in *Input, d *Decision, accepted bool) *Input {
	next := *in
	next.Memory = d.Memory
	next.Groups = slices.Clone(in.Groups)
	drained := map[string]bool{}
	for i := range d.Groups {
		next.Groups[i].Desired = d.Groups[i].Replicas
		if accepted {
			next.Groups[i].Desired -= int32(len(d.Groups[i].Drain))
			for _, n := range d.Groups[i].Drain {
				drained[n.ID] = true
			}
		}
	}
	state := *in.State
	state.Nodes = slices.DeleteFunc(slices.Clone(state.Nodes), func(n gcs.Node) bool { return drained[n.ID] })
	next.State = &state
	return &next
}

func replicas(d *Decision) map[string]int32 {
	result := map[string]int32{}
	for i := range d.Groups {
		result[d.Groups[i].Name] = d.Groups[i].Replicas
	}
	return result
}

// checkLimits returns an error if a decision leaves the limits of a group, or removes a node that it must not.
func checkLimits(in *Input, d *Decision) error {
	for i := range d.Groups {
		g, got := &in.Groups[i], &d.Groups[i]
		if !g.Autoscaled {
			if got.Replicas != g.Desired || len(got.Drain)+len(got.Excess) > 0 {
				return fmt.Errorf("group %s is not autoscaled, got %+v", g.Name, got)
			}
			continue
		}
		if got.Replicas < g.Min || got.Replicas > g.Max || int(got.Replicas)-len(got.Drain) < int(g.Min) {
			return fmt.Errorf("got %d replicas, and %d to drain, of %s with limits %d and %d", got.Replicas, len(got.Drain), g.Name, g.Min, g.Max)
		}
		if (got.Reason == "") != (got.Replicas == g.Desired) {
			return fmt.Errorf("got reason %q for %d replicas of %s instead of %d", got.Reason, got.Replicas, g.Name, g.Desired)
		}
		if g.Rolling && len(got.Drain)+len(got.Excess) > 0 {
			return fmt.Errorf("group %s is rolling, got %+v", g.Name, got)
		}
		for _, n := range slices.Concat(got.Drain, got.Excess) {
			if n.Status != gcs.NodeIdle || n.Group != g.Name {
				return fmt.Errorf("node %+v of %s is to be drained", n, g.Name)
			}
		}
		for _, n := range got.Drain {
			if n.Idle < g.IdleTimeout || !slices.Contains(in.Memory.Idle, n.ID) {
				return fmt.Errorf("node %+v of %s is to be drained", n, g.Name)
			}
		}
	}
	return nil
}

func TestRandomLimits(t *testing.T) {
	forRandomInputs(t, func(_ *rand.Rand, in *Input) error { return checkLimits(in, Decide(in)) })
}

// TestRandomPacking compares what is added and which nodes are needed with a packing of single requests on single nodes.
func TestRandomPacking(t *testing.T) {
	forRandomInputs(t, func(_ *rand.Rand, in *Input) error {
		alive := aliveNodes(in.State)
		groups, _ := newGroupStates(in.Groups, alive)
		want, unused := newNaive(groups, alive).decide(in.State)
		d := newDemand(in.State)
		p := newPlan(groups, alive, d)
		got := make([]int, len(groups))
		for i, added := range p.added {
			got[i] = int(added)
		}
		var gotUnused []string
		for _, b := range p.bins {
			if !b.used {
				gotUnused = append(gotUnused, b.alive.ID)
			}
		}
		slices.Sort(gotUnused)
		if diff := gocmp.Diff(want, got) + gocmp.Diff(unused, gotUnused); diff != "" {
			return fmt.Errorf("added and unused nodes (-want +got):\n%s", diff)
		}
		return nil
	})
}

// TestRandomStability applies decisions. Another decision for the same state changes nothing.
func TestRandomStability(t *testing.T) {
	forRandomInputs(t, func(_ *rand.Rand, in *Input) error {
		first := Decide(in)
		limited := slices.ContainsFunc(first.Groups, func(g GroupDecision) bool { return g.Limited != "" })
		for _, accepted := range []bool{false, true} {
			if accepted && limited {
				continue // Nodes that do not match the demand are replaced by ones that do.
			}
			next := apply(in, first, accepted)
			second := Decide(next)
			want := map[string]int32{}
			for i := range next.Groups {
				want[next.Groups[i].Name] = next.Groups[i].Desired
			}
			if diff := gocmp.Diff(want, replicas(second)); diff != "" {
				return fmt.Errorf("replicas of the next decision, accepted %t (-want +got):\n%s\nfirst %v", accepted, diff, describe(first))
			}
			removed := accepted || slices.ContainsFunc(first.Groups, func(g GroupDecision) bool { return len(g.Excess) > 0 })
			if diff := gocmp.Diff(first.Infeasible.Message, second.Infeasible.Message); diff != "" && !removed {
				return fmt.Errorf("infeasible in the next decision (-want +got):\n%s", diff)
			}
		}
		return nil
	})
}

// TestRandomOrder changes the order of all that has none.
func TestRandomOrder(t *testing.T) {
	forRandomInputs(t, func(random *rand.Rand, in *Input) error {
		other := *in
		state := *in.State
		other.State = &state
		state.Nodes, state.Tasks, state.Gangs, state.Constraint = shuffled(random, state.Nodes), shuffled(random, state.Tasks), shuffled(random, state.Gangs), shuffled(random, state.Constraint)
		for i := range state.Nodes {
			n := &state.Nodes[i]
			n.Total, n.Available, n.Labels = maps.Clone(n.Total), maps.Clone(n.Available), maps.Clone(n.Labels)
		}
		for i := range state.Gangs {
			state.Gangs[i].Requests = shuffled(random, state.Gangs[i].Requests)
		}
		a, b := Decide(in), Decide(&other)
		for _, d := range []*Decision{a, b} {
			for i := range d.Infeasible.Gangs {
				d.Infeasible.Gangs[i].Requests = nil
			}
		}
		if diff := gocmp.Diff(a, b); diff != "" {
			return fmt.Errorf("decision in another order (-first +second):\n%s", diff)
		}
		return nil
	})
}

func shuffled[T any](random *rand.Rand, items []T) []T {
	items = slices.Clone(items)
	random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items
}

// TestRandomGrowth adds demand to a cluster with one group. It never needs fewer nodes then. (With several groups, or
// with a larger request that is placed first, it can: one large node can replace several small ones.)
func TestRandomGrowth(t *testing.T) {
	forRandomInputs(t, func(random *rand.Rand, in *Input) error {
		in.Groups = in.Groups[:min(len(in.Groups), 1)]
		in.State.Constraint = nil
		for i := range in.State.Tasks {
			in.State.Tasks[i].Request.Selectors = nil
		}
		first := Decide(in)
		in.State.Tasks = append(slices.Clone(in.State.Tasks), gcs.Demand{Request: gcs.Request{Resources: cpu(0.05)}, Count: random.Int64N(200)})
		second := Decide(in)
		for i := range first.Groups {
			a, b := &first.Groups[i], &second.Groups[i]
			if b.Replicas < a.Replicas {
				return fmt.Errorf("more demand changed the group from %v to %v", describe(first), describe(second))
			}
		}
		return nil
	})
}

// TestRandomUnchanged checks that the input of a decision is not changed.
func TestRandomUnchanged(t *testing.T) {
	forRandomInputs(t, func(random *rand.Rand, in *Input) error {
		surplusSince(time.Duration(random.IntN(100))*time.Second, 3)(in)
		before := fmt.Sprintf("%+v %+v", *in.State, *in)
		Decide(in)
		if after := fmt.Sprintf("%+v %+v", *in.State, *in); after != before {
			return fmt.Errorf("the input was changed from\n%s\nto\n%s", before, after)
		}
		return nil
	})
}
