// Package proxy stands between one operator and the API server, and makes things go wrong
// at exactly one place: it counts what the operator writes, and does to the write of a
// given number what a Fault says. What it does is always something that a real network and
// a real server may do; above all, it never drops a part of a history.
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

// Proxy is one operator's way to the API server.
type Proxy struct {
	upstream  *url.URL
	transport http.RoundTripper
	listener  net.Listener
	server    *http.Server
	gates     map[string]*gate

	hooks Hooks

	mu sync.Mutex
	// process counts the operator's processes. Connections belong to one of them, so that
	// nothing which a process sent before it was killed arrives after that.
	process int
	armed   bool
	faults  []Fault
	numbers map[string]int
	writes  []*history.Write
	done    map[string]int
	active  time.Time
	held    chan struct{}
	resumed chan struct{}
	broken  map[string]bool
	// past has the resourceVersions of when the faults were armed.
	past map[string]string
}

// Hooks is what a proxy does besides what it does to requests.
type Hooks struct {
	// Crash ends the operator's process, and returns when it is no more.
	Crash func()
	// Stalled is called when a write is stalled.
	Stalled func()
}

// New returns a proxy to the server of config, with its credentials.
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
		done:      map[string]int{},
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
	go p.server.Serve(listener) //nolint:errcheck // It ends when Close is called.
	return p, nil
}

// processKey finds in the context of a request which process sent it.
type processKey struct{}

// URL is where the operator finds the API server.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close ends all connections.
func (p *Proxy) Close() { p.server.Close() }

// Arm starts to count writes, and prepares the faults.
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

// Pending returns the faults that have not happened yet.
func (p *Proxy) Pending() []Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.faults)
}

// Writes returns what the operator has written, or tried to.
func (p *Proxy) Writes() []history.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes := make([]history.Write, 0, len(p.writes))
	for _, write := range p.writes {
		writes = append(writes, *write)
	}
	return writes
}

// Take returns what the operator has written of what matches, and forgets it. So a proxy
// that serves many cases does not remember all of them.
func (p *Proxy) Take(matches func(*history.Write) bool) []history.Write {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []history.Write
	p.writes = slices.DeleteFunc(p.writes, func(write *history.Write) bool {
		// Without a code it is on its way.
		if write.Code == 0 || !matches(write) {
			return false
		}
		taken = append(taken, *write)
		return true
	})
	return taken
}

// Done returns how many writes the server has done, by verb and resource, such as
// "update rays/status".
func (p *Proxy) Done() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.done)
}

// LastActive returns when the operator last made a request or was answered, its lease aside.
func (p *Proxy) LastActive() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active
}

// Break lets all requests for a resource fail from now on, or lets them pass again.
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

// alive tells whether the process that sent a request still counts.
func (p *Proxy) alive(r *http.Request) bool {
	return r.Context().Value(processKey{}) == p.currentProcess()
}

// Kill ends the operator's process. Nothing that it has sent and that was not passed on
// yet will be.
func (p *Proxy) Kill() {
	p.retire()
	p.hooks.Crash()
}

// retire makes the operator's process count no more.
func (p *Proxy) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process++
}

// ServeHTTP passes a request on, as far as no fault is to hit it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !p.alive(r) {
		panic(http.ErrAbortHandler)
	}
	request := newRequest(r, body)
	switch {
	case p.isBroken(request.resource):
		answerError(w, http.StatusServiceUnavailable)
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

// touch notes that the operator is active.
func (p *Proxy) touch(r *request) {
	if r.resource == history.Leases {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = time.Now()
}

// relay passes a request on as it is, and its answer back.
func (p *Proxy) relay(w http.ResponseWriter, r *request) {
	answer, err := p.forward(r.Context(), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	deliver(w, answer)
}

// write passes a write on, with the fault that is meant for it.
func (p *Proxy) write(w http.ResponseWriter, r *request) {
	record, fault := p.begin(r)
	if fault.Kind == Hold {
		// The server must not know the write before the watch is held.
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
		p.strike(w, fault)
		return
	}
	// A process that dies does not take back what it has sent.
	answer, err := p.forward(context.WithoutCancel(r.Context()), r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.end(record, answer)
	if fault.Kind == Stall && fault.Phase == AfterCommit {
		p.stall()
	} else if fault.Phase == AfterCommit {
		p.strike(w, fault)
		return
	}
	if fault.Phase == AfterResponse {
		// Before it can answer with its next write.
		p.retire()
	}
	deliver(w, answer)
	if fault.Phase == AfterResponse {
		p.strike(w, fault)
	}
}

// begin numbers a write and finds its fault.
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

// end notes what the server answered.
func (p *Proxy) end(record *history.Write, answer *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record.Code = answer.code
	if record.Committed() {
		p.done[record.Verb+" "+record.Resource]++
	}
	if result, ok := decode(answer.body).(metav1.Object); ok {
		record.Result = result
	}
}

// strike does to a write what its fault says. It does not return unless the connection
// is still of use.
func (p *Proxy) strike(w http.ResponseWriter, fault Fault) {
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
		answerError(w, fault.Code)
	}
}

// stall keeps a write until Resume is called, whatever becomes of its process.
func (p *Proxy) stall() {
	p.hooks.Stalled()
	close(p.held)
	<-p.resumed
}

// Resume lets a stalled write go on.
func (p *Proxy) Resume() { close(p.resumed) }
