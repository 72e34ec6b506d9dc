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

package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
)

// gate passes the frames of the watches of a resource, or holds them back. It never drops a frame from
// a stream: a watch that is canceled must start again.
type gate struct {
	mu    sync.Mutex
	state gateState
	// version is the newest resourceVersion that the operator may have received.
	version string
	// changed is closed when the state changes.
	changed chan struct{}
	// cancel ends the streams.
	cancel map[*http.Request]context.CancelFunc
}

type gateState int

const (
	open gateState = iota
	// closed holds back all frames.
	closed
	// expired ends all streams, and rejects their resumption.
	expired
)

func newGate() *gate {
	return &gate{changed: make(chan struct{}), cancel: map[*http.Request]context.CancelFunc{}}
}

func (g *gate) set(state gateState, version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state, g.version = state, version
	close(g.changed)
	g.changed = make(chan struct{})
	if state == expired {
		for _, cancel := range g.cancel {
			cancel()
		}
	}
}

// join adds a stream to those that end when they expire.
func (g *gate) join(r *http.Request) (ctx context.Context, leave func()) {
	ctx, cancel := context.WithCancel(r.Context())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel[r] = cancel
	return ctx, func() {
		cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.cancel, r)
	}
}

func (g *gate) get() (state gateState, version string, changed chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state, g.version, g.changed
}

// pass waits until a frame may pass, and reports whether it may.
func (g *gate) pass(ctx context.Context) bool {
	for {
		state, _, changed := g.get()
		if state != closed {
			return state == open
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// hold closes the gate of a resource, and then reads the newest resourceVersion that the operator may
// have received. The caller holds the lock.
func (p *Proxy) hold(ctx context.Context, resource string) error {
	gate := p.gates[resource]
	gate.set(closed, "")
	version, err := p.newestVersion(ctx, resource)
	if err != nil {
		return err
	}
	gate.set(closed, version)
	close(p.held)
	return nil
}

// Held is closed once a watch or a write is held.
func (p *Proxy) Held() <-chan struct{} { return p.held }

// Release resumes a watch that is held.
func (p *Proxy) Release(resource string) { p.gates[resource].set(open, "") }

// Expire ends a watch that is held, and rejects its resumption with 410 Gone. So the operator must
// list again, and never receives the events since the hold.
func (p *Proxy) Expire(resource string) { p.gates[resource].set(expired, "") }

// paths are the paths of lists.
var paths = map[string]string{
	"rays":        "/apis/ray.kubeflow.org/v1/rays",
	"services":    "/api/v1/services",
	"deployments": "/apis/apps/v1/deployments",
}

// newestVersion returns the current resourceVersion of the server.
func (p *Proxy) newestVersion(ctx context.Context, resource string) (string, error) {
	target := *p.upstream
	target.Path, target.RawQuery = paths[resource], "limit=1"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/json")
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return "", err
	}
	if list.Metadata.ResourceVersion == "" {
		return "", fmt.Errorf("listing %s: %s", resource, response.Status)
	}
	return list.Metadata.ResourceVersion, nil
}

// list handles the list with which an operator starts. While the watch is held, the list returns the
// state of the watch, as a stale API server would.
func (p *Proxy) list(w http.ResponseWriter, r *request) {
	if gate, found := p.gates[r.resource]; found {
		if state, version, _ := gate.get(); state == closed {
			query := r.URL.Query()
			query.Set("resourceVersion", version)
			query.Set("resourceVersionMatch", "Exact")
			r.URL.RawQuery = query.Encode()
		} else if state == expired {
			gate.set(open, "")
		}
	}
	p.relay(w, r)
}

// watch forwards the frames of a watch through the gate of its resource.
func (p *Proxy) watch(w http.ResponseWriter, r *request) {
	gate, found := p.gates[r.resource]
	if !found {
		panic(http.ErrAbortHandler)
	}
	if state, _, _ := gate.get(); state == expired && (r.isStart() || r.isResumption()) {
		gate.set(open, "")
		if r.isResumption() {
			deliverError(w, http.StatusGone)
			return
		}
	}
	ctx, leave := gate.join(r.Request)
	defer leave()
	response, err := p.roundTrip(ctx, r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	flush := http.NewResponseController(w).Flush
	if err := flush(); err != nil {
		panic(http.ErrAbortHandler)
	}

	frames := make([]byte, 64<<10)
	for {
		n, err := response.Body.Read(frames)
		if n > 0 {
			if !gate.pass(ctx) {
				panic(http.ErrAbortHandler)
			}
			if _, err := w.Write(frames[:n]); err != nil {
				return
			}
			if err := flush(); err != nil {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}
