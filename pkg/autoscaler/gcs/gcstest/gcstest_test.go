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

package gcstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// start starts a server on any port, with a client.
func start(t testing.TB) (server *Server, client *gcs.Client, target func(ip string) gcs.Target) {
	t.Helper()
	server, err := Start("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	client = gcs.New()
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	port := server.Address()[strings.LastIndex(server.Address(), ":"):]
	return server, client, func(ip string) gcs.Target { return gcs.Target{Address: ip + port} }
}

// fullState has each field of a state.
func fullState() gcs.ClusterState {
	label := func(name string) gcs.Label { return gcs.Label{Name: name, Value: "v"} }
	return gcs.ClusterState{
		Session: "session_1",
		Nodes: []gcs.Node{
			{
				ID: "\x00\xff1", Instance: "x-head-1", Group: "head", Status: gcs.NodeRunning,
				Total: gcs.Resources{"CPU": 2, "memory": 1 << 30}, Available: gcs.Resources{"CPU": 0.5},
				Labels: map[string]string{"_PG_1": "", "zone": "a"},
			},
			{ID: "2", Instance: "x-worker-1", Group: "worker", Status: gcs.NodeIdle, Idle: time.Minute},
			{ID: "3", Instance: "x-worker-2", Group: "worker", Status: gcs.NodeDraining},
		},
		Tasks: []gcs.Demand{
			{Count: 3, Request: gcs.Request{Resources: gcs.Resources{"CPU": 1}}},
			{Count: 1, Request: gcs.Request{Selectors: []gcs.Selector{
				{{Name: "a", Values: []string{"b", "c"}}, {Name: "d", Values: []string{""}, Not: true}}, nil,
			}}},
		},
		Gangs: []gcs.Gang{
			{Details: "1:STRICT_SPREAD|PENDING", Requests: []gcs.Request{
				{Resources: gcs.Resources{"GPU": 1}, AntiAffinity: label("_PG_1")},
				{Resources: gcs.Resources{"GPU": 2}, AntiAffinity: label("_PG_1")},
			}},
			{Details: "2:STRICT_PACK|PENDING", Requests: []gcs.Request{{Resources: gcs.Resources{"GPU": 1}, Affinity: label("_PG_2")}}},
		},
		Constraint: []gcs.Demand{{Count: 5, Request: gcs.Request{Resources: gcs.Resources{"CPU": 1, "GPU": 1}}}},
	}
}

// TestState checks that the client decodes the state that a test sets.
func TestState(t *testing.T) {
	server, client, target := start(t)
	want := fullState()
	server.Cluster("127.0.0.1").Set(want)
	server.Cluster("127.1.2.3").Set(gcs.ClusterState{Session: "other"})

	got, err := client.ClusterState(t.Context(), target("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if idle := got.Nodes[1].Idle; idle < time.Minute || idle > 2*time.Minute {
		t.Errorf("idle for %v", idle)
	}
	got.Nodes[1].Idle = time.Minute
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := client.ClusterState(t.Context(), target("127.1.2.3")); err != nil || got.Session != "other" {
		t.Error(got, err)
	}
	if _, err := client.ClusterState(t.Context(), target("127.1.2.4")); !errors.Is(err, gcs.ErrUnreachable) {
		t.Error(err)
	}
	server.Remove("127.1.2.3")
	if _, err := client.ClusterState(t.Context(), target("127.1.2.3")); !errors.Is(err, gcs.ErrUnreachable) {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"GetClusterResourceState": 1}, server.Calls()); diff != "" {
		t.Error(diff)
	}
}

// TestReports checks that the server decodes the requests of the client.
func TestReports(t *testing.T) {
	server, client, target := start(t)
	cluster := server.Cluster("127.0.0.1")
	state := fullState()
	at := time.Unix(1700000000, 0)
	report := &gcs.AutoscalingState{
		Version:    5,
		Requested:  []gcs.InstanceRequest{{Group: "worker", Count: 3, Since: at}},
		Pending:    []gcs.PendingInstance{{Group: "worker", Instance: "x-worker-3", Address: "10.0.0.1", Details: "pending"}},
		Failed:     []gcs.FailedRequest{{Group: "gpu", Count: 1, Reason: "quota", Started: at, Failed: at.Add(time.Second)}},
		Infeasible: []gcs.Request{state.Tasks[1].Request}, InfeasibleGangs: state.Gangs, InfeasibleConstraint: state.Constraint,
	}
	config := &gcs.ClusterConfig{
		Groups: []gcs.GroupConfig{{Name: "worker", Resources: map[string]uint64{"CPU": 2}, Min: 1, Max: -1}},
		Min:    map[string]uint64{"CPU": 2}, Max: map[string]uint64{"CPU": 20, "memory": 1 << 40},
	}
	for _, version := range []int64{5, 4} { // Ray ignores the second one.
		next := *report
		next.Version = version
		if err := client.ReportState(t.Context(), target("127.0.0.1"), &next); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.ReportConfig(t.Context(), target("127.0.0.1"), config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, cluster.Report()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(config, cluster.Config()); diff != "" {
		t.Error(diff)
	}
	cluster.Unimplement("ReportClusterConfig")
	if err := client.ReportConfig(t.Context(), target("127.0.0.1"), config); !errors.Is(err, gcs.ErrUnimplemented) {
		t.Error(err)
	}
	if v := cluster.Violations(); len(v) > 0 {
		t.Error(v)
	}
	if diff := cmp.Diff(map[string]int{"ReportAutoscalingState": 2, "ReportClusterConfig": 2}, cluster.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestDrain(t *testing.T) {
	server, client, target := start(t)
	cluster := server.Cluster("127.0.0.1")
	cluster.Set(fullState())
	drain := func(id string) (bool, string) {
		accepted, rejection, err := client.DrainNode(t.Context(), target("127.0.0.1"), id, "message")
		if err != nil {
			t.Fatal(err)
		}
		return accepted, rejection
	}
	if accepted, rejection := drain("\x00\xff1"); accepted || rejection != "The node to be idle terminated is no longer idle." {
		t.Error(accepted, rejection)
	}
	if accepted, _ := drain("2"); !accepted {
		t.Error("rejected an idle node")
	}
	if accepted, _ := drain("2"); !accepted {
		t.Error("rejected a node that is gone")
	}
	cluster.OnDrain(func(node gcs.Node, _ Drain) (bool, string) { return node.Group == "worker", "no" })
	if accepted, _ := drain("3"); !accepted {
		t.Error("rejected in spite of OnDrain")
	}
	want := []Drain{
		{NodeID: "\x00\xff1", Message: "message", Reason: 1},
		{NodeID: "2", Message: "message", Reason: 1, Accepted: true},
		{NodeID: "2", Message: "message", Reason: 1, Accepted: true},
		{NodeID: "3", Message: "message", Reason: 1, Accepted: true},
	}
	if diff := cmp.Diff(want, cluster.Drains()); diff != "" {
		t.Error(diff)
	}
	if nodes := cluster.State().Nodes; len(nodes) != 1 || nodes[0].Group != "head" {
		t.Errorf("nodes %v", nodes)
	}
}

// TestIdleTime checks that idle times grow, and start anew when a node was busy.
func TestIdleTime(t *testing.T) {
	server, _, _ := start(t)
	cluster := server.Cluster("127.0.0.1")
	cluster.Set(fullState())
	time.Sleep(10 * time.Millisecond)
	set := func(status gcs.NodeStatus, idle time.Duration) {
		cluster.Update(func(s *gcs.ClusterState) {
			if status == gcs.NodeRunning && s.Nodes[1].Idle < time.Minute+10*time.Millisecond {
				t.Errorf("idle for %v", s.Nodes[1].Idle)
			}
			s.Nodes[1].Status, s.Nodes[1].Idle = status, idle
		})
	}
	set(gcs.NodeRunning, 0)
	if idle := cluster.State().Nodes[1].Idle; idle != 0 {
		t.Errorf("idle for %v", idle)
	}
	set(gcs.NodeIdle, 0)
	if idle := cluster.State().Nodes[1].Idle; idle <= 0 || idle > time.Minute {
		t.Errorf("idle for %v", idle)
	}
}

func TestBehaviors(t *testing.T) {
	server, client, target := start(t)
	cluster := server.Cluster("127.0.0.1")
	cluster.RequireToken("secret")
	withToken := target("127.0.0.1")
	if _, err := client.ClusterState(t.Context(), withToken); !errors.Is(err, gcs.ErrUnauthenticated) {
		t.Error(err)
	}
	withToken.Token = "secret"
	for _, test := range []struct {
		set  func()
		want error
	}{
		{func() {}, nil},
		{func() { cluster.Misbehave(Hang) }, gcs.ErrUnreachable},
		{func() { cluster.Misbehave(Slow(time.Millisecond)) }, gcs.ErrUnreachable},
		{func() { cluster.Misbehave(Fail(5, "a b")) }, &gcs.StatusError{Code: 5, Message: "a b"}},
		{func() { cluster.Misbehave(Fail(14, "")) }, gcs.ErrUnreachable},
		{func() { cluster.Misbehave(Drop) }, gcs.ErrProtocol},
		{func() { cluster.Misbehave(Reply([]byte{0xff})) }, gcs.ErrProtocol},
		{func() { cluster.Misbehave(Reply(make([]byte, 9<<20))) }, gcs.ErrLimit},
		{func() { cluster.Misbehave(nil) }, nil},
	} {
		test.set()
		timeout := 10 * time.Second
		if errors.Is(test.want, gcs.ErrUnreachable) {
			timeout = 500 * time.Millisecond
		}
		ctx, cancel := contextWithTimeout(t, timeout)
		_, err := client.ClusterState(ctx, withToken)
		cancel()
		if want, ok := errors.AsType[*gcs.StatusError](test.want); ok {
			if got, ok := errors.AsType[*gcs.StatusError](err); !ok || *got != *want {
				t.Errorf("error %v, want %v", err, want)
			}
		} else if !errors.Is(err, test.want) {
			t.Errorf("error %v, want %v", err, test.want)
		}
	}
}

// TestFieldNumbers checks that Ray has each field in the encoded state, of the same type.
func TestFieldNumbers(t *testing.T) {
	dir := filepath.Join("..", "testdata")
	known := map[string]bool{}
	for _, name := range []string{"demand", "placed", "idle", "generated"} {
		content, err := os.ReadFile(filepath.Join(dir, "ray-2.60.0-"+name+".bin"))
		if err != nil {
			t.Fatal(err)
		}
		collect(content, "", known)
	}
	encoded := map[string]bool{}
	state := fullState()
	collect(EncodeState(&state), "", encoded)
	for path := range encoded {
		// A label of a gang has a value only in tests.
		if !known[path] && !strings.HasPrefix(path, " 1/2 5/2 1/2 2/2 ") && !strings.HasPrefix(path, " 1/2 5/2 3/2 1/2 2/2 ") {
			t.Errorf("Ray sends no field%s", path)
		}
	}
	if len(encoded) < 50 {
		t.Errorf("only %d fields", len(encoded))
	}
}

// collect collects the paths of numbers and types of fields in a message, and in those in it. Texts may look
// like messages, which does not matter.
func collect(data []byte, path string, paths map[string]bool) {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeField(data)
		if n < 0 {
			return
		}
		field := fmt.Sprintf("%s %d/%d", path, number, kind)
		paths[field] = true
		if kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(data)
			inner, _ := protowire.ConsumeBytes(data[tag:n])
			if isMessage(inner) {
				collect(inner, field, paths)
			}
		}
		data = data[n:]
	}
}

// isMessage reports whether bytes are a message with small numbers.
func isMessage(data []byte) bool {
	for len(data) > 0 {
		number, _, n := protowire.ConsumeField(data)
		if n < 0 || number > 13 {
			return false
		}
		data = data[n:]
	}
	return true
}

// TestManyClusters polls 1,000 clusters.
func TestManyClusters(t *testing.T) {
	const clusters, pollers = 1000, 8
	server, client, target := start(t)
	seen := map[string]bool{}
	for i := range clusters {
		seen[Loopback(i)] = true
		state := fullState()
		state.Session = Loopback(i)
		server.Cluster(Loopback(i)).Set(state)
	}
	if len(seen) != clusters {
		t.Errorf("%d addresses", len(seen))
	}
	for round := range 3 {
		started := time.Now()
		var group sync.WaitGroup
		for poller := range pollers {
			group.Go(func() {
				for i := poller; i < clusters; i += pollers {
					state, err := client.ClusterState(t.Context(), target(Loopback(i)))
					if err != nil || state.Session != Loopback(i) {
						t.Errorf("%s: %v %v", Loopback(i), state, err)
						return
					}
				}
			})
		}
		group.Wait()
		t.Logf("round %d: %v for each call", round, time.Since(started)/clusters)
	}
}

// contextWithTimeout returns a context of the test with a timeout.
func contextWithTimeout(t *testing.T, timeout time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), timeout)
}
