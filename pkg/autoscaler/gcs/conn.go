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
	"sync"
	"time"
)

// Limits of a connection. A connection in use costs about 25 KiB of heap, so these are as small as HTTP/2 allows.
const (
	// maxHeader is the limit, in bytes, of the header of a reply, and of its trailer.
	maxHeader = 8 << 10
	// headerTable is the size of a table of HPACK: the peer's headers are few and always the same.
	headerTable = 1 << 10
	// frameSize is the smallest limit of a frame that HTTP/2 allows.
	frameSize = 16 << 10
	// window is how much a peer can send before the reply is read.
	window = 256 << 10
	// idleTimeout closes a connection that no call uses.
	idleTimeout = 90 * time.Second
	// writeTimeout closes a connection if the peer does not accept a single byte.
	writeTimeout = 2 * time.Second
)

// newTransport returns a transport for connections that the context of a call has. It knows no proxy.
func newTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, ok := ctx.Value(dialed{}).(net.Conn)
			if !ok {
				return nil, errors.New("no connection in the context")
			}
			return conn, nil
		},
		DisableCompression:     true,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxDecoderHeaderTableSize:     headerTable,
			MaxEncoderHeaderTableSize:     headerTable,
			MaxReadFrameSize:              frameSize,
			MaxReceiveBufferPerConnection: window,
			MaxReceiveBufferPerStream:     window,
			WriteByteTimeout:              writeTimeout,
		},
	}
}

// dialed is the key of the connection in the context of a call.
type dialed struct{}

// connection is an HTTP/2 connection.
type connection struct {
	*http.ClientConn
	metered *metered
}

// usable reports whether a connection can take a call. It cannot after GOAWAY.
func (c *connection) usable() bool { return c.Err() == nil && c.Available() > 0 }

// connect returns a new connection.
func (c *Client) connect(ctx context.Context, address string) (*connection, error) {
	conn, err := c.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, transportError(ctx, err, nil)
	}
	limited := &metered{Conn: conn}
	limited.allow()
	http2, err := c.transport.NewClientConn(context.WithValue(ctx, dialed{}, net.Conn(limited)), "http", address)
	if err != nil {
		conn.Close()
		return nil, transportError(ctx, err, limited)
	}
	return &connection{ClientConn: http2, metered: limited}, nil
}

// peer is a GCS with its connection. It has one call at a time, so that a GCS that is slow or lies occupies
// one connection and the memory of one reply.
type peer struct {
	// slot is full while there is a call.
	slot chan struct{}

	mu        sync.Mutex
	conn      *connection // nil if there is none
	forgotten bool
}

// acquire waits for the calls of others.
func (p *peer) acquire(ctx context.Context) error {
	select {
	case p.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return transportError(ctx, ctx.Err(), nil)
	}
}

// release ends a call.
func (p *peer) release() { <-p.slot }

// current returns the connection if it can take a call, and closes it otherwise.
func (p *peer) current() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil && !p.conn.usable() {
		p.conn.Close()
		p.conn = nil
	}
	return p.conn
}

// replace closes the connection and sets another one, or nil. It reports false, and closes both, if the peer
// has been forgotten.
func (p *peer) replace(conn *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn = conn
	if conn != nil && p.forgotten {
		conn.Close()
		p.conn = nil
		return false
	}
	return true
}

// forget closes the connection, which ends a call, and lets no call set another one.
func (p *peer) forget() {
	p.mu.Lock()
	p.forgotten = true
	p.mu.Unlock()
	p.replace(nil)
}
