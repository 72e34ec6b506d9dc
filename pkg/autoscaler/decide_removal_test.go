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

	"github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

func TestIdleNodes(t *testing.T) {
	runDecisionTests(t, []decisionTest{
		{
			"an idle node is removed after the timeout",
			opts{worker(size(0, 2, 10)), busy("a", 0), idle("b", time.Minute), seenIdle("b")},
			lines{"worker 2", "worker: drain b"},
		},
		{
			"not before",
			opts{worker(size(0, 2, 10)), busy("a", 0), idle("b", time.Minute-time.Millisecond), seenIdle("b")},
			lines{"worker 2"},
		},
		{
			"a node must be idle in two polls",
			opts{worker(size(0, 2, 10)), idle("a", time.Hour), idle("b", 2*time.Hour), seenIdle("a")},
			lines{"worker 2", "worker: drain a"},
		},
		{
			"of the same session",
			opts{worker(size(0, 1, 10)), idle("a", time.Hour), seenIdle("a"), func(in *Input) { in.State.Session = "t" }},
			lines{"worker 1"},
		},
		{
			"the longest idle ones are removed, down to the minimum",
			opts{
				worker(size(1, 4, 10)), idle("a", 2*time.Minute), idle("b", 4*time.Minute), idle("c", 3*time.Minute), idle("d", time.Minute),
				seenIdle("a", "b", "c", "d"),
			},
			lines{"worker 4", "worker: drain b c a"},
		},
		{
			"nothing is removed at the minimum",
			opts{worker(size(2, 2, 10)), idle("a", time.Hour), idle("b", time.Hour), seenIdle("a", "b")},
			lines{"worker 2"},
		},
		{
			"a busy node is not removed, however long it says that it has been idle",
			opts{worker(size(0, 1, 10)), busy("a", 4, func(n *gcs.Node) { n.Idle = time.Hour }), seenIdle("a")},
			lines{"worker 1"},
		},
		{
			"a node that is needed is not removed, but another one is",
			opts{worker(size(0, 2, 10)), idle("a", time.Hour), idle("b", 2*time.Hour), seenIdle("a", "b"), tasks(1, cpu(1))},
			lines{"worker 2", "worker: drain b"},
		},
		{
			"a needed node counts for the minimum",
			opts{worker(size(1, 2, 10)), idle("a", time.Hour), idle("b", 2*time.Hour), seenIdle("a", "b"), tasks(1, cpu(1))},
			lines{"worker 2", "worker: drain b"},
		},
		{
			"nothing is removed while a Deployment replaces Pods",
			opts{worker(size(0, 1, 10)), worker(rolling), idle("a", time.Hour), seenIdle("a")},
			lines{"worker 1"},
		},
		{
			"nothing is removed while more nodes are alive than desired",
			opts{worker(size(0, 1, 10)), idle("a", time.Hour), idle("b", time.Hour), seenIdle("a", "b")},
			lines{"worker 1"},
		},
		{
			"nothing is removed while nodes are pending, which a ReplicaSet would delete first",
			opts{
				worker(size(0, 2, 10)), worker(func(g *Group) { g.Resources = cpu(8) }),
				idle("a", time.Hour), seenIdle("a"), tasks(1, cpu(8)),
			},
			lines{"worker 2"},
		},
		{
			"nodes of groups that are not autoscaled are not removed, nor is the head or an unknown node",
			opts{
				worker(fixed(1)), idle("a", time.Hour), addNode("b", "head", gcs.NodeIdle, cpu(1), idleFor(time.Hour)),
				addNode("c", "removed", gcs.NodeIdle, cpu(1), idleFor(time.Hour)), seenIdle("a", "b", "c"),
			},
			lines{"worker 1", "unknown nodes"},
		},
		{
			"the same node is not removed twice",
			opts{worker(size(0, 1, 10)), idle("a", time.Hour), idle("a", time.Hour), seenIdle("a")},
			lines{"worker 1", "worker: drain a"},
		},
	})
}

// idleFor sets for how long a node has been idle.
func idleFor(d time.Duration) func(*gcs.Node) {
	return func(n *gcs.Node) { n.Idle = d }
}

func TestSurplus(t *testing.T) {
	removed := "worker: not needed for idleTimeoutSeconds"
	runDecisionTests(t, []decisionTest{
		{"pending nodes that nothing needs wait for the timeout", opts{worker(size(0, 3, 10))}, lines{"worker 3"}},
		{
			"and are removed then",
			opts{worker(size(0, 3, 10)), surplusSince(time.Minute, 3)},
			lines{"worker 0", removed},
		},
		{
			"not before",
			opts{worker(size(0, 3, 10)), surplusSince(50*time.Second, 3)},
			lines{"worker 3"},
		},
		{
			"a short timeout does not remove what may be starting",
			opts{worker(size(0, 3, 10)), worker(timeout(time.Second)), surplusSince(29*time.Second, 3)},
			lines{"worker 3"},
		},
		{
			"unless it takes long to start",
			opts{worker(size(0, 3, 10)), worker(timeout(time.Second)), surplusSince(30*time.Second, 3)},
			lines{"worker 0", removed},
		},
		{
			"the minimum remains",
			opts{worker(size(2, 3, 10)), surplusSince(time.Minute, 3)},
			lines{"worker 2", removed},
		},
		{
			"those that became surplus later are removed later",
			opts{worker(size(0, 5, 10)), surplusSince(time.Minute, 2), surplusSince(20*time.Second, 5)},
			lines{"worker 3", removed},
		},
		{
			"those that became surplus earlier are not removed twice",
			opts{worker(size(0, 9, 10)), surplusSince(2*time.Hour, 2), surplusSince(time.Hour, 5)},
			lines{"worker 4", removed},
		},
		{
			"pending nodes that were needed meanwhile are not removed",
			opts{worker(size(0, 5, 10)), surplusSince(time.Minute, 2)},
			lines{"worker 3", removed},
		},
		{
			"pending nodes that are needed are not surplus",
			opts{worker(size(0, 5, 10)), surplusSince(time.Minute, 5), tasks(4, cpu(4))},
			lines{"worker 4", removed},
		},
		{
			"nodes that are alive are not surplus",
			opts{worker(size(0, 3, 10)), busy("a", 0), idle("b", time.Second), surplusSince(time.Minute, 3)},
			lines{"worker 2", removed},
		},
		{
			"surplus and idle nodes are removed together",
			opts{worker(size(0, 3, 10)), busy("a", 0), idle("b", time.Hour), seenIdle("b"), surplusSince(time.Minute, 1)},
			lines{"worker 2", removed, "worker: drain b"},
		},
		{
			"a session that starts anew forgets the surplus",
			opts{worker(size(0, 3, 10)), surplusSince(time.Hour, 3), func(in *Input) { in.State.Session = "t" }},
			lines{"worker 3"},
		},
		{
			"while a Deployment replaces Pods, no pending node is removed",
			opts{worker(size(0, 3, 10)), worker(rolling), surplusSince(time.Hour, 3)},
			lines{"worker 3"},
		},
		{
			"a node of an unknown group may be one of those that count as pending",
			opts{worker(size(0, 3, 10)), addNode("a", "other", gcs.NodeRunning, cpu(4)), surplusSince(time.Hour, 3)},
			lines{"worker 3", "unknown nodes"},
		},
		{
			"the maximum is the reason if it is lowered at the same time",
			opts{worker(size(0, 3, 2)), surplusSince(time.Hour, 1)},
			lines{"worker 1", "worker: maxReplicas"},
		},
		{
			"a clock that is set back makes the surplus wait for the timeout at most",
			opts{worker(size(0, 3, 10)), surplusSince(-time.Hour, 1), surplusSince(-2*time.Hour, 3)},
			lines{"worker 3"},
		},
	})
}

func TestMemory(t *testing.T) {
	in := newInput(worker(size(0, 6, 10)), busy("a", 4), idle("c", time.Second), idle("b", time.Second),
		surplusSince(50*time.Second, 2), surplusSince(10*time.Second, 7))
	decide := func(wait time.Duration, want Memory) *Decision {
		t.Helper()
		in.Now = in.Now.Add(wait)
		d := Decide(in)
		if diff := cmp.Diff(want, d.Memory); diff != "" {
			t.Errorf("memory (-want +got):\n%s", diff)
		}
		in.Memory = d.Memory
		in.Groups[0].Desired = d.Groups[0].Replicas
		return d
	}
	start := in.Now
	idle := []string{"b", "c"}
	decide(0, Memory{"s", idle, map[string][]Surplus{"worker": {{start.Add(-50 * time.Second), 2}, {start.Add(-10 * time.Second), 3}}}})
	d := decide(10*time.Second, Memory{"s", idle, map[string][]Surplus{"worker": {{start.Add(-10 * time.Second), 1}}}})
	if got := &d.Groups[0]; got.Replicas != 4 || got.Surplus != 2 {
		t.Errorf("got %d replicas and a surplus of %d, want 4 and 2", got.Replicas, got.Surplus)
	}
	decide(0, Memory{"s", idle, map[string][]Surplus{"worker": {{start.Add(-10 * time.Second), 1}}}})

	tasks(1, cpu(4))(in)
	in.State.Nodes[1].Available = nil
	decide(time.Second, Memory{"s", idle, map[string][]Surplus{"worker": {{start.Add(-10 * time.Second), 1}}}})
	tasks(2, cpu(4))(in)
	decide(time.Second, Memory{"s", idle, map[string][]Surplus{}})
	in.State.Tasks = nil
	rolling(&in.Groups[0])
	now := in.Now.Add(time.Second)
	decide(time.Second, Memory{"s", idle, map[string][]Surplus{"worker": {{now, 1}}}})
	decide(time.Hour, Memory{"s", idle, map[string][]Surplus{"worker": {{now, 1}}}})
	in.State.Nodes = nil
	decide(time.Second, Memory{})
}
