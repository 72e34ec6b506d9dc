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

// Package gcstest is a GCS for tests, as far as an autoscaler uses it: the service AutoscalerStateService of Ray,
// over HTTP/2 without TLS. One server is the GCS of many clusters, which it distinguishes by the local address of
// a connection: the tests give each head Service a ClusterIP in 127.0.0.0/8.
//
// It encodes and decodes messages without the client's code, so that a wrong number of a field in one is not
// hidden by the other.
package gcstest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// Server is the GCS of clusters.
type Server struct {
	server   *http.Server
	listener net.Listener
	done     chan struct{}

	mu       sync.Mutex
	clusters map[netip.Addr]*Cluster
}

// Start serves on an address, such as 0.0.0.0:6379 for the port that operators expect, or 127.0.0.1:0.
func Start(address string) (*Server, error) {
	listener, err := net.Listen("tcp", address) //nolint:noctx // It returns immediately.
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &Server{listener: listener, done: make(chan struct{}), clusters: map[netip.Addr]*Cluster{}}
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		Protocols:         &protocols,
		ReadHeaderTimeout: time.Minute,
		// There are many connections in the process of a test.
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10,
		},
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(listener)
	}()
	return s, nil
}

// Address is that of the listener.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends all connections. Hanging calls end, too.
func (s *Server) Close() {
	s.server.Close()
	<-s.done
}

// Cluster returns the cluster with an IP address, such as 127.1.0.7. It creates it on the first use, with an empty
// state. A call for a cluster that does not exist has the gRPC status 14, as if there was no head.
func (s *Server) Cluster(ip string) *Cluster {
	address := netip.MustParseAddr(ip).Unmap()
	s.mu.Lock()
	defer s.mu.Unlock()
	cluster := s.clusters[address]
	if cluster == nil {
		cluster = &Cluster{calls: map[string]int{}, idleSince: map[string]time.Time{}}
		s.clusters[address] = cluster
	}
	return cluster
}

// Remove removes a cluster, as when its head is deleted.
func (s *Server) Remove(ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, netip.MustParseAddr(ip).Unmap())
}

// Calls returns the number of calls by method, of all clusters that exist.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	clusters := slices.Collect(maps.Values(s.clusters))
	s.mu.Unlock()
	sum := map[string]int{}
	for _, cluster := range clusters {
		for method, count := range cluster.Calls() {
			sum[method] += count
		}
	}
	return sum
}

// Drain is a request to drain a node.
type Drain struct {
	NodeID, Message string
	// Reason is 1 for an idle node, and 2 for preemption.
	Reason int
	// Deadline is in Unix milliseconds, or 0 without one.
	Deadline int64
	Accepted bool
}

// Cluster is the GCS of one cluster. Its methods can be called concurrently.
type Cluster struct {
	mu        sync.Mutex
	state     gcs.ClusterState
	idleSince map[string]time.Time // by ID of idle nodes
	token     string
	onDrain   func(node gcs.Node, drain Drain) (accepted bool, rejection string)
	behavior  http.Handler
	missing   map[string]bool

	calls      map[string]int
	drains     []Drain
	report     *gcs.AutoscalingState
	config     *gcs.ClusterConfig
	violations []string
}

// Set sets the state. The idle time of idle nodes grows from now on. The state must not be changed afterwards.
func (c *Cluster) Set(state gcs.ClusterState) {
	c.Update(func(s *gcs.ClusterState) { *s = state })
}

// Update changes the state. The function gets the current idle times, and can change all of them. It must not change
// maps and slices in place that Set was given.
func (c *Cluster) Update(change func(*gcs.ClusterState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := currentTime()
	state := c.current(now)
	change(&state)
	c.state = state
	clear(c.idleSince)
	for _, node := range state.Nodes {
		if node.Status == gcs.NodeIdle {
			c.idleSince[node.ID] = now.Add(-node.Idle)
		}
	}
}

// currentTime returns the time. A server runs on real time, whatever the clock of its clients is.
func currentTime() time.Time { return time.Now() } //nolint:forbidigo // See above.

// State returns the state with the current idle times.
func (c *Cluster) State() gcs.ClusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current(currentTime())
}

// current returns the state with the idle times at a time. The lock must be held.
func (c *Cluster) current(now time.Time) gcs.ClusterState {
	state := c.state
	state.Nodes = slices.Clone(state.Nodes)
	for i := range state.Nodes {
		node := &state.Nodes[i]
		if since, ok := c.idleSince[node.ID]; ok && node.Status == gcs.NodeIdle {
			node.Idle = now.Sub(since)
		}
	}
	return state
}

// RequireToken lets calls without this token fail with the gRPC status 16. Empty means that none is required.
func (c *Cluster) RequireToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

// OnDrain sets the decision on a request to drain a node. The function must not call the cluster. Nodes that are
// drained disappear. The default is that of Ray: accept a node if it is idle or unknown.
func (c *Cluster) OnDrain(decide func(node gcs.Node, drain Drain) (accepted bool, rejection string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onDrain = decide
}

// Unimplement lets calls of a method fail with the gRPC status 12, as ReportClusterConfig with Ray 2.10.
func (c *Cluster) Unimplement(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing == nil {
		c.missing = map[string]bool{}
	}
	c.missing[method] = true
}

// Misbehave lets a handler serve the calls, such as Hang or Fail. They are counted. nil ends it.
func (c *Cluster) Misbehave(handler http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behavior = handler
}

// Calls returns the number of calls by method, such as DrainNode.
func (c *Cluster) Calls() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Drains returns the requests to drain nodes.
func (c *Cluster) Drains() []Drain {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.drains)
}

// Report returns the last state that was reported, or nil. As with Ray, one with a lower version than one before
// is ignored.
func (c *Cluster) Report() *gcs.AutoscalingState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// Config returns the last configuration that was reported, or nil.
func (c *Cluster) Config() *gcs.ClusterConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// Violations returns the calls that no client must make, such as one that makes a GCS exit.
func (c *Cluster) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}
