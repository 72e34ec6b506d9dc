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
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// hostile returns input with numbers, names and sizes that no honest cluster reports. What matters comes from data, the
// rest from seed.
func hostile(data []byte, seed uint64) *Input {
	random := rand.New(rand.NewPCG(seed, 1))
	next := func(n int) int {
		if len(data) == 0 {
			return random.IntN(n)
		}
		b := data[0]
		data = data[1:]
		return int(b) % n
	}
	number := func() float64 {
		return []float64{0, 1, 0.00001, 0.3, 1e-300, 1e18, 1e300, math.MaxFloat64, math.Inf(1), math.NaN(), -1, math.Inf(-1), 4, 1 << 40}[next(14)]
	}
	count := func() int64 {
		return []int64{1, 0, -1, 1e9, math.MaxInt64, math.MinInt64, 3, 10_000}[next(8)]
	}
	small := func() int32 {
		return []int32{0, 1, 2, 10, math.MaxInt32, -1, math.MinInt32, 1000}[next(8)]
	}
	name := func() string {
		return []string{"CPU", "GPU", "", "memory", strings.Repeat("ä\x00", 500), "\xff\x1b[31m\n\u202e", "node:1", "a"}[next(8)]
	}
	label := func() gcs.Label {
		return []gcs.Label{{}, {Name: "_PG_1"}, {Name: "_PG_2"}, {Name: name(), Value: name()}}[next(4)]
	}
	resources := func() gcs.Resources {
		r := gcs.Resources{}
		for range next(4) {
			r[name()] = number()
		}
		return r
	}
	labels := func() map[string]string {
		l := map[string]string{}
		for range next(3) {
			l[name()] = name()
		}
		return l
	}
	request := func() gcs.Request {
		r := gcs.Request{Resources: resources(), AntiAffinity: label(), Affinity: label()}
		for range max(0, next(6)-3) {
			var s gcs.Selector
			for range next(4) {
				s = append(s, gcs.Term{Name: name(), Values: []string{name(), name()}[:next(3)], Not: next(2) == 0})
			}
			r.Selectors = append(r.Selectors, s)
		}
		return r
	}
	duration := func() time.Duration {
		return []time.Duration{0, time.Second, math.MaxInt64, math.MinInt64, time.Hour, -time.Second}[next(6)]
	}
	in := &Input{State: &gcs.ClusterState{Session: name()}, Now: decisionTime.Add(duration()), Memory: Memory{Session: name(), Surplus: map[string][]Surplus{}}}
	for i := range next(5) {
		g := Group{
			Name: "g" + strconv.Itoa(i%3), Autoscaled: next(5) > 0, Min: small(), Max: small(), IdleTimeout: duration(),
			Desired: small(), Resources: resources(), Labels: labels(), Rolling: next(8) == 0,
		}
		in.Groups = append(in.Groups, g)
		for range next(3) {
			in.Memory.Surplus[g.Name] = append(in.Memory.Surplus[g.Name], Surplus{decisionTime.Add(duration()), small()})
		}
	}
	for range next(8) {
		in.State.Nodes = append(in.State.Nodes, gcs.Node{
			ID: strconv.Itoa(next(10)), Group: "g" + strconv.Itoa(next(4)), Status: gcs.NodeStatus(next(6)),
			Total: resources(), Available: resources(), Labels: labels(), Idle: duration(),
		})
	}
	for range next(8) {
		in.State.Tasks = append(in.State.Tasks, gcs.Demand{Request: request(), Count: count()})
	}
	for range next(3) {
		in.State.Constraint = append(in.State.Constraint, gcs.Demand{Request: request(), Count: count()})
	}
	for range next(5) {
		var g gcs.Gang
		for range next(5) {
			g.Requests = append(g.Requests, request())
		}
		in.State.Gangs = append(in.State.Gangs, g)
	}
	return in
}

// FuzzDecide decides on hostile input. Limits that the API server accepts are met, and texts can be shown.
func FuzzDecide(f *testing.F) {
	for seed := range uint64(200) {
		f.Add([]byte{}, seed)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		in := hostile(data, seed)
		d := Decide(in)
		if len(d.Groups) != len(in.Groups) {
			t.Fatalf("got %d groups, want %d", len(d.Groups), len(in.Groups))
		}
		checkText(t, d.Infeasible.Message)
		for i := range d.Groups {
			g, got := &in.Groups[i], &d.Groups[i]
			checkText(t, got.Reason)
			checkText(t, got.Limited)
			if valid := g.Min >= 0 && g.Max >= g.Min; valid && g.Autoscaled && (got.Replicas < g.Min || got.Replicas > g.Max) {
				t.Errorf("got %d replicas of %s, want %d to %d", got.Replicas, g.Name, g.Min, g.Max)
			}
			if got.Replicas < 0 || got.Pending < 0 || got.Surplus < 0 || int(got.Replicas) < len(got.Drain) {
				t.Errorf("got %+v", got)
			}
		}
	})
}

// checkText fails a test if a text cannot be part of a condition.
func checkText(t *testing.T, text string) {
	t.Helper()
	if len(text) > 4096 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("got %q (%d bytes)", text, len(text))
	}
}

// TestHugeState decides on as much demand and as many nodes as a reply can have. The work is limited, and nothing is
// removed as long as some of the demand has not been considered.
func TestHugeState(t *testing.T) {
	for _, test := range []struct {
		name    string
		options opts
	}{
		{"shapes", opts{aliveWorkers(1000), shapes(10_000, 1000)}},
		{"shapes without nodes", opts{shapes(10_000, 1000)}},
		{"shapes with a node each", opts{manyGroups, wholeNodes(10_000)}},
		{"shapes with a node each, and labels of none", opts{manyGroups, wholeNodes(500), notSelected(500, 70)}},
		{"nodes", opts{aliveWorkers(20_000), shapes(1000, 1000)}},
		{"placement groups", opts{aliveWorkers(1000), gangs(10_000, "STRICT_SPREAD")}},
		{"placement groups without nodes", opts{gangs(10_000, "PACK")}},
		{"placement groups that differ", opts{aliveWorkers(20_000), differentGangs(1000)}},
		{"a placement group", opts{aliveWorkers(1000), largeGang(20_000)}},
		{"values of a label", opts{aliveWorkers(20_000), tasks(1, cpu(1), gcs.Selector{{Name: "zone", Values: make([]string, 10_000)}})}},
		{"label selectors", opts{aliveWorkers(1000), tasks(1000, cpu(1), manySelectors(10_000)...)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := largeInput(test.options...)
			in.Memory = Decide(in).Memory
			start := time.Now()
			d := Decide(in)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("the decision took %v", took)
			} else {
				t.Logf("the decision took %v", took)
			}
			if !d.Incomplete || len(d.Groups[0].Drain) > 0 || len(d.Memory.Surplus) > 0 {
				t.Errorf("incomplete is %t, %d nodes are to be drained", d.Incomplete, len(d.Groups[0].Drain))
			}
		})
	}
}

// manyGroups adds as many groups as a Ray can have, with nodes of different sizes.
func manyGroups(in *Input) {
	for i := range 50 {
		addGroup("g"+strconv.Itoa(i), gcs.Resources{"CPU": float64(100 + i), "memory": 1 << 40}, size(0, 0, 5000))(in)
	}
}

// wholeNodes adds tasks of different shapes, each of which needs a node of its own.
func wholeNodes(n int) inputOption {
	return func(in *Input) {
		for i := range n {
			tasks(1, gcs.Resources{"CPU": 100, "memory": float64(i) * (1 << 20)})(in)
		}
	}
}

// notSelected adds small tasks of different shapes, each with a number of values of a label that no node has.
func notSelected(n, values int) inputOption {
	return func(in *Input) {
		for i := range n {
			var names []string
			for j := range values {
				names = append(names, "v"+strconv.Itoa(i)+"-"+strconv.Itoa(j))
			}
			tasks(1, cpu(1), labelIn("ray.io/node-group", names...))(in)
		}
	}
}

// differentGangs adds placement groups that are all infeasible, for one bundle of two.
func differentGangs(n int) inputOption {
	return func(in *Input) {
		for i := range n {
			placementGroup(strconv.Itoa(i), "PACK", cpu(1), cpu(float64(1000+i)))(in)
		}
	}
}

// largeGang adds a placement group with bundles that all differ.
func largeGang(n int) inputOption {
	bundles := make([]gcs.Resources, n)
	for i := range bundles {
		bundles[i] = gcs.Resources{"r" + strconv.Itoa(i): 1}
	}
	return placementGroup("1", "PACK", bundles...)
}

func manySelectors(n int) []gcs.Selector {
	var selectors []gcs.Selector
	for i := range n {
		selectors = append(selectors, labelIn("zone", strconv.Itoa(i)))
	}
	return selectors
}
