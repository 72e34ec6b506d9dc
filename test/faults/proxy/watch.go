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

// gate lets the frames of one resource's watches pass, or keeps them back. It never
// drops one out of a stream: whoever is cut off has to start anew.
type gate struct {
	mu    sync.Mutex
	state gateState
	// version is the resourceVersion up to which the operator may have seen the history.
	version string
	// changed is closed when the state changes.
	changed chan struct{}
	// cut ends the streams.
	cut map[*http.Request]context.CancelFunc
}

type gateState int

const (
	open gateState = iota
	// closed keeps all frames back.
	closed
	// expired cuts off all streams, and lets nobody resume.
	expired
)

func newGate() *gate {
	return &gate{changed: make(chan struct{}), cut: map[*http.Request]context.CancelFunc{}}
}

func (g *gate) set(state gateState, version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state, g.version = state, version
	close(g.changed)
	g.changed = make(chan struct{})
	if state == expired {
		for _, cut := range g.cut {
			cut()
		}
	}
}

// join adds a stream to those that are cut off when they expire.
func (g *gate) join(r *http.Request) (ctx context.Context, leave func()) {
	ctx, cancel := context.WithCancel(r.Context())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut[r] = cancel
	return ctx, func() {
		cancel()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.cut, r)
	}
}

func (g *gate) get() (state gateState, version string, changed chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state, g.version, g.changed
}

// pass waits until a frame may pass. It returns false if it never may.
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

// hold closes the gate of a resource, and then looks up to which resourceVersion the
// operator may have seen. The caller holds the lock.
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

// Release lets a watch go on where it was held.
func (p *Proxy) Release(resource string) { p.gates[resource].set(open, "") }

// Expire ends a watch that is held, and answers the attempt to resume it with 410, so
// that the operator has to list anew and never sees what happened in between.
func (p *Proxy) Expire(resource string) { p.gates[resource].set(expired, "") }

// paths are where resources are listed.
var paths = map[string]string{
	"rays":        "/apis/ray.kubeflow.org/v1/rays",
	"services":    "/api/v1/services",
	"deployments": "/apis/apps/v1/deployments",
}

// newestVersion returns the resourceVersion of the server's state now.
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

// list answers the list with which an operator begins. While the watch is held it gets
// the state that the watch is at: an API server may well be that far behind.
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

// watch passes on a stream of frames, as far as the gate of its resource lets them pass.
func (p *Proxy) watch(w http.ResponseWriter, r *request) {
	gate, found := p.gates[r.resource]
	if !found {
		panic(http.ErrAbortHandler)
	}
	if state, _, _ := gate.get(); state == expired && (r.isStart() || r.isResumption()) {
		gate.set(open, "")
		if r.isResumption() {
			answerError(w, http.StatusGone)
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
