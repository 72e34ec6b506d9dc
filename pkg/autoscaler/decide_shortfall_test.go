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
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

func TestInfeasible(t *testing.T) {
	gpu := addGroup("gpu", gcs.Resources{"CPU": 8, "GPU": 4})
	runDecisionTests(t, []decisionTest{
		{
			"a request for more than any node has",
			opts{gpu, addGroup("gpu2", gcs.Resources{"GPU": 2}), tasks(1, gcs.Resources{"CPU": 1, "GPU": 8})},
			lines{"worker 0", "gpu 0", "gpu2 0", `infeasible: {"CPU": 1, "GPU": 8}: no group has nodes with 8 GPU (gpu has 4)`},
		},
		{
			"a request for a resource that no node has",
			opts{gpu, tasks(1, gcs.Resources{"TPU": 1})},
			lines{"worker 0", "gpu 0", `infeasible: {"TPU": 1}: no group has nodes with TPU`},
		},
		{
			"a request for resources that no node has together",
			opts{gpu, addGroup("special", gcs.Resources{"CPU": 4, "special": 1}), tasks(1, gcs.Resources{"GPU": 1, "special": 1})},
			lines{"worker 0", "gpu 0", "special 0", `infeasible: {"GPU": 1, "special": 1}: no group has nodes with all of these resources`},
		},
		{
			"a request for more than the nodes with the labels have",
			opts{gpu, tasks(1, cpu(8), labelIn("ray.io/node-group", "worker"))},
			lines{
				"worker 0", "gpu 0",
				`infeasible: {"CPU": 8} on nodes with ray.io/node-group in (worker): no group has nodes with 8 CPU (worker has 4)`,
			},
		},
		{
			"amounts of memory are short",
			opts{tasks(1, gcs.Resources{"memory": 100 << 30})},
			lines{"worker 0", `infeasible: {"memory": 100Gi}: no group has nodes with 100Gi memory (worker has 8Gi)`},
		},
		{
			"a request that fits on a busy node waits for it",
			opts{addNode("a", "removed", gcs.NodeRunning, gcs.Resources{"TPU": 1}, func(n *gcs.Node) { n.Available = nil }), tasks(1, gcs.Resources{"TPU": 1})},
			lines{"worker 0", "unknown nodes"},
		},
		{
			"unless the node is draining",
			opts{addNode("a", "removed", gcs.NodeDraining, gcs.Resources{"TPU": 1}), tasks(1, gcs.Resources{"TPU": 1})},
			lines{"worker 0", `infeasible: {"TPU": 1}: no group has nodes with TPU`},
		},
		{
			"or does not have the labels",
			opts{worker(fixed(1)), busy("a", 0), tasks(1, cpu(1), labelIn("zone", "a"))},
			lines{"worker 1", `infeasible: {"CPU": 1} on nodes with zone in (a): no group has nodes with these labels`},
		},
		{
			"a request that fits on a group with the maximum 0 is limited by it",
			opts{worker(size(0, 0, 0)), tasks(1, cpu(1))},
			lines{"worker 0", `worker: limits {"CPU": 1}`},
		},
		{
			"all groups with the resources limit a request",
			opts{worker(size(0, 0, 0)), addGroup("gpu", gcs.Resources{"CPU": 8, "GPU": 4}, size(0, 0, 0)), tasks(1, cpu(1)), tasks(1, gcs.Resources{"GPU": 1})},
			lines{"worker 0", `worker: limits {"CPU": 1}`, "gpu 0", `gpu: limits {"CPU": 1} and {"GPU": 1}`},
		},
		{
			"a group that is not autoscaled and has no nodes cannot help",
			opts{worker(fixed(0)), tasks(1, cpu(1))},
			lines{"worker 0", `infeasible: {"CPU": 1}: no group has nodes with CPU`},
		},
		{
			"its pending nodes can",
			opts{worker(fixed(1)), tasks(10, cpu(1))},
			lines{"worker 1"},
		},
		{
			"a placement group is limited by the groups that it needs more of",
			opts{
				worker(size(0, 0, 1)), addGroup("gpu", gcs.Resources{"GPU": 4}, size(0, 0, 1)),
				placementGroup("1", "PACK", cpu(4), cpu(4), gcs.Resources{"GPU": 4}),
			},
			lines{"worker 0", `worker: limits placement group with {"CPU": 4} x 2 and {"GPU": 4} (PACK)`, "gpu 0"},
		},
		{
			"equal placement groups are reported once",
			opts{placementGroup("1", "STRICT_SPREAD", cpu(5)), placementGroup("2", "STRICT_SPREAD", cpu(5))},
			lines{"worker 0", `infeasible: placement group with {"CPU": 5} (STRICT_SPREAD): no group has nodes with 5 CPU (worker has 4)`},
		},
		{
			"at most three shapes are named",
			opts{tasks(1, cpu(5)), tasks(1, cpu(6)), tasks(1, cpu(7)), tasks(1, cpu(8)), tasks(1, cpu(9))},
			lines{
				"worker 0",
				`infeasible: {"CPU": 9}: no group has nodes with 9 CPU (worker has 4); {"CPU": 8}: no group has nodes with 8 CPU (worker has 4); ` +
					`{"CPU": 7}: no group has nodes with 7 CPU (worker has 4); and 2 more`,
			},
		},
	})
}

// Of two equal placement groups, one is infeasible because it uses a node already.
func TestInfeasibleGang(t *testing.T) {
	for _, used := range []string{"1", "2"} {
		in := newInput(worker(fixed(2)), busy("a", 0, nodeLabel("_PG_"+used, "")), busy("b", 0),
			placementGroup("1", "STRICT_SPREAD", times(2, cpu(4))...), placementGroup("2", "STRICT_SPREAD", times(2, cpu(4))...))
		if got := Decide(in).Infeasible.Gangs; len(got) != 1 || got[0].Details != used+":STRICT_SPREAD|PENDING" {
			t.Errorf("got %+v, want placement group %s", got, used)
		}
	}
}

func TestInfeasibleDemand(t *testing.T) {
	in := newInput(tasks(3, cpu(5)), tasks(4, cpu(1)), placementGroup("1", "STRICT_PACK", cpu(2), cpu(3)), requestResources(2, cpu(7)))
	got := Decide(in).Infeasible
	got.Message = ""
	want := Infeasible{
		Requests:   []gcs.Request{{Resources: cpu(5)}},
		Gangs:      []gcs.Gang{in.State.Gangs[0]},
		Constraint: []gcs.Demand{{Request: gcs.Request{Resources: cpu(7)}, Count: 2}},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("infeasible demand (-want +got):\n%s", diff)
	}
}

// TestCounts checks the numbers of nodes that are reported.
func TestCounts(t *testing.T) {
	in := newInput(worker(size(0, 3, 10)), busy("a", 0), addNode("b", "worker", gcs.NodeDraining, cpu(4)), tasks(12, cpu(1)))
	if got := Decide(in).Groups[0]; got.Replicas != 4 || got.Alive != 1 || got.Pending != 3 {
		t.Errorf("got %d replicas, %d alive and %d pending, want 4, 1 and 3", got.Replicas, got.Alive, got.Pending)
	}
	in.Groups[0].Desired = 0
	in.State.Tasks = nil
	if got := Decide(in).Groups[0]; got.Replicas != 0 || got.Alive != 1 || got.Pending != 0 {
		t.Errorf("got %d replicas, %d alive and %d pending, want 0, 1 and 0", got.Replicas, got.Alive, got.Pending)
	}
	surplusSince(0, 2)(in)
	in.Groups[0].Desired = 3
	in.Memory.Surplus["worker"][0].Since = in.Now.Add(-in.Groups[0].IdleTimeout)
	if got := Decide(in).Groups[0]; got.Replicas != 1 || got.Alive != 1 || got.Pending != 0 {
		t.Errorf("got %d replicas, %d alive and %d pending, want 1, 1 and 0", got.Replicas, got.Alive, got.Pending)
	}
}

func TestText(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for _, test := range []struct {
		name string
		in   inputOption
		want string
	}{
		{"no resources", tasks(1, nil), "{}"},
		{"fractions", tasks(1, gcs.Resources{"CPU": 0.5, "GPU": 0.0001}), `{"CPU": 0.5, "GPU": 0.0001}`},
		{"large numbers", tasks(1, gcs.Resources{"a": 1e9, "memory": 1.5 * (1 << 40), "object_store_memory": 1000}), `{"a": 1000000000, "memory": 1.5Ti, "object_store_memory": 1000}`},
		{"more resources", tasks(1, gcs.Resources{"a": 1, "b": 1, "c": 1, "d": 1}), `{"a": 1, "b": 1, "c": 1, and 1 more}`},
		{"control characters", tasks(1, gcs.Resources{"a\n\"\x1b": 1}), `{"a\n\"\x1b": 1}`},
		{"a long name", tasks(1, gcs.Resources{long: 1}), `{"` + long[:60] + `…": 1}`},
		{
			"terms and alternatives", tasks(1, cpu(1), append(labelIn("a", "1", "2"), labelNotIn("b", "3")...), gcs.Selector{}),
			`{"CPU": 1} on nodes with a in (1, 2), b notin (3) or any labels`,
		},
		{
			"a long selector", tasks(1, cpu(1), labelIn(long, long, long, long)),
			`{"CPU": 1} on nodes with ` + long[:60] + `… in (` + long[:60] + `…, ` + long[:60] + `…, ` + long[:30] + "…",
		},
		{"a request", requestResources(1, cpu(1)), `request_resources of {"CPU": 1}`},
		{"a bundle", placementGroup("1", "PACK", cpu(1)), `placement group with {"CPU": 1} (PACK)`},
		{"bundles", placementGroup("1", "SPREAD", cpu(1), cpu(1), cpu(2)), `placement group with {"CPU": 2} and {"CPU": 1} x 2 (SPREAD)`},
		{"many bundles", placementGroup("1", "?", cpu(1), cpu(2), cpu(3), cpu(4), cpu(5)), `placement group with {"CPU": 5}, {"CPU": 4}, {"CPU": 3} and 2 more`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDemand(newInput(test.in).State)
			var got string
			for _, s := range append(d.tasks, d.constraint...) {
				got = d.text(s)
			}
			for _, g := range d.gangs {
				got = d.gangText(g)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestEnumerate(t *testing.T) {
	for _, test := range []struct{ items, want string }{
		{"", ""}, {"a", "a"}, {"a b", "a and b"}, {"a b c", "a, b and c"}, {"a b c d", "a, b, c and 1 more"},
	} {
		if got := enumerate(strings.Fields(test.items)); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
