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
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// service is the path of the methods of Ray's AutoscalerStateService.
	service = "/ray.rpc.autoscaler.AutoscalerStateService/"
	// defaultTimeout is the timeout of a call with a context without a deadline. A GCS replies within
	// milliseconds, also with 1,000 nodes.
	defaultTimeout = 2 * time.Second
)

// Target is a GCS.
type Target struct {
	// Address is host:port. Use the ClusterIP of the head's Service: the peer behind it changes, but not the
	// address.
	Address string
	// Token is the token of Ray's token authentication, or empty. White space around it is removed, as Ray does.
	Token string
}

// Client calls GCSs. It has one connection and one call at a time for each. Its methods can be called
// concurrently. All errors except for a canceled context are of the kinds of this package, or a *StatusError.
type Client struct {
	transport *http.Transport
	dialer    net.Dialer

	mu    sync.Mutex
	peers map[string]*peer
}

// New returns a client without connections.
func New() *Client {
	return &Client{
		transport: newTransport(),
		// Calls are frequent and have a timeout, so that they find a lost connection before the kernel does.
		dialer: net.Dialer{KeepAlive: -1},
		peers:  map[string]*peer{},
	}
}

// ClusterState returns what a GCS knows of its cluster. A GCS that has just started knows no nodes, not even that
// of the head.
func (c *Client) ClusterState(ctx context.Context, target Target) (*ClusterState, error) {
	// The request must be empty: a GCS exits if it has a version that is newer than that of the GCS.
	reply, err := c.call(ctx, target, "GetClusterResourceState", nil)
	if err != nil {
		return nil, err
	}
	return decodeState(reply)
}

// DrainNode asks a GCS to remove a node if it is idle. If it is not, the node is not changed, and rejection is
// the reason in one line. nodeID is the ID of a Node. message is the reason for users. Ray accepts a node that is
// gone, or that it does not know, too, so that the call can be repeated.
func (c *Client) DrainNode(ctx context.Context, target Target, nodeID, message string) (accepted bool,
	rejection string, err error,
) {
	reply, err := c.call(ctx, target, "DrainNode", encodeDrain(nodeID, message))
	if err != nil {
		return false, "", err
	}
	return decodeDrain(reply)
}

// ReportState reports what the autoscaler does, for ray status, the dashboard and the driver. A GCS forgets it
// when it restarts.
func (c *Client) ReportState(ctx context.Context, target Target, state *AutoscalingState) error {
	_, err := c.call(ctx, target, "ReportAutoscalingState", encodeState(state))
	return err
}

// ReportConfig reports the bounds of the groups, for Ray Data and Ray Train. Ray 2.10 does not implement it.
func (c *Client) ReportConfig(ctx context.Context, target Target, config *ClusterConfig) error {
	_, err := c.call(ctx, target, "ReportClusterConfig", encodeConfig(config))
	return err
}

// Forget closes the connection to an address, and ends a call of it.
func (c *Client) Forget(address string) {
	c.mu.Lock()
	p := c.peers[address]
	delete(c.peers, address)
	c.mu.Unlock()
	if p != nil {
		p.forget()
	}
}

// Close closes all connections, and ends all calls. The client can be used afterwards.
func (c *Client) Close() {
	c.mu.Lock()
	peers := c.peers
	c.peers = map[string]*peer{}
	c.mu.Unlock()
	for _, p := range peers {
		p.forget()
	}
}

// peer returns the peer with an address.
func (c *Client) peer(address string) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[address]
	if p == nil {
		p = &peer{slot: make(chan struct{}, 1)}
		c.peers[address] = p
	}
	return p
}

// call calls a method and returns the reply.
func (c *Client) call(ctx context.Context, target Target, method string, request []byte) ([]byte, error) {
	target.Token = strings.TrimSpace(target.Token)
	if strings.ContainsFunc(target.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, failure(ErrUnauthenticated, "the token has characters other than printable ASCII")
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}

	p := c.peer(target.Address)
	if err := p.acquire(ctx); err != nil {
		return nil, err
	}
	defer p.release()

	// A connection that was open before may have been closed by the peer in the meantime, which is no failure.
	if conn := p.current(); conn != nil {
		reply, answered, err := p.exchange(ctx, conn, target, method, request)
		if err == nil || answered || ctx.Err() != nil || errors.Is(err, ErrLimit) {
			return reply, err
		}
	}
	conn, err := c.connect(ctx, target.Address)
	if err != nil {
		return nil, err
	}
	if !p.replace(conn) {
		return nil, failure(ErrUnreachable, "connection closed by the client")
	}
	reply, _, err := p.exchange(ctx, conn, target, method, request)
	return reply, err
}

// exchange calls a method on a connection, and closes the connection if it failed: it may be one to a peer that
// is gone, or that sends more than it should.
func (p *peer) exchange(ctx context.Context, conn *connection, target Target, method string, request []byte) (
	reply []byte, answered bool, err error,
) {
	reply, answered, err = conn.exchange(ctx, target, method, request)
	if status := (*StatusError)(nil); err != nil && !errors.As(err, &status) {
		p.replace(nil)
	}
	return reply, answered, err
}
