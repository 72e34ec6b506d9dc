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
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// service is the path of the methods.
const service = "/ray.rpc.autoscaler.AutoscalerStateService/"

// gRPC statuses.
const (
	invalidArgument = 3
	unimplemented   = 12
	unavailable     = 14
	unauthenticated = 16
)

// serve serves a call.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		panic("connection without a local address")
	}
	address := local.AddrPort().Addr().Unmap()
	s.mu.Lock()
	cluster := s.clusters[address]
	s.mu.Unlock()
	if cluster == nil {
		fail(w, unavailable, "no cluster has the address "+address.String())
		return
	}
	cluster.serve(w, r)
}

// serve serves a call of a cluster.
func (c *Cluster) serve(w http.ResponseWriter, r *http.Request) {
	method := strings.TrimPrefix(r.URL.Path, service)
	c.mu.Lock()
	c.calls[method]++
	behavior, token, missing := c.behavior, c.token, c.missing[method]
	c.mu.Unlock()
	if behavior != nil {
		behavior.ServeHTTP(w, r)
		return
	}
	if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
		fail(w, unauthenticated, "InvalidAuthToken: Authentication token is missing or incorrect")
		return
	}
	if missing {
		fail(w, unimplemented, "")
		return
	}
	request, err := readRequest(r)
	if err != nil {
		c.violate("%s: %v", method, err)
		fail(w, invalidArgument, err.Error())
		return
	}
	c.dispatch(w, method, request)
}

// dispatch calls a method with a request.
func (c *Cluster) dispatch(w http.ResponseWriter, method string, request message) {
	switch method {
	case "GetClusterResourceState":
		// A GCS exits if the version in a request is newer than its own, so that clients must send none.
		if len(request) > 0 {
			c.violate("%s: request that is not empty", method)
			fail(w, invalidArgument, "request that is not empty")
			return
		}
		c.mu.Lock()
		state := c.current(currentTime())
		c.mu.Unlock()
		respond(w, encodeState(&state))
	case "DrainNode":
		respond(w, c.drain(decodeDrain(request)))
	case "ReportAutoscalingState":
		c.setReport(decodeReport(request))
		respond(w, nil)
	case "ReportClusterConfig":
		c.mu.Lock()
		c.config = decodeConfig(request)
		c.mu.Unlock()
		respond(w, nil)
	default:
		fail(w, unimplemented, "")
	}
}

// drain decides on a request, and returns the reply.
func (c *Cluster) drain(drain Drain) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	decide := c.onDrain
	if decide == nil {
		decide = rayDrain
	}
	node := gcs.Node{ID: drain.NodeID}
	i := slices.IndexFunc(c.state.Nodes, func(node gcs.Node) bool { return node.ID == drain.NodeID })
	if i >= 0 {
		node = c.state.Nodes[i]
	}
	accepted, rejection := decide(node, drain)
	drain.Accepted = accepted
	c.drains = append(c.drains, drain)
	if accepted && i >= 0 {
		c.state.Nodes = slices.Delete(slices.Clone(c.state.Nodes), i, i+1)
		delete(c.idleSince, drain.NodeID)
	}
	return encodeDrained(accepted, rejection)
}

// rayDrain decides as Ray does. A node without a status is unknown.
func rayDrain(node gcs.Node, _ Drain) (accepted bool, rejection string) {
	if node.Status == gcs.NodeIdle || node.Status == 0 {
		return true, ""
	}
	return false, "The node to be idle terminated is no longer idle."
}

// setReport stores a report unless it is older than the last one.
func (c *Cluster) setReport(report *gcs.AutoscalingState, seen int64) {
	if seen != 0 {
		c.violate("ReportAutoscalingState: last_seen_cluster_resource_state_version %d", seen)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.report == nil || report.Version >= c.report.Version {
		c.report = report
	}
}

// violate records a call that no client must make.
func (c *Cluster) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

// readRequest returns the message of a request.
func readRequest(r *http.Request) (message, error) {
	if r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" {
		return nil, fmt.Errorf("headers %v", r.Header)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return nil, fmt.Errorf("malformed prefix of %d bytes", len(body))
	}
	return parse(body[5:])
}

// respond writes a reply with the status OK.
func respond(w http.ResponseWriter, reply []byte) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(reply))), reply...)) //nolint:gosec // Small.
	w.Header().Set("Grpc-Status", "0")
}

// fail writes a reply with a status other than OK.
func fail(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", strconv.Itoa(status))
	w.Header().Set("Grpc-Message", url.PathEscape(text))
}

// Hang is a behavior: no reply, until the client gives up.
var Hang http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

// Drop is a behavior: the connection is closed without a reply.
var Drop http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })

// Fail returns a behavior: a gRPC status.
func Fail(status int, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fail(w, status, text) })
}

// Reply returns a behavior: this reply for all methods, which need not be well-formed.
func Reply(reply []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { respond(w, reply) })
}

// Slow returns a behavior: a byte of a reply in each interval, until the client gives up.
func Slow(interval time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		body := bytes.Repeat([]byte{0}, 1<<20)
		copy(body, []byte{0, 0, 0x0f, 0xff, 0xfb})
		for _, b := range body {
			if _, err := w.Write([]byte{b}); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(interval):
			}
		}
	})
}

// EncodeState returns the reply with a state, for Reply: numbers that are not finite, counts below 0 and statuses
// that do not exist are encoded as they are.
func EncodeState(state *gcs.ClusterState) []byte { return encodeState(state) }

// Loopback returns the i-th address for a cluster, in 127.1.0.0/16 and following, without 127.0.0.1.
func Loopback(i int) string {
	return netip.AddrFrom4([4]byte{127, byte(1 + i/65024), byte(i / 254 % 256), byte(1 + i%254)}).String()
}
