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

// Package proxy is a proxy between one operator and the API server that injects faults. It numbers the
// writes of the operator, and injects a Fault into the write with a given number. A fault is always
// something that a real network and a real server can do. In particular, it never drops a part of a
// watch.
package proxy

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// Proxy is the proxy of one operator.
type Proxy struct {
	upstream  *url.URL
	transport http.RoundTripper
	listener  net.Listener
	server    *http.Server
	gates     map[string]*gate

	hooks Hooks

	mu sync.Mutex
	// process is the number of the operator's process. Each connection belongs to a process, so that
	// requests of a killed process are not forwarded.
	process int
	armed   bool
	faults  []Fault
	numbers map[string]int
	writes  []*history.Write
	// committed counts the committed writes by verb and resource.
	committed map[string]int
	active    time.Time
	held      chan struct{}
	resumed   chan struct{}
	broken    map[string]bool
	// past has the resourceVersions at the time when the faults were armed.
	past map[string]string
}

// Hooks are callbacks of a proxy.
type Hooks struct {
	// Crash kills the operator's process, and returns when it has exited.
	Crash func()
	// Stalled is called when a write is stalled.
	Stalled func()
}

// New returns a proxy to the server of config that uses its credentials.
func New(config *rest.Config, hooks Hooks) (*Proxy, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	upstream, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		upstream:  upstream,
		transport: transport,
		listener:  listener,
		hooks:     hooks,
		gates:     map[string]*gate{history.Rays: newGate(), history.Services: newGate(), history.Deployments: newGate()},
		numbers:   map[string]int{},
		committed: map[string]int{},
		held:      make(chan struct{}),
		resumed:   make(chan struct{}),
		broken:    map[string]bool{},
		past:      map[string]string{},
	}
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, processKey{}, p.currentProcess())
		},
	}
	go p.server.Serve(listener) //nolint:errcheck // It returns when Close is called.
	return p, nil
}

// processKey is the context key of the process that sent a request.
type processKey struct{}

// URL returns the URL of the proxy.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close closes all connections.
func (p *Proxy) Close() { p.server.Close() }

// Arm starts numbering writes, and arms the faults.
func (p *Proxy) Arm(ctx context.Context, faults []Fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.faults = true, slices.Clone(faults)
	for _, fault := range faults {
		if fault.Kind == Rewind {
			version, err := p.newestVersion(ctx, fault.Resource)
			if err != nil {
				return err
			}
			p.past[fault.Resource] = version
		}
	}
	if len(p.faults) > 0 && p.faults[0].Write == 0 {
		fault := p.faults[0]
		p.faults = p.faults[1:]
		return p.hold(ctx, fault.Resource)
	}
	return nil
}

// Pending returns the faults that were not injected yet.
func (p *Proxy) Pending() []Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.faults)
}

// Writes returns all writes of the operator, including those that failed.
func (p *Proxy) Writes() []history.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes := make([]history.Write, 0, len(p.writes))
	for _, write := range p.writes {
		writes = append(writes, *write)
	}
	return writes
}

// Committed returns the number of committed writes by verb and resource, such as "update rays/status".
func (p *Proxy) Committed() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.committed)
}

// LastActive returns the time of the operator's last request or response, except for its lease.
func (p *Proxy) LastActive() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// Break makes all requests for a resource fail, or succeed again.
func (p *Proxy) Break(resource string, broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken[resource] = broken
}

func (p *Proxy) isBroken(resource string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken[resource]
}

func (p *Proxy) currentProcess() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}

// alive reports whether the process that sent a request was not killed.
func (p *Proxy) alive(r *http.Request) bool {
	return r.Context().Value(processKey{}) == p.currentProcess()
}

// Kill kills the operator's process. Its requests are no longer forwarded.
func (p *Proxy) Kill() {
	p.retire()
	p.hooks.Crash()
}

// retire stops forwarding the requests of the operator's process.
func (p *Proxy) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process++
}

// ServeHTTP forwards a request, unless a fault affects it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !p.alive(r) {
		panic(http.ErrAbortHandler)
	}
	request := newRequest(r, body)
	switch {
	case p.isBroken(request.resource):
		deliverError(w, http.StatusServiceUnavailable)
	case request.isWatch():
		p.touch(request)
		p.watch(w, request)
	case request.isStart():
		p.touch(request)
		p.list(w, request)
	case request.verb == "":
		p.touch(request)
		p.relay(w, request)
	default:
		p.touch(request)
		p.write(w, request)
		p.touch(request)
	}
}

// touch records that the operator is active.
func (p *Proxy) touch(r *request) {
	if r.resource == history.Leases {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = time.Now()
}

// relay forwards a request and its response.
func (p *Proxy) relay(w http.ResponseWriter, r *request) {
	response, err := p.forward(r.Context(), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	deliver(w, response)
}

// write forwards a write, and injects its fault, if any.
func (p *Proxy) write(w http.ResponseWriter, r *request) {
	record, fault := p.begin(r)
	if fault.Kind == Hold {
		// The watch must be held before the server commits the write.
		p.mu.Lock()
		err := p.hold(r.Context(), fault.Resource)
		p.mu.Unlock()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	if fault.Kind == Stall && fault.Phase == BeforeCommit {
		p.stall()
	} else if fault.Phase == BeforeCommit {
		p.inject(w, fault)
		return
	}
	// A request that was sent is processed even if the process is killed.
	response, err := p.forward(context.WithoutCancel(r.Context()), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.end(record, response)
	if fault.Kind == Stall && fault.Phase == AfterCommit {
		p.stall()
	} else if fault.Phase == AfterCommit {
		p.inject(w, fault)
		return
	}
	if fault.Phase == AfterResponse {
		// Before the operator can send its next write.
		p.retire()
	}
	deliver(w, response)
	if fault.Phase == AfterResponse {
		p.inject(w, fault)
	}
}

// begin numbers a write and returns its fault.
func (p *Proxy) begin(r *request) (record *history.Write, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Context().Value(processKey{}) != p.process {
		panic(http.ErrAbortHandler)
	}
	record = r.record()
	record.At = time.Now()
	if p.armed {
		counter := r.resource
		if counter != history.Events && counter != history.Leases {
			counter = "children and status"
			if len(p.faults) > 0 && p.faults[0].Write == p.numbers[counter]+1 {
				fault = p.faults[0]
				p.faults = p.faults[1:]
				record.Fault = fault.String()
				record.Concealed = fault.Phase == AfterCommit && fault.Kind != Stall
			}
		}
		p.numbers[counter]++
		record.Number = p.numbers[counter]
	}
	p.writes = append(p.writes, record)
	return record, fault
}

// end records the server's response.
func (p *Proxy) end(record *history.Write, response *response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record.Code = response.code
	if record.Committed() {
		p.committed[record.Verb+" "+record.Resource]++
	}
	if result, ok := decode(response.body).(metav1.Object); ok {
		record.Result = result
	}
}

// inject injects a fault into a write. It returns only if the connection stays open.
func (p *Proxy) inject(w http.ResponseWriter, fault Fault) {
	switch {
	case fault.Kind == Crash:
		p.Kill()
		panic(http.ErrAbortHandler)
	case fault.Kind == Rewind:
		p.gates[fault.Resource].set(closed, p.past[fault.Resource])
		p.Kill()
		close(p.held)
		panic(http.ErrAbortHandler)
	case fault.Code == Reset:
		reset(w)
	default:
		deliverError(w, fault.Code)
	}
}

// stall delays a write until Resume is called, even if its process exits.
func (p *Proxy) stall() {
	p.hooks.Stalled()
	close(p.held)
	<-p.resumed
}

// Resume forwards the stalled write.
func (p *Proxy) Resume() { close(p.resumed) }
