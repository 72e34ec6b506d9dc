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
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// decisionTime is the time of decisions in tests.
var decisionTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// inputOption changes the input of a decision.
type inputOption func(*Input)

// newInput returns the input for a cluster with a head without CPUs, and a group "worker" without nodes: 0 to 10 nodes
// with 4 CPUs each.
func newInput(options ...inputOption) *Input {
	in := &Input{
		State: &gcs.ClusterState{Session: "s"},
		Now:   decisionTime,
	}
	addNode("head", "head", gcs.NodeRunning, gcs.Resources{"node:__internal_head__": 1, "memory": 1 << 30})(in)
	addGroup("worker", gcs.Resources{"CPU": 4, "memory": 8 << 30})(in)
	for _, o := range options {
		o(in)
	}
	return in
}

// cpu returns a number of CPUs.
func cpu(n float64) gcs.Resources { return gcs.Resources{"CPU": n} }

// addGroup adds a group of 0 to 10 nodes without nodes, or replaces the group with this name.
func addGroup(name string, resources gcs.Resources, options ...func(*Group)) inputOption {
	return func(in *Input) {
		g := Group{
			Name: name, Autoscaled: true, Max: 10, IdleTimeout: time.Minute, Resources: resources,
			Labels: map[string]string{"ray.io/node-group": name},
		}
		for _, o := range options {
			o(&g)
		}
		if i := slices.IndexFunc(in.Groups, func(other Group) bool { return other.Name == name }); i >= 0 {
			in.Groups[i] = g
		} else {
			in.Groups = append(in.Groups, g)
		}
	}
}

// worker changes the group "worker".
func worker(change func(*Group)) inputOption {
	return func(in *Input) { change(&in.Groups[0]) }
}

// size sets the limits and the desired number of nodes of a group.
func size(minimum, desired, maximum int32) func(*Group) {
	return func(g *Group) { g.Min, g.Desired, g.Max = minimum, desired, maximum }
}

// timeout sets the idle timeout of a group.
func timeout(d time.Duration) func(*Group) {
	return func(g *Group) { g.IdleTimeout = d }
}

// fixed is the number of nodes of a group that is not autoscaled.
func fixed(desired int32) func(*Group) {
	return func(g *Group) { g.Autoscaled, g.Min, g.Max, g.Desired = false, 0, 0, desired }
}

// groupLabel sets a label of a group's nodes.
func groupLabel(name, value string) func(*Group) {
	return func(g *Group) { g.Labels[name] = value }
}

func rolling(g *Group) { g.Rolling = true }

// addNode adds a node on which all resources are available.
func addNode(id, group string, status gcs.NodeStatus, total gcs.Resources, options ...func(*gcs.Node)) inputOption {
	return func(in *Input) {
		n := gcs.Node{
			ID: id, Instance: "pod-" + id, Group: group, Status: status, Total: total, Available: total,
			Labels: map[string]string{"ray.io/node-group": group},
		}
		for _, o := range options {
			o(&n)
		}
		in.State.Nodes = append(in.State.Nodes, n)
	}
}

// busy adds a node of the group "worker" with a number of CPUs left.
func busy(id string, available float64, options ...func(*gcs.Node)) inputOption {
	return addNode(id, "worker", gcs.NodeRunning, cpu(4),
		append([]func(*gcs.Node){func(n *gcs.Node) { n.Available = cpu(available) }}, options...)...)
}

// idle adds a node of the group "worker" that has been idle for some time.
func idle(id string, d time.Duration, options ...func(*gcs.Node)) inputOption {
	return addNode(id, "worker", gcs.NodeIdle, cpu(4), append([]func(*gcs.Node){func(n *gcs.Node) { n.Idle = d }}, options...)...)
}

// noneAvailable makes a node fully used.
func noneAvailable(n *gcs.Node) { n.Available = cpu(0) }

// staticGroup adds the group "static", which is not autoscaled, with a number of nodes.
func staticGroup(desired int32) inputOption {
	return func(in *Input) {
		in.Groups = append(in.Groups, Group{Name: "static", Desired: desired, Resources: cpu(4)})
	}
}

// nodeLabel sets a label of a node.
func nodeLabel(name, value string) func(*gcs.Node) {
	return func(n *gcs.Node) { n.Labels[name] = value }
}

// tasks adds tasks that wait.
func tasks(count int64, resources gcs.Resources, selectors ...gcs.Selector) inputOption {
	return func(in *Input) {
		in.State.Tasks = append(in.State.Tasks, gcs.Demand{Request: gcs.Request{Resources: resources, Selectors: selectors}, Count: count})
	}
}

// requestResources adds what a user asks for with request_resources.
func requestResources(count int64, resources gcs.Resources) inputOption {
	return func(in *Input) {
		in.State.Constraint = append(in.State.Constraint, gcs.Demand{Request: gcs.Request{Resources: resources}, Count: count})
	}
}

// labelIn and labelNotIn return selectors with one term.
func labelIn(name string, values ...string) gcs.Selector {
	return gcs.Selector{{Name: name, Values: values}}
}

func labelNotIn(name string, values ...string) gcs.Selector {
	return gcs.Selector{{Name: name, Values: values, Not: true}}
}

// placementGroup adds a placement group as the GCS reports it.
func placementGroup(id, strategy string, bundles ...gcs.Resources) inputOption {
	return func(in *Input) {
		gang := gcs.Gang{Details: id + ":" + strategy + "|PENDING"}
		for _, resources := range bundles {
			request := gcs.Request{Resources: resources}
			switch label := (gcs.Label{Name: "_PG_" + id}); strategy {
			case "STRICT_PACK":
				request.Affinity = label
			case "STRICT_SPREAD":
				request.AntiAffinity = label
			}
			gang.Requests = append(gang.Requests, request)
		}
		in.State.Gangs = append(in.State.Gangs, gang)
	}
}

// times returns a number of equal bundles.
func times(n int, resources gcs.Resources) []gcs.Resources {
	return slices.Repeat([]gcs.Resources{resources}, n)
}

// seenIdle sets the nodes that were idle in the previous decision.
func seenIdle(ids ...string) inputOption {
	return func(in *Input) {
		in.Memory.Session = in.State.Session
		in.Memory.Idle = slices.Sorted(slices.Values(ids))
	}
}

// surplusSince remembers that a number of nodes of the group "worker" have been surplus for some time.
func surplusSince(d time.Duration, count int32) inputOption {
	return func(in *Input) {
		in.Memory.Session = in.State.Session
		if in.Memory.Surplus == nil {
			in.Memory.Surplus = map[string][]Surplus{}
		}
		in.Memory.Surplus["worker"] = append(in.Memory.Surplus["worker"], Surplus{in.Now.Add(-d), count})
	}
}

// describe returns a decision in lines.
func describe(d *Decision) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for i := range d.Groups {
		g := &d.Groups[i]
		add("%s %d", g.Name, g.Replicas)
		for _, part := range []struct{ name, text string }{
			{"", g.Reason}, {"limits ", g.Limited}, {"drain ", ids(g.Drain)}, {"excess ", ids(g.Excess)},
		} {
			if part.text != "" {
				add("%s: %s%s", g.Name, part.name, part.text)
			}
		}
		if g.Unknown {
			add("%s: unknown resources", g.Name)
		}
	}
	if d.Infeasible.Message != "" {
		add("infeasible: %s", d.Infeasible.Message)
	}
	if d.UnknownNodes {
		add("unknown nodes")
	}
	return lines
}

func ids(nodes []gcs.Node) string {
	var list []string
	for i := range nodes {
		list = append(list, nodes[i].ID)
	}
	return strings.Join(list, " ")
}

// decisionTest is a cluster, and the lines of the decision for it.
type decisionTest struct {
	name    string
	options []inputOption
	want    []string
}

func runDecisionTests(t *testing.T, tests []decisionTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, describe(Decide(newInput(test.options...)))); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}
