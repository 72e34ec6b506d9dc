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
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

func TestPlacementGroups(t *testing.T) {
	runDecisionTests(t, []decisionTest{
		{
			"PACK shares nodes",
			opts{placementGroup("1", "PACK", times(6, cpu(2))...)},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 2}`},
		},
		{
			"SPREAD shares nodes if it must, so it needs no more",
			opts{placementGroup("1", "SPREAD", times(6, cpu(2))...)},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 2}`},
		},
		{
			"STRICT_PACK is on one node",
			opts{busyWorker, placementGroup("1", "STRICT_PACK", cpu(1), cpu(2))},
			lines{"worker 2", `worker: needed for placement group with {"CPU": 3}`},
		},
		{
			"bundles of STRICT_PACK are rounded one by one, as Ray does",
			opts{placementGroup("1", "STRICT_PACK", times(40, cpu(0.1))...)},
			lines{"worker 1", `worker: needed for placement group with {"CPU": 4}`},
		},
		{
			"STRICT_PACK that does not fit on a node is infeasible",
			opts{placementGroup("1", "STRICT_PACK", times(5, cpu(1))...)},
			lines{
				"worker 0",
				`infeasible: placement group with {"CPU": 5} (STRICT_PACK): no group has nodes with 5 CPU (worker has 4)`,
			},
		},
		{
			"STRICT_SPREAD has a node for each bundle",
			opts{placementGroup("1", "STRICT_SPREAD", times(3, cpu(1))...)},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 1}`},
		},
		{
			"STRICT_SPREAD with different bundles, too",
			opts{placementGroup("1", "STRICT_SPREAD", cpu(2), cpu(1), cpu(1))},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 2} and placement group with {"CPU": 1}`},
		},
		{
			"two STRICT_SPREAD groups share nodes",
			opts{placementGroup("1", "STRICT_SPREAD", times(3, cpu(2))...), placementGroup("2", "STRICT_SPREAD", times(2, cpu(2))...)},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 2}`},
		},
		{
			"STRICT_SPREAD uses a node that is alive once",
			opts{worker(size(0, 2, 10)), busy("a", 3), busy("b", 3), placementGroup("1", "STRICT_SPREAD", times(3, cpu(1))...)},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 1}`},
		},
		{
			"STRICT_SPREAD is rescheduled on other nodes than those it has",
			opts{
				worker(size(0, 2, 10)), busy("a", 3, nodeLabel("_PG_1", "")), busy("b", 3, nodeLabel("_PG_2", "")),
				placementGroup("1", "STRICT_SPREAD", times(2, cpu(1))...),
			},
			lines{"worker 3", `worker: needed for placement group with {"CPU": 1}`},
		},
		{
			"nothing is added for a placement group that does not fit in full",
			opts{worker(size(0, 0, 2)), placementGroup("1", "STRICT_SPREAD", times(3, cpu(1))...)},
			lines{"worker 0", `worker: limits placement group with {"CPU": 1} x 3 (STRICT_SPREAD)`},
		},
		{
			"its room is left for others",
			opts{worker(size(0, 0, 2)), placementGroup("1", "STRICT_SPREAD", times(3, cpu(4))...), tasks(2, cpu(4))},
			lines{
				"worker 2", `worker: needed for {"CPU": 4}`,
				`worker: limits placement group with {"CPU": 4} x 3 (STRICT_SPREAD)`,
			},
		},
		{
			"idle nodes are removed although they are a part of what it needs",
			opts{
				worker(size(0, 1, 2)), idle("a", time.Hour), seenIdle("a"),
				placementGroup("1", "PACK", times(3, cpu(4))...),
			},
			lines{"worker 1", `worker: limits placement group with {"CPU": 4} x 3 (PACK)`, "worker: drain a"},
		},
		{
			"the larger placement group comes first",
			opts{worker(size(0, 0, 3)), placementGroup("1", "PACK", times(2, cpu(4))...), placementGroup("2", "PACK", times(3, cpu(4))...)},
			lines{
				"worker 3", `worker: needed for placement group with {"CPU": 4}`,
				`worker: limits placement group with {"CPU": 4} x 2 (PACK)`,
			},
		},
		{
			"if the larger one does not fit, the smaller one can",
			opts{worker(size(0, 0, 2)), placementGroup("1", "PACK", times(2, cpu(4))...), placementGroup("2", "PACK", times(3, cpu(4))...)},
			lines{
				"worker 2", `worker: needed for placement group with {"CPU": 4}`,
				`worker: limits placement group with {"CPU": 4} x 3 (PACK)`,
			},
		},
		{
			"placement groups come before tasks",
			opts{worker(size(0, 0, 2)), tasks(2, cpu(4)), placementGroup("1", "PACK", times(2, cpu(4))...)},
			lines{
				"worker 2", `worker: needed for placement group with {"CPU": 4}`,
				`worker: limits {"CPU": 4}`,
			},
		},
		{
			"tasks use what a placement group leaves of a node",
			opts{placementGroup("1", "STRICT_SPREAD", times(2, cpu(3))...), tasks(2, cpu(1))},
			lines{"worker 2", `worker: needed for placement group with {"CPU": 3}`},
		},
		{
			"tasks of several shapes use what it leaves of equal nodes",
			opts{
				placementGroup("1", "STRICT_SPREAD", times(3, cpu(1))...),
				tasks(3, cpu(1.5), labelIn("ray.io/node-group", "worker")), tasks(2, cpu(3)),
			},
			lines{"worker 4", `worker: needed for placement group with {"CPU": 1} and {"CPU": 3}`},
		},
		{
			"a placement group is placed on several groups of nodes",
			opts{
				addGroup("gpu", gcs.Resources{"CPU": 4, "GPU": 1}),
				placementGroup("1", "PACK", gcs.Resources{"GPU": 1}, gcs.Resources{"GPU": 1}, cpu(4), cpu(4), cpu(4)),
			},
			lines{
				"worker 1", `worker: needed for placement group with {"CPU": 4}`,
				"gpu 2", `gpu: needed for placement group with {"CPU": 4} and placement group with {"GPU": 1}`,
			},
		},
		{
			"a placement group with one bundle that fits nowhere is infeasible",
			opts{placementGroup("1", "PACK", cpu(1), gcs.Resources{"GPU": 1})},
			lines{
				"worker 0",
				`infeasible: placement group with {"CPU": 1} and {"GPU": 1} (PACK): no group has nodes with GPU`,
			},
		},
		{
			"STRICT_SPREAD over more nodes than there can be is infeasible",
			opts{worker(fixed(2)), placementGroup("1", "STRICT_SPREAD", times(3, cpu(1))...)},
			lines{
				"worker 2",
				`infeasible: placement group with {"CPU": 1} x 3 (STRICT_SPREAD): there are too few such nodes, and no autoscaled group can add one`,
			},
		},
		{
			"a placement group that fits on busy nodes waits for them",
			opts{worker(fixed(2)), busy("a", 0), busy("b", 0), placementGroup("1", "STRICT_SPREAD", times(2, cpu(1))...)},
			lines{"worker 2"},
		},
		{
			"empty placement groups are not demand",
			opts{placementGroup("1", "PACK"), placementGroup("2", "STRICT_SPREAD", cpu(1))},
			lines{"worker 1", `worker: needed for placement group with {"CPU": 1}`},
		},
		{
			"one of two equal placement groups fits",
			opts{worker(size(0, 0, 3)), placementGroup("1", "PACK", times(2, cpu(4))...), placementGroup("2", "PACK", times(2, cpu(4))...)},
			lines{
				"worker 2", `worker: needed for placement group with {"CPU": 4}`,
				`worker: limits placement group with {"CPU": 4} x 2 (PACK)`,
			},
		},
		{
			"of two equal placement groups, one has bundles on a node already",
			opts{
				worker(size(0, 2, 2)), busy("a", 4, nodeLabel("_PG_1", "")), busy("b", 4),
				placementGroup("1", "STRICT_SPREAD", times(2, cpu(4))...), placementGroup("2", "STRICT_SPREAD", times(2, cpu(4))...),
				tasks(2, cpu(4)),
			},
			lines{"worker 2", `worker: limits placement group with {"CPU": 4} x 2 (STRICT_SPREAD) and {"CPU": 4}`},
		},
	})
}

// busyWorker adds a node of the group "worker" with 1 and one with 2 CPUs left.
func busyWorker(in *Input) {
	worker(size(0, 1, 10))(in)
	busy("a", 2)(in)
}

func TestSelectors(t *testing.T) {
	east := addGroup("east", cpu(4), groupLabel("zone", "east"))
	west := addGroup("west", cpu(4), groupLabel("zone", "west"))
	runDecisionTests(t, []decisionTest{
		{
			"a selector selects a group",
			opts{east, west, tasks(1, cpu(1), labelIn("zone", "north", "west"))},
			lines{"worker 0", "east 0", "west 1", `west: needed for {"CPU": 1} on nodes with zone in (north, west)`},
		},
		{
			"a selector excludes a group, and a missing label is not excluded",
			opts{east, west, tasks(1, cpu(1), gcs.Selector{{Name: "zone", Values: []string{"west"}, Not: true}, {Name: "ray.io/node-group", Values: []string{"worker"}, Not: true}})},
			lines{"worker 0", "east 1", `east: needed for {"CPU": 1} on nodes with zone notin (west), ray.io/node-group notin (worker)`, "west 0"},
		},
		{
			"a group without the label is not excluded",
			opts{west, tasks(1, cpu(1), labelNotIn("zone", "west"))},
			lines{"worker 1", `worker: needed for {"CPU": 1} on nodes with zone notin (west)`, "west 0"},
		},
		{
			"the preferred alternative is chosen",
			opts{east, west, tasks(1, cpu(1), labelIn("zone", "west"), labelIn("zone", "east"))},
			lines{"worker 0", "east 0", "west 1", `west: needed for {"CPU": 1} on nodes with zone in (west) or zone in (east)`},
		},
		{
			"other alternatives take what is left",
			opts{
				east, addGroup("west", cpu(4), groupLabel("zone", "west"), size(0, 0, 1)),
				tasks(2, cpu(4), labelIn("zone", "west"), labelIn("zone", "east")),
			},
			lines{
				"worker 0", "east 1", `east: needed for {"CPU": 4} on nodes with zone in (west) or zone in (east)`,
				"west 1", `west: needed for {"CPU": 4} on nodes with zone in (west) or zone in (east)`,
			},
		},
		{
			"a node that is alive is preferred to a new one with better labels",
			opts{
				east, worker(size(0, 1, 10)), busy("a", 4, nodeLabel("zone", "west")),
				tasks(1, cpu(4), labelIn("zone", "east"), labelIn("zone", "west")),
			},
			lines{"worker 1", "east 0"},
		},
		{
			"pending nodes are preferred to new ones with better labels, and the next decision does not need more",
			opts{
				east, worker(size(0, 1, 10)), tasks(1, cpu(4), labelIn("zone", "east")),
				func(in *Input) {
					in.State.Gangs = append(in.State.Gangs, gcs.Gang{Requests: []gcs.Request{
						{Resources: cpu(4), Selectors: []gcs.Selector{labelIn("zone", "east"), labelNotIn("zone", "east")}},
					}})
				},
			},
			lines{"worker 1", "east 2", `east: needed for {"CPU": 4} on nodes with zone in (east)`},
		},
		{
			"among nodes that are alive the preferred one is used",
			opts{
				worker(size(0, 2, 10)), idle("a", time.Hour, nodeLabel("zone", "east")), idle("b", time.Hour, nodeLabel("zone", "west")),
				seenIdle("a", "b"), tasks(1, cpu(4), labelIn("zone", "east"), labelIn("zone", "west")),
			},
			lines{"worker 2", "worker: drain b"},
		},
		{
			"a task with a selector comes before larger tasks that fit anywhere",
			opts{worker(size(0, 0, 0)), addGroup("east", cpu(4), groupLabel("zone", "east"), size(0, 0, 1)), tasks(1, cpu(4)), tasks(1, cpu(1), labelIn("zone", "east"))},
			lines{
				"worker 0", `worker: limits {"CPU": 4}`,
				"east 1", `east: needed for {"CPU": 1} on nodes with zone in (east)`, `east: limits {"CPU": 4}`,
			},
		},
		{
			"labels of nodes count, not those of their group",
			opts{worker(size(0, 1, 1)), busy("a", 4), worker(groupLabel("zone", "east")), tasks(1, cpu(1), labelIn("zone", "east"))},
			lines{"worker 1", `worker: limits {"CPU": 1} on nodes with zone in (east)`},
		},
		{
			"a selector that no group meets is infeasible",
			opts{east, tasks(1, cpu(1), labelIn("zone", "north"))},
			lines{"worker 0", "east 0", `infeasible: {"CPU": 1} on nodes with zone in (north): no group has nodes with these labels`},
		},
		{
			"STRICT_PACK needs a node that all its selectors select",
			opts{
				east, addGroup("large", cpu(8), groupLabel("zone", "east"), groupLabel("disk", "large")),
				func(in *Input) {
					a := gcs.Label{Name: "_PG_1"}
					in.State.Gangs = append(in.State.Gangs, gcs.Gang{Details: "1:STRICT_PACK|PENDING", Requests: []gcs.Request{
						{Resources: cpu(1), Affinity: a, Selectors: []gcs.Selector{labelIn("zone", "east")}},
						{Resources: cpu(1), Affinity: a, Selectors: []gcs.Selector{labelIn("disk", "large")}},
						{Resources: cpu(1), Affinity: a, Selectors: []gcs.Selector{labelIn("zone", "east")}},
					}})
				},
			},
			lines{
				"worker 0", "east 0", "large 1",
				`large: needed for placement group with {"CPU": 3} on nodes with disk in (large) and zone in (east)`,
			},
		},
	})
}
