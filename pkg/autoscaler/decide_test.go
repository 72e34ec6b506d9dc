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
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

type (
	opts  = []inputOption
	lines = []string
)

func TestTasks(t *testing.T) {
	runDecisionTests(t, []decisionTest{
		{"nothing waits and nothing runs", nil, lines{"worker 0"}},
		{
			"tasks share a new node",
			opts{tasks(4, cpu(1))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`},
		},
		{
			"a task that does not fit on the first new node gets another",
			opts{tasks(5, cpu(1))},
			lines{"worker 2", `worker: needed for {"CPU": 1}`},
		},
		{
			"requests of one shape in several demands are added",
			opts{tasks(1, cpu(4)), tasks(2, cpu(4))},
			lines{"worker 3", `worker: needed for {"CPU": 4}`},
		},
		{
			"requests of several shapes share nodes",
			opts{tasks(2, cpu(1)), tasks(2, cpu(3))},
			lines{"worker 2", `worker: needed for {"CPU": 3} and {"CPU": 1}`},
		},
		{
			"ten tenths fit into one",
			opts{worker(func(g *Group) { g.Resources = cpu(1) }), tasks(10, cpu(0.1))},
			lines{"worker 1", `worker: needed for {"CPU": 0.1}`},
		},
		{
			"three thirds fit into one, as Ray rounds them",
			opts{worker(func(g *Group) { g.Resources = cpu(1) }), tasks(3, cpu(1.0/3))},
			lines{"worker 1", `worker: needed for {"CPU": 0.3333}`},
		},
		{
			"room on busy nodes is used first",
			opts{worker(size(0, 1, 10)), busy("a", 3), tasks(3, cpu(1))},
			lines{"worker 1"},
		},
		{
			"room that is too small is not",
			opts{worker(size(0, 1, 10)), busy("a", 1), tasks(1, cpu(2))},
			lines{"worker 2", `worker: needed for {"CPU": 2}`},
		},
		{
			"nodes that are pending are used before new ones",
			opts{worker(size(0, 2, 10)), tasks(9, cpu(1))},
			lines{"worker 3", `worker: needed for {"CPU": 1}`},
		},
		{
			"a draining node takes no tasks and is pending",
			opts{worker(size(0, 1, 10)), addNode("a", "worker", gcs.NodeDraining, cpu(4)), tasks(5, cpu(1))},
			lines{"worker 2", `worker: needed for {"CPU": 1}`},
		},
		{
			"a dead node takes no tasks",
			opts{worker(size(0, 1, 10)), addNode("a", "worker", gcs.NodeDead, cpu(4)), tasks(5, cpu(1))},
			lines{"worker 2", `worker: needed for {"CPU": 1}`},
		},
		{
			"a task without resources fits everywhere, first on the head",
			opts{worker(size(0, 1, 10)), idle("a", 2*time.Minute), seenIdle("a"), tasks(1000, nil)},
			lines{"worker 1", "worker: drain a"},
		},
		{
			"tasks without resources share a node with others",
			opts{tasks(4, cpu(1)), tasks(math.MaxInt64, cpu(0))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`},
		},
		{
			"room on the head is used",
			opts{addNode("b", "head", gcs.NodeIdle, cpu(2)), tasks(2, cpu(1))},
			lines{"worker 0"},
		},
		{
			"room on a node of an unknown group is used, but the node does not count",
			opts{worker(size(1, 1, 2)), addNode("b", "removed", gcs.NodeIdle, cpu(4)), tasks(3, cpu(4))},
			lines{"worker 2", `worker: needed for {"CPU": 4}`, "unknown nodes"},
		},
		{
			"nodes without a group are those of a group that is not autoscaled, as far as this lacks nodes",
			opts{
				staticGroup(2), addNode("b", "", gcs.NodeRunning, cpu(4), noneAvailable), addNode("c", "", gcs.NodeRunning, cpu(4), noneAvailable),
				tasks(2, cpu(4)),
			},
			lines{"worker 2", `worker: needed for {"CPU": 4}`, "static 2"},
		},
		{
			"others are of no group",
			opts{staticGroup(1), addNode("b", "", gcs.NodeRunning, cpu(4), noneAvailable), addNode("c", "", gcs.NodeRunning, cpu(4), noneAvailable)},
			lines{"worker 0", "static 1", "unknown nodes"},
		},
		{
			"a pending node of a group that is not autoscaled takes tasks",
			opts{staticGroup(2), addNode("b", "", gcs.NodeRunning, cpu(4), noneAvailable), tasks(1, cpu(4))},
			lines{"worker 0", "static 2"},
		},
		{
			"a request for the head's own resource waits for the head",
			opts{tasks(2, gcs.Resources{"node:__internal_head__": 1})},
			lines{"worker 0"},
		},
		{"demand without a positive count is none", opts{tasks(0, cpu(1)), tasks(-1, cpu(1))}, lines{"worker 0"}},
		{
			"memory is limited, too",
			opts{tasks(2, gcs.Resources{"CPU": 1, "memory": 5 << 30})},
			lines{"worker 2", `worker: needed for {"CPU": 1, "memory": 5Gi}`},
		},
		{
			"an enormous number of tasks is limited by the maximum only",
			opts{tasks(math.MaxInt64, cpu(0.0001)), tasks(math.MaxInt64, cpu(0.0002))},
			lines{"worker 10", `worker: needed for {"CPU": 0.0002}`, `worker: limits {"CPU": 0.0002} and {"CPU": 0.0001}`},
		},
	})
}

func TestGroups(t *testing.T) {
	gpu := addGroup("gpu", gcs.Resources{"CPU": 8, "GPU": 2})
	big := addGroup("big", gcs.Resources{"CPU": 16, "memory": 32 << 30})
	runDecisionTests(t, []decisionTest{
		{
			"a group without autoscaling takes tasks",
			opts{worker(fixed(2)), busy("a", 0), tasks(1, cpu(4))},
			lines{"worker 2"},
		},
		{
			"a group without autoscaling is not scaled",
			opts{worker(fixed(1)), busy("a", 0), tasks(1, cpu(4))},
			lines{"worker 1"},
		},
		{
			"tasks go to the group that they fill",
			opts{big, tasks(4, cpu(1))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`, "big 0"},
		},
		{
			"many tasks go to the larger nodes, and the rest to the smaller ones",
			opts{big, tasks(36, cpu(1))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`, "big 2", `big: needed for {"CPU": 1}`},
		},
		{
			"a large node is not added to be half empty",
			opts{big, tasks(8, cpu(1))},
			lines{"worker 2", `worker: needed for {"CPU": 1}`, "big 0"},
		},
		{
			"a large node is added to be almost full",
			opts{big, tasks(12, cpu(1))},
			lines{"worker 0", "big 1", `big: needed for {"CPU": 1}`},
		},
		{
			"a large task goes where it fits",
			opts{big, tasks(1, cpu(5))},
			lines{"worker 0", "big 1", `big: needed for {"CPU": 5}`},
		},
		{
			"small tasks go next to a large one",
			opts{big, tasks(1, cpu(12)), tasks(4, cpu(1))},
			lines{"worker 0", "big 1", `big: needed for {"CPU": 12} and {"CPU": 1}`},
		},
		{
			"the first of two equal groups is scaled",
			opts{addGroup("twin", gcs.Resources{"CPU": 4, "memory": 8 << 30}), tasks(1, cpu(1))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`, "twin 0"},
		},
		{
			"the second one is scaled when the first one is at its maximum",
			opts{worker(size(0, 0, 1)), addGroup("twin", gcs.Resources{"CPU": 4, "memory": 8 << 30}), tasks(3, cpu(4))},
			lines{"worker 1", `worker: needed for {"CPU": 4}`, "twin 2", `twin: needed for {"CPU": 4}`},
		},
		{
			"nodes with GPUs are not added for CPUs",
			opts{gpu, tasks(16, cpu(1))},
			lines{"worker 4", `worker: needed for {"CPU": 1}`, "gpu 0"},
		},
		{
			"unless there is no other room",
			opts{gpu, worker(size(0, 0, 1)), tasks(5, cpu(1))},
			lines{"worker 1", `worker: needed for {"CPU": 1}`, "gpu 1", `gpu: needed for {"CPU": 1}`},
		},
		{
			"idle nodes with GPUs are used last",
			opts{
				gpu, worker(size(0, 1, 10)), addGroup("gpu", gcs.Resources{"CPU": 4, "GPU": 2}, size(0, 1, 1)),
				addNode("a", "gpu", gcs.NodeIdle, gcs.Resources{"CPU": 4, "GPU": 2}, func(n *gcs.Node) { n.Idle = time.Hour }),
				idle("b", time.Second), seenIdle("a", "b"), tasks(1, cpu(4)),
			},
			lines{"worker 1", "gpu 1", "gpu: drain a"},
		},
		{
			"a group that meets more kinds of requests is preferred",
			opts{
				worker(func(g *Group) { g.Resources = gcs.Resources{"CPU": 4} }),
				addGroup("special", gcs.Resources{"CPU": 4, "special": 1}),
				tasks(3, cpu(1)), tasks(1, gcs.Resources{"special": 1}),
			},
			lines{"worker 0", "special 1", `special: needed for {"CPU": 1} and {"special": 1}`},
		},
		{
			"a group with all resources in use is preferred, even if they are used less",
			opts{addGroup("bare", cpu(8)), tasks(1, cpu(4))},
			lines{"worker 0", "bare 1", `bare: needed for {"CPU": 4}`},
		},
		{
			"a group with less that is not in use is preferred",
			opts{
				worker(func(g *Group) { g.Resources = gcs.Resources{"CPU": 4, "memory": 8 << 30, "special": 1} }),
				addGroup("plain", gcs.Resources{"CPU": 4, "memory": 8 << 30}), tasks(1, cpu(4)),
			},
			lines{"worker 0", "plain 1", `plain: needed for {"CPU": 4}`},
		},
		{
			"a group with unknown resources is not scaled up",
			opts{worker(func(g *Group) { g.Resources = nil }), big, tasks(1, cpu(1))},
			lines{"worker 0", "worker: unknown resources", "big 1", `big: needed for {"CPU": 1}`},
		},
		{
			"a group that is not autoscaled may have unknown resources",
			opts{worker(func(g *Group) { g.Resources, g.Autoscaled, g.Desired = nil, false, 2 }), tasks(1, cpu(1))},
			lines{"worker 2", `infeasible: {"CPU": 1}: no group has nodes with CPU`},
		},
		{
			"its pending nodes are not removed",
			opts{worker(func(g *Group) { g.Resources, g.Desired = nil, 3 }), surplusSince(time.Hour, 3)},
			lines{"worker 3", "worker: unknown resources"},
		},
	})
}

func TestLimits(t *testing.T) {
	runDecisionTests(t, []decisionTest{
		{"the minimum is met", opts{worker(size(2, 0, 10))}, lines{"worker 2", "worker: minReplicas"}},
		{"the maximum is met", opts{worker(size(2, 5, 3)), surplusSince(0, 1)}, lines{"worker 3", "worker: maxReplicas"}},
		{
			"the minimum takes tasks",
			opts{worker(size(2, 0, 10)), tasks(8, cpu(1))},
			lines{"worker 2", "worker: minReplicas"},
		},
		{
			"demand for more than the maximum is limited",
			opts{worker(size(0, 0, 2)), tasks(9, cpu(1))},
			lines{"worker 2", `worker: needed for {"CPU": 1}`, `worker: limits {"CPU": 1}`},
		},
		{
			"a lower maximum removes idle nodes first, which take no tasks",
			opts{
				worker(size(0, 3, 2)), busy("a", 0), idle("b", time.Second), idle("c", 2*time.Second),
				tasks(2, cpu(4)),
			},
			lines{"worker 2", "worker: maxReplicas", `worker: limits {"CPU": 4}`, "worker: excess c"},
		},
		{
			"a lower maximum removes busy nodes if it must, of which it names none",
			opts{worker(size(0, 3, 1)), busy("a", 0), busy("b", 0), idle("c", time.Second)},
			lines{"worker 1", "worker: maxReplicas", "worker: excess c"},
		},
		{
			"a lower maximum removes nodes of a Deployment that replaces Pods without a drain",
			opts{worker(size(0, 2, 1)), worker(rolling), busy("a", 0), idle("b", time.Second)},
			lines{"worker 1", "worker: maxReplicas"},
		},
		{
			"more nodes than desired take tasks as long as they are alive",
			opts{worker(size(0, 1, 10)), busy("a", 0), idle("b", time.Second), tasks(1, cpu(4))},
			lines{"worker 1"},
		},
		{
			"and are included in the size if that is not enough",
			opts{worker(size(0, 1, 10)), busy("a", 0), idle("b", time.Second), tasks(2, cpu(4))},
			lines{"worker 3", `worker: needed for {"CPU": 4}`},
		},
		{
			"but not in more than the maximum",
			opts{worker(size(0, 1, 2)), busy("a", 0), idle("b", time.Second), tasks(2, cpu(4))},
			lines{"worker 1", `worker: limits {"CPU": 4}`},
		},
		{
			"idle nodes above the maximum take no tasks until they are gone",
			opts{worker(size(0, 1, 1)), busy("a", 0), idle("b", time.Second), tasks(1, cpu(4))},
			lines{"worker 1", `worker: limits {"CPU": 4}`},
		},
		{
			"without a node that is alive only limits are met",
			opts{
				func(in *Input) { in.State.Nodes = nil }, worker(size(2, 1, 10)), surplusSince(time.Hour, 1),
				tasks(9, cpu(4)), tasks(1, cpu(99)),
			},
			lines{"worker 2", "worker: minReplicas"},
		},
		{
			"without a state only limits are met",
			opts{func(in *Input) { in.State = nil }, worker(size(0, 20, 10))},
			lines{"worker 10", "worker: maxReplicas"},
		},
	})
}

func TestRequestResources(t *testing.T) {
	runDecisionTests(t, []decisionTest{
		{
			"a size is met with new nodes",
			opts{requestResources(12, cpu(1))},
			lines{"worker 3", `worker: needed for request_resources of {"CPU": 1}`},
		},
		{
			"busy nodes count in full",
			opts{worker(size(0, 2, 10)), busy("a", 0), busy("b", 0), requestResources(8, cpu(1))},
			lines{"worker 2"},
		},
		{
			"the size is not added to the tasks that wait",
			opts{requestResources(8, cpu(1)), tasks(8, cpu(1))},
			lines{"worker 2", `worker: needed for request_resources of {"CPU": 1}`},
		},
		{
			"nodes that it needs are not removed, those that were idle for less time",
			opts{
				worker(size(0, 3, 10)), idle("a", 3*time.Minute), idle("b", time.Hour), idle("c", 2*time.Minute),
				seenIdle("a", "b", "c"), requestResources(8, cpu(1)),
			},
			lines{"worker 3", "worker: drain b"},
		},
		{
			"pending nodes that it needs are not removed",
			opts{worker(size(0, 3, 10)), surplusSince(time.Hour, 3), requestResources(5, cpu(1))},
			lines{"worker 2", "worker: not needed for idleTimeoutSeconds"},
		},
		{
			"as much as the maximum allows is met",
			opts{worker(size(0, 0, 2)), requestResources(100, cpu(1))},
			lines{"worker 2", `worker: needed for request_resources of {"CPU": 1}`, `worker: limits request_resources of {"CPU": 1}`},
		},
		{
			"a size that no node can have is infeasible, the rest is met",
			opts{requestResources(1, gcs.Resources{"GPU": 1}), requestResources(1, cpu(1))},
			lines{
				"worker 1", `worker: needed for request_resources of {"CPU": 1}`,
				`infeasible: request_resources of {"GPU": 1}: no group has nodes with GPU`,
			},
		},
		{
			"a size that only nodes that cannot be added have is infeasible",
			opts{requestResources(2, gcs.Resources{"node:__internal_head__": 1})},
			lines{
				"worker 0",
				`infeasible: request_resources of {"node:__internal_head__": 1}: no group has nodes with node:__internal_head__`,
			},
		},
		{
			"a group without autoscaling is too small",
			opts{worker(fixed(2)), requestResources(9, cpu(1))},
			lines{
				"worker 2",
				`infeasible: request_resources of {"CPU": 1}: there are too few such nodes, and no autoscaled group can add one`,
			},
		},
	})
}
