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

package gcs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded returns a message of Ray in testdata.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// decodeRecorded decodes a reply in testdata.
func decodeRecorded(t testing.TB, name string) *ClusterState {
	t.Helper()
	state, err := decodeState(recorded(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return state
}

const (
	memory      = "memory"
	objectStore = "object_store_memory"
	address     = "node:192.0.2.2"
	headMark    = "node:__internal_head__"
)

var (
	headTotal   = Resources{"CPU": 1, memory: 5e8, address: 1, headMark: 1, objectStore: 8e7}
	workerTotal = Resources{"CPU": 2, memory: 4e8, address: 1, objectStore: 8e7}
)

// without returns resources without one of them.
func without(resources Resources, name string) Resources {
	rest := Resources{}
	for other, amount := range resources {
		if other != name {
			rest[other] = amount
		}
	}
	return rest
}

// tasks returns a demand for resources.
func tasks(count int64, resources Resources, selectors ...Selector) Demand {
	return Demand{Request: Request{Resources: resources, Selectors: selectors}, Count: count}
}

// nodesByGroup returns the nodes without their IDs, which differ between recordings.
func nodesByGroup(state *ClusterState) map[string]Node {
	nodes := map[string]Node{}
	for _, node := range state.Nodes {
		if len(node.ID) != 28 {
			panic("ID with an unexpected length")
		}
		node.ID = ""
		delete(node.Labels, "ray.io/node-id")
		nodes[node.Group] = node
	}
	return nodes
}

func TestDecodeRecordedDemand(t *testing.T) {
	for _, version := range []string{"2.10.0", "2.60.0"} {
		t.Run(version, func(t *testing.T) {
			state := decodeRecorded(t, "ray-"+version+"-demand")
			if !strings.HasPrefix(state.Session, "session_2026-11-30_") {
				t.Errorf("session %q", state.Session)
			}
			newer := version == "2.60.0"
			head := Node{
				Instance: "head-0", Group: "head", Status: NodeRunning, Total: headTotal,
				Available: without(headTotal, "CPU"),
			}
			worker := Node{
				Instance: "small-1", Group: "small", Status: NodeRunning, Total: workerTotal,
				Available: without(workerTotal, "CPU"),
			}
			want := []Demand{
				tasks(9, Resources{"CPU": 1}),
				tasks(2, Resources{"CPU": 3, memory: 1 << 30}),
				tasks(1, Resources{"CPU": 4, "TPU": 2}),
			}
			if newer {
				head.Labels = map[string]string{"ray.io/node-group": "head"}
				worker.Labels = map[string]string{"ray.io/node-group": "small", "ray.io/foo": "bar", "zone": "a"}
				want = append(want, tasks(1, Resources{"CPU": 1},
					Selector{{Name: "zone", Values: []string{"b", "c"}, Not: true}, {Name: "ray.io/foo", Values: []string{"qux"}}}),
					tasks(1, Resources{"CPU": 1}, Selector{{Name: "gpu", Values: []string{"h100"}}},
						Selector{{Name: "gpu", Values: []string{"a100"}}}, nil))
			}
			if diff := cmp.Diff(map[string]Node{"head": head, "small": worker}, nodesByGroup(state)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(byRequest(want), byRequest(state.Tasks)); diff != "" {
				t.Error(diff)
			}
			constraint := []Demand{tasks(5, Resources{"CPU": 1}), tasks(2, Resources{"CPU": 3, "GPU": 1})}
			if diff := cmp.Diff(constraint, state.Constraint); diff != "" {
				t.Error(diff)
			}
			checkGangs(t, state.Gangs, newer)
		})
	}
}

// byRequest returns demands by their request, since Ray has them in no order.
func byRequest(demands []Demand) map[string]Demand {
	result := map[string]Demand{}
	for _, demand := range demands {
		var m message
		encodeRequest(&m, demand.Request)
		result[string(m)] = demand
	}
	return result
}

// checkGangs checks the placement groups with three bundles of 2 CPUs for each strategy, and the others.
func checkGangs(t *testing.T, gangs []Gang, newer bool) {
	t.Helper()
	strategies := map[string]int{}
	for _, gang := range gangs {
		id, strategy, _ := strings.Cut(strings.TrimSuffix(gang.Details, "|PENDING"), ":")
		label := Label{Name: "_PG_" + id}
		want := Request{Resources: Resources{"CPU": 2}}
		switch strategy {
		case "STRICT_SPREAD":
			want.AntiAffinity = label
		case "STRICT_PACK":
			want.Affinity = label
		}
		requests := []Request{want, want, want}
		switch len(gang.Requests) {
		case 1:
			requests = []Request{{Resources: Resources{"CPU": 0.001}}}
		case 2:
			one := Request{Resources: Resources{"CPU": 1}, AntiAffinity: label}
			other := one
			one.Selectors = []Selector{{{Name: "gpu", Values: []string{"h100"}}}}
			other.Selectors = []Selector{{{Name: "gpu", Values: []string{"a", "b"}}}}
			requests = []Request{one, other}
			slices.Sort(gang.Requests[1].Selectors[0][0].Values) // Ray has a set
		}
		if diff := cmp.Diff(requests, gang.Requests); diff != "" {
			t.Errorf("%s: %s", gang.Details, diff)
		}
		strategies[strategy]++
	}
	want := map[string]int{"PACK": 2, "SPREAD": 1, "STRICT_PACK": 1, "STRICT_SPREAD": 1}
	if newer {
		want["STRICT_SPREAD"]++
	}
	if diff := cmp.Diff(want, strategies); diff != "" {
		t.Error(diff)
	}
}

// TestDecodeRecordedPlacement has a placement group with a bundle on each node, in which two tasks wait.
func TestDecodeRecordedPlacement(t *testing.T) {
	state := decodeRecorded(t, "ray-2.60.0-placed")
	if len(state.Tasks) != 0 || len(state.Gangs) != 0 {
		t.Errorf("tasks %v and placement groups %v, want none", state.Tasks, state.Gangs)
	}
	const group = "_PG_0895b260e648061935cc3399f13603000000"
	nodes := nodesByGroup(state)
	for name, want := range map[string]Node{
		"head":  {Total: headTotal, Available: without(headTotal, "CPU")},
		"small": {Total: workerTotal, Available: Resources{"CPU": 1, memory: 4e8, address: 1, objectStore: 8e7}},
	} {
		node := nodes[name]
		if diff := cmp.Diff(want, Node{Total: node.Total, Available: node.Available}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if _, ok := node.Labels[group]; !ok {
			t.Errorf("%s: labels %v without %s", name, node.Labels, group)
		}
	}
}

func TestDecodeRecordedIdle(t *testing.T) {
	for _, version := range []string{"2.10.0", "2.60.0"} {
		idle, dead := decodeRecorded(t, "ray-"+version+"-idle"), decodeRecorded(t, "ray-"+version+"-dead")
		for name, node := range nodesByGroup(idle) {
			if node.Status != NodeIdle || node.Idle < 10*time.Second || node.Idle > 13*time.Second {
				t.Errorf("%s: %s has status %d and is idle for %v", version, name, node.Status, node.Idle)
			}
		}
		if len(idle.Nodes) != 2 || len(dead.Nodes) != 1 || dead.Nodes[0].Group != "head" {
			t.Errorf("%s: nodes %v, then %v", version, idle.Nodes, dead.Nodes)
		}
		if idle.Session == "" || idle.Session != dead.Session {
			t.Errorf("%s: session %q, then %q", version, idle.Session, dead.Session)
		}
	}
}

// TestDecodeGenerated has all fields, also those that are rare.
func TestDecodeGenerated(t *testing.T) {
	got := decodeRecorded(t, "ray-2.60.0-generated")
	want := &ClusterState{
		Session: "s",
		Nodes: []Node{{
			ID: "\x01", Instance: "i", Group: "g", Status: NodeDraining, Total: Resources{"CPU": 2},
			Available: Resources{"CPU": 1.5}, Labels: map[string]string{"_PG_x": "", "zone": "a"}, Idle: 1500 * time.Millisecond,
		}},
		Tasks: []Demand{tasks(5, Resources{"CPU": 1}, Selector{{Name: "a", Values: []string{"b"}, Not: true}}, nil)},
		Gangs: []Gang{{Details: "d:PACK|PENDING", Requests: []Request{{
			Resources: Resources{"CPU": 1}, Selectors: []Selector{{{Name: "a", Values: []string{"b"}}}},
		}}}},
		Constraint: []Demand{tasks(3, Resources{"CPU": 1})},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeDrain(t *testing.T) {
	accepted, rejection, err := decodeDrain(recorded(t, "ray-2.60.0-drain-rejected"))
	if accepted || err != nil || rejection != "The node to be idle terminated is no longer idle." {
		t.Error(accepted, rejection, err)
	}
	accepted, rejection, err = decodeDrain([]byte{1 << 3, 1, 2<<3 | 2, 6, 'a', '\n', 0, '\xff', '\t', 'b'})
	if !accepted || err != nil || rejection != "a b" {
		t.Errorf("%v %q %v", accepted, rejection, err)
	}
	if _, _, err := decodeDrain([]byte{1 << 3}); err == nil {
		t.Error("no error for a malformed reply")
	}
}
