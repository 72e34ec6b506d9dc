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
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestCalls checks the requests and replies of all methods.
func TestCalls(t *testing.T) {
	type call struct {
		path, token string
		body        []byte
	}
	var calls []call
	replies := map[string][]byte{
		service + "GetClusterResourceState": recorded(t, "ray-2.60.0-generated"),
		service + "DrainNode":               recorded(t, "ray-2.60.0-drain-rejected"),
	}
	address := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" ||
			r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("headers %v, error %v", r.Header, err)
		}
		calls = append(calls, call{r.URL.Path, r.Header.Get("Authorization"), body})
		respond(w, replies[r.URL.Path], "0", "")
	})
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	client := New()
	defer client.Close()
	target := Target{Address: address, Token: " secret\n"}

	state, err := client.ClusterState(t.Context(), target)
	if err != nil || state.Session != "s" {
		t.Error(state, err)
	}
	accepted, rejection, err := client.DrainNode(t.Context(), target, "id", "reason")
	if accepted || err != nil || rejection != "The node to be idle terminated is no longer idle." {
		t.Error(accepted, rejection, err)
	}
	if err := client.ReportState(t.Context(), target, &AutoscalingState{Version: 1}); err != nil {
		t.Error(err)
	}
	target.Token = ""
	if err := client.ReportConfig(t.Context(), target, &ClusterConfig{}); err != nil {
		t.Error(err)
	}
	want := []call{
		{service + "GetClusterResourceState", "Bearer secret", frame(nil)},
		{service + "DrainNode", "Bearer secret", frame(encodeDrain("id", "reason"))},
		{service + "ReportAutoscalingState", "Bearer secret", frame(encodeState(&AutoscalingState{Version: 1}))},
		{service + "ReportClusterConfig", "", frame(encodeConfig(&ClusterConfig{}))},
	}
	if len(calls) != len(want) {
		t.Fatalf("calls %v", calls)
	}
	for i, got := range calls {
		if got.path != want[i].path || got.token != want[i].token || !bytes.Equal(got.body, want[i].body) {
			t.Errorf("call %q, want %q", got, want[i])
		}
	}
	target.Token = "a\nb"
	if _, err := client.ClusterState(t.Context(), target); !errors.Is(err, ErrUnauthenticated) {
		t.Error(err)
	}
}

// counted counts the connections to a handler.
func counted(count *atomic.Int32, handler func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		count.Add(1)
		handler(conn)
	}
}

// obedient replies to requests until the client closes the connection.
func obedient(conn net.Conn) {
	peer, ok := handshake(conn)
	for ok {
		var stream uint32
		if stream, ok = peer.request(); ok {
			ok = peer.reply(stream, nil)
		}
	}
}

// TestOneConnection checks that concurrent calls share one connection, and have it one after the other.
func TestOneConnection(t *testing.T) {
	var connections, running atomic.Int32
	address := serve(t, counted(&connections, func(conn net.Conn) {
		peer, ok := handshake(conn)
		for ok {
			var stream uint32
			if stream, ok = peer.request(); ok {
				if running.Add(1) != 1 {
					t.Error("two calls at a time")
				}
				time.Sleep(time.Millisecond)
				running.Add(-1)
				ok = peer.reply(stream, nil)
			}
		}
	}))
	client := New()
	defer client.Close()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				if _, err := client.ClusterState(t.Context(), Target{Address: address}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestNewConnection has peers that end the connection after a reply, which is no error of the next call.
func TestNewConnection(t *testing.T) {
	for name, end := range map[string]func(rawPeer, uint32){
		"close": func(rawPeer, uint32) {},
		"GOAWAY": func(p rawPeer, stream uint32) {
			p.write(frameGoAway, 0, 0, []byte{0, 0, 0, byte(stream), 0, 0, 0, 0})
			drainInput(p)
		},
		"close at the next request": func(p rawPeer, _ uint32) { p.request() },
		"GOAWAY at the next request": func(p rawPeer, stream uint32) {
			p.request()
			p.write(frameGoAway, 0, 0, []byte{0, 0, 0, byte(stream), 0, 0, 0, 0})
			drainInput(p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			address := serve(t, counted(&connections, raw(func(p rawPeer, stream uint32) {
				p.reply(stream, nil)
				end(p, stream)
			})))
			client := New()
			defer client.Close()
			for range 5 {
				if _, err := client.ClusterState(t.Context(), Target{Address: address}); err != nil {
					t.Fatal(err)
				}
			}
			if n := connections.Load(); n != 5 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestRefused checks the errors without a peer.
func TestRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	client := New()
	for target, want := range map[string]string{
		address:      "GCS is unreachable: connection refused",
		"no address": "GCS is unreachable: connecting failed",
	} {
		if _, err := client.ClusterState(t.Context(), Target{Address: target}); !errors.Is(err, ErrUnreachable) || err.Error() != want {
			t.Errorf("%s: error %v, want %s", target, err, want)
		}
	}
}

// TestLookupErrors has errors of the resolver, with addresses in their texts.
func TestLookupErrors(t *testing.T) {
	for want, lookup := range map[string]*net.DNSError{
		"host not found":             {Err: "no such host", Name: "a", Server: "10.0.0.1:53", IsNotFound: true},
		"timeout while connecting":   {Err: "i/o timeout", Name: "a", Server: "10.0.0.1:53", IsTimeout: true},
		"looking up the host failed": {Err: "read udp 10.0.0.2:49152->10.0.0.1:53: refused", Name: "a"},
	} {
		err := transportError(t.Context(), &net.OpError{Op: "dial", Net: "tcp", Err: lookup}, nil)
		if err.Error() != "GCS is unreachable: "+want || !errors.Is(err, lookup) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestDeadlines checks the timeout without a deadline, and a context that is canceled.
func TestDeadlines(t *testing.T) {
	address := serve(t, drainInput)
	client := New()
	defer client.Close()
	start := time.Now()
	_, err := client.ClusterState(t.Context(), Target{Address: address})
	if took := time.Since(start); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || took < defaultTimeout {
		t.Errorf("error %v after %v", err, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.ClusterState(ctx, Target{Address: address}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if _, err := client.ClusterState(ctx, Target{Address: address}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestForget checks that connections and calls end with Forget and Close, and that later calls succeed.
func TestForget(t *testing.T) {
	before := runtime.NumGoroutine()
	client := New()
	var connections atomic.Int32
	address := serve(t, counted(&connections, obedient))
	other := serve(t, drainInput)
	call := func(address string) error {
		_, err := client.ClusterState(t.Context(), Target{Address: address})
		return err
	}
	for i, end := range []func(){
		func() { client.Forget(address) }, func() { client.Forget(address) }, client.Close, client.Close,
	} {
		if err := call(address); err != nil {
			t.Fatal(err)
		}
		end()
		if n := connections.Load(); n != int32(i+1) || len(client.peers) != 0 {
			t.Errorf("%d connections, peers %v", n, client.peers)
		}
	}
	client.Forget("never used")

	failed := make(chan error)
	go func() { failed <- call(other) }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	client.Forget(other)
	if err := <-failed; !errors.Is(err, ErrUnreachable) || time.Since(start) > time.Second {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
	waitFor(t, func() bool { return runtime.NumGoroutine() <= before+2 })
}

// TestConnectionMemory measures what an open connection occupies, on both sides.
func TestConnectionMemory(t *testing.T) {
	const connections = 200
	reply := recorded(t, "ray-2.60.0-demand")
	address := serve(t, func(conn net.Conn) {
		peer, ok := handshake(conn)
		for ok {
			var stream uint32
			if stream, ok = peer.request(); ok {
				ok = peer.reply(stream, reply)
			}
		}
	})
	clients := make([]*Client, connections)
	poll := func() {
		for _, client := range clients {
			if _, err := client.ClusterState(t.Context(), Target{Address: address}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range clients {
		clients[i] = New()
		clients[i].transport = clients[0].transport
		t.Cleanup(clients[i].Close)
	}
	memory := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC() // The first one moves pools to their victims.
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc + stats.StackInuse
	}
	before := memory()
	for range 3 {
		poll()
	}
	each := (memory() - before) / connections
	t.Logf("%d bytes for each connection", each)
	if each > 40<<10 {
		t.Errorf("%d bytes for each connection, more than 40 KiB", each)
	}
}

// BenchmarkCall calls a peer on an open connection.
func BenchmarkCall(b *testing.B) {
	reply := recorded(b, "ray-2.60.0-demand")
	address := serveHTTP(b, func(w http.ResponseWriter, _ *http.Request) { respond(w, reply, "0", "") })
	client := New()
	defer client.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.ClusterState(b.Context(), Target{Address: address}); err != nil {
			b.Fatal(err)
		}
	}
}
