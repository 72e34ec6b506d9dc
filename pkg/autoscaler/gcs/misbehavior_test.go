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
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// misbehavior is a peer that does not do what a GCS does.
type misbehavior struct {
	name   string
	handle func(net.Conn)
	// kind and text are those of the error. Without a text, it depends on timing.
	kind error
	text string
}

const (
	timeoutText = "timeout while waiting for the reply"
	tooMuch     = "more bytes or frames than a reply can have"
)

// silent are peers that do not answer, or not in time.
var silent = []misbehavior{
	{"never answers", drainInput, ErrUnreachable, timeoutText},
	{"answers only SETTINGS", func(conn net.Conn) {
		handshake(conn)
		drainInput(conn)
	}, ErrUnreachable, timeoutText},
	{"no reply to the request", raw(func(p rawPeer, _ uint32) { drainInput(p) }), ErrUnreachable, timeoutText},
	{"only a header", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		drainInput(p)
	}), ErrUnreachable, timeoutText},
	{"announces and does not send", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, binary.BigEndian.AppendUint32([]byte{0}, maxReply))
		drainInput(p)
	}), ErrUnreachable, timeoutText},
	{"slow bytes", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		for _, b := range frame(make([]byte, 1000)) {
			if !p.write(frameData, 0, stream, []byte{b}) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}), ErrUnreachable, timeoutText},
	{"slow trailer", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, frame(nil))
		p.write(frameHeaders, endStream, stream, nil)
		for p.write(frameContinuation, 0, stream, nil) {
			time.Sleep(20 * time.Millisecond)
		}
	}), ErrUnreachable, timeoutText},
	{"no stream allowed", func(conn net.Conn) {
		handshake(conn, 0, 3, 0, 0, 0, 0) // SETTINGS_MAX_CONCURRENT_STREAMS
		drainInput(conn)
	}, ErrUnreachable, timeoutText},
	{"no window for the request", func(conn net.Conn) {
		handshake(conn, 0, 4, 0, 0, 0, 0) // SETTINGS_INITIAL_WINDOW_SIZE
		drainInput(conn)
	}, ErrUnreachable, timeoutText},
}

// endless are peers that send without end.
var endless = []misbehavior{
	{"endless trailer", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, frame(nil))
		p.write(frameHeaders, endStream, stream, headerBlock("a", "b"))
		for p.write(frameContinuation, 0, stream, bytes.Repeat(headerBlock("name", "value"), 1000)) {
		}
	}), ErrProtocol, "HTTP/2 error"},
	{"endless empty trailer", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, frame(nil))
		p.write(frameHeaders, endStream, stream, nil)
		for p.write(frameContinuation, 0, stream, nil) {
		}
	}), ErrLimit, tooMuch},
	{"endless interim responses", raw(func(p rawPeer, stream uint32) {
		for p.headers(endHeaders, stream, ":status", "103", "link", "a") {
		}
	}), ErrProtocol, "HTTP/2 error"},
	{"endless PING", raw(func(p rawPeer, _ uint32) {
		go drainInput(p)
		pings := bytes.Repeat([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 1000)
		for _, err := p.Write(pings); err == nil; _, err = p.Write(pings) {
		}
	}), ErrLimit, tooMuch},
	{"unknown frames", raw(func(p rawPeer, _ uint32) {
		for p.write(77, 0, 0, nil) {
		}
	}), ErrProtocol, "HTTP/2 error"},
	{"endless SETTINGS", raw(func(p rawPeer, _ uint32) {
		go drainInput(p)
		for p.write(frameSettings, 0, 0, make([]byte, 6000)) {
		}
	}), ErrLimit, tooMuch},
	{"endless empty DATA", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		data := bytes.Repeat([]byte{0, 0, 0, frameData, 0, 0, 0, 0, byte(stream)}, 1000)
		for _, err := p.Write(data); err == nil; _, err = p.Write(data) {
		}
	}), ErrLimit, tooMuch},
	{"endless DATA of one byte", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, binary.BigEndian.AppendUint32([]byte{0}, maxReply))
		data := bytes.Repeat([]byte{0, 0, 1, frameData, 0, 0, 0, 0, byte(stream), 1}, 1000)
		go drainInput(p)
		for _, err := p.Write(data); err == nil; _, err = p.Write(data) {
		}
	}), ErrLimit, tooMuch},
	{"announces too much", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, binary.BigEndian.AppendUint32([]byte{0}, maxReply+1))
		drainInput(p)
	}), ErrLimit, fmt.Sprintf("more than %d bytes", maxReply)},
	{"large header", raw(func(p rawPeer, stream uint32) {
		p.headers(endHeaders, stream, ":status", "200", "content-type", "application/grpc", "a", strings.Repeat("b", 9000))
		drainInput(p)
	}), ErrProtocol, "HTTP/2 error"},
	{"large trailer", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, frame(nil))
		p.headers(endHeaders|endStream, stream, "a", strings.Repeat("b", 9000), "grpc-status", "0")
		drainInput(p)
	}), ErrProtocol, ""},
}

// wrong are peers that speak something else, or violate HTTP/2.
var wrong = []misbehavior{
	{"closes", func(net.Conn) {}, ErrUnreachable, "connection closed without a reply, which is how a GCS with TLS (RAY_USE_TLS) replies"},
	{"closes after SETTINGS", func(conn net.Conn) {
		handshake(conn)
		endOutput(conn)
	}, ErrUnreachable, "connection closed before the end of the reply"},
	{"closes in the reply", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		p.write(frameData, 0, stream, frame(make([]byte, 100))[:50])
	}), ErrUnreachable, "connection closed before the end of the reply"},
	{"resets the stream", raw(func(p rawPeer, stream uint32) {
		p.write(frameReset, 0, stream, []byte{0, 0, 0, 7})
		drainInput(p)
	}), ErrProtocol, "HTTP/2 error"},
	{"GOAWAY for each request", raw(func(p rawPeer, _ uint32) {
		p.write(frameGoAway, 0, 0, make([]byte, 8))
		drainInput(p)
	}), ErrProtocol, "HTTP/2 error"},
	{"GOAWAY first", func(conn net.Conn) {
		peer, _ := handshake(conn)
		peer.write(frameGoAway, 0, 0, []byte{0, 0, 0, 0, 0, 0, 0, 11})
		drainInput(conn)
	}, ErrProtocol, "HTTP/2 error"},
	{"huge frame", raw(func(p rawPeer, stream uint32) {
		p.replyHeader(stream)
		_, _ = p.Write([]byte{0xff, 0xff, 0xff, frameData, 0, 0, 0, 0, byte(stream)})
		drainInput(p)
	}), ErrProtocol, "HTTP/2 error"},
	{"HTTP/1.1", func(conn net.Conn) {
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
		drainInput(conn)
	}, ErrProtocol, "the port speaks HTTP/1.1 and not gRPC"},
	{"Redis", func(conn net.Conn) {
		_, _ = conn.Write([]byte("-ERR unknown command\r\n"))
		drainInput(conn)
	}, ErrProtocol, "the port does not speak gRPC"},
	{"TLS", func(conn net.Conn) {
		// As any server, it sends an alert.
		if err := tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12}).HandshakeContext(context.Background()); err == nil {
			panic("no error")
		}
		_, _ = conn.Write([]byte{21, 3, 1, 0, 2, 2, 70})
		endOutput(conn)
	}, ErrProtocol, "the port requires TLS (RAY_USE_TLS)"},
}

// TestMisbehavior checks that each peer costs the client at most the timeout, and has a certain error.
func TestMisbehavior(t *testing.T) {
	for i, tests := range [][]misbehavior{silent, endless, wrong} {
		timeout := 5 * time.Second
		if i == 0 {
			timeout = 300 * time.Millisecond
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				target := Target{Address: serve(t, test.handle)}
				client := New()
				defer client.Close()
				var texts []string
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					start := time.Now()
					state, err := client.ClusterState(ctx, target)
					took := time.Since(start)
					cancel()
					if state != nil || err == nil || test.kind != nil && !errors.Is(err, test.kind) {
						t.Fatalf("state %v, error %v, want one of %v", state, err, test.kind)
					}
					if test.text != "" && err.Error() != test.kind.Error()+": "+test.text {
						t.Errorf("error %v, want %s", err, test.text)
					}
					if strings.Contains(err.Error(), "127.0.0.1") {
						t.Errorf("address in the error %v", err)
					}
					if took > timeout+2*time.Second {
						t.Errorf("took %v", took)
					}
					texts = append(texts, err.Error())
				}
				t.Log(texts[0])
			})
		}
	}
}

// TestNoLeak checks that no goroutine and no connection remains of a misbehaving peer.
func TestNoLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	client := New()
	address := serve(t, raw(func(p rawPeer, _ uint32) { drainInput(p) }))
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := client.ClusterState(ctx, Target{Address: address}); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		cancel()
	}
	// One goroutine accepts connections.
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before+1 })
}

// waitFor waits for a condition.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout, with %d goroutines", runtime.NumGoroutine())
		}
	}
}

// TestFloodWithoutCall has a peer that sends PING without end while there is no call.
func TestFloodWithoutCall(t *testing.T) {
	closed := make(chan struct{}, 10)
	address := serve(t, raw(func(p rawPeer, stream uint32) {
		p.reply(stream, nil)
		go drainInput(p)
		for p.write(framePing, 0, 0, make([]byte, 8)) {
		}
		closed <- struct{}{}
	}))
	client := New()
	defer client.Close()
	for range 2 {
		if _, err := client.ClusterState(t.Context(), Target{Address: address}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("the connection is still open")
		}
	}
}

// TestStatuses has responses of HTTP servers that are not a success.
func TestStatuses(t *testing.T) {
	status := func(code, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", code)
			w.Header().Set("Grpc-Message", text)
		}
	}
	grpc := func(body []byte, status string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(body)
			w.Header().Set("Grpc-Status", status)
		}
	}
	tests := []struct {
		handler http.HandlerFunc
		kind    error
		text    string
	}{
		{status("16", "InvalidAuthToken"), ErrUnauthenticated, "GCS rejects the token: gRPC status 16 (UNAUTHENTICATED): InvalidAuthToken"},
		{status("12", ""), ErrUnimplemented, "GCS does not implement the method: gRPC status 12 (UNIMPLEMENTED)"},
		{status("14", "at 10.0.0.1:5555"), ErrUnreachable, "GCS is unreachable: gRPC status 14 (UNAVAILABLE): at *"},
		{status("5", "a%20b%0A%E2%82%AC%00%FFc"), nil, "gRPC status 5 (NOT_FOUND): a b € c"},
		{status("5", "100%"), nil, "gRPC status 5 (NOT_FOUND): 100%"},
		{status("5", strings.Repeat("%E2%82%AC", 500)), nil, "gRPC status 5 (NOT_FOUND): " + strings.Repeat("€", 65) + "…"},
		{status("999", "x"), nil, "gRPC status 999: x"},
		{status("x", ""), ErrProtocol, "GCS sent an invalid reply: reply without a valid gRPC status"},
		{status("-1", ""), ErrProtocol, "GCS sent an invalid reply: reply without a valid gRPC status"},
		{status("0", ""), ErrProtocol, "GCS sent an invalid reply: reply without a message"},
		{grpc(frame(nil), ""), ErrProtocol, "GCS sent an invalid reply: reply without a valid gRPC status"},
		{grpc(frame(nil), "13"), nil, "gRPC status 13 (INTERNAL)"},
		{grpc(append(frame(nil), frame(nil)...), "0"), ErrProtocol, "GCS sent an invalid reply: more than one message in a reply"},
		{grpc(frame(make([]byte, 9))[:7], "0"), ErrUnreachable, "GCS is unreachable: connection closed before the end of the reply"},
		{grpc([]byte{1, 0, 0, 0, 0}, "0"), ErrProtocol, "GCS sent an invalid reply: compressed reply"},
		{grpc(frame([]byte{0x80}), "0"), ErrProtocol, "GCS sent an invalid reply: malformed message"},
		{http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect).ServeHTTP, ErrProtocol, "GCS sent an invalid reply: HTTP status 307"},
		{http.NotFound, ErrProtocol, "GCS sent an invalid reply: HTTP status 404"},
		{func(http.ResponseWriter, *http.Request) {}, ErrProtocol, "GCS sent an invalid reply: reply that is not gRPC"},
	}
	for _, test := range tests {
		client := New()
		_, err := client.ClusterState(t.Context(), Target{Address: serveHTTP(t, test.handler)})
		if err == nil || err.Error() != test.text || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("error %v, want %s", err, test.text)
		}
		if _, isStatus := errors.AsType[*StatusError](err); isStatus != strings.Contains(test.text, "gRPC status ") {
			t.Errorf("error %v is a StatusError: %v", err, isStatus)
		}
		client.Close()
	}
}
