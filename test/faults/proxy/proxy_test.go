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
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

const (
	namespace   = "/apis/apps/v1/namespaces/a/"
	rayStatus   = "/apis/ray.kubeflow.org/v1/namespaces/a/rays/x/status"
	deployment  = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x-head","uid":"u"}}`
	deployments = namespace + "deployments"
)

// upstream is a fake API server. It responds to a write with the request's body, to a list with
// resourceVersion 7, and to a watch with the lines of frames.
type upstream struct {
	frames chan string

	mu   sync.Mutex
	seen []string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	u.mu.Lock()
	u.seen = append(u.seen, r.Method+" "+r.URL.RequestURI())
	u.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("watch") != "":
		http.NewResponseController(w).Flush()
		for {
			select {
			case frame := <-u.frames:
				fmt.Fprintln(w, frame)
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `{"metadata":{"resourceVersion":"7"}}`)
	default:
		w.WriteHeader(http.StatusCreated)
		w.Write(body) //nolint:errcheck // The test of the client fails.
	}
}

// requests returns the received requests, except those of the proxy itself.
func (u *upstream) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(u.seen), func(request string) bool { return strings.HasSuffix(request, "?limit=1") })
}

// fixture is a proxy between a client and an upstream.
type fixture struct {
	t        *testing.T
	upstream *upstream
	proxy    *Proxy
	client   *http.Client
	crashes  atomic.Int32
}

func newFixture(t *testing.T, faults ...Fault) *fixture {
	t.Helper()
	f := &fixture{t: t, upstream: &upstream{frames: make(chan string, 10)}, client: &http.Client{Transport: &http.Transport{}}}
	server := httptest.NewServer(f.upstream)
	var err error
	f.proxy, err = New(&rest.Config{Host: server.URL}, Hooks{Crash: func() { f.crashes.Add(1) }, Stalled: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.proxy.Close()
		server.CloseClientConnections()
		server.Close()
	})
	if err := f.proxy.Arm(t.Context(), faults); err != nil {
		t.Fatal(err)
	}
	return f
}

// do sends a request and returns the status code, or 0 if there is no response.
func (f *fixture) do(method, path, body string) int {
	f.t.Helper()
	code, _ := f.doWithHeader(method, path, body)
	return code
}

func (f *fixture) doWithHeader(method, path, body string) (int, http.Header) {
	f.t.Helper()
	response, err := f.send(f.t.Context(), method, path, body)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil { // to reuse the connection
		f.t.Errorf("reading a response: %v", err)
	}
	return response.StatusCode, response.Header
}

func (f *fixture) send(ctx context.Context, method, path, body string) (*http.Response, error) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, f.proxy.URL()+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	request.GetBody = nil // so that the client does not retry
	request.Header.Set("Content-Type", "application/json")
	return f.client.Do(request)
}

// checkCrashes checks how often the proxy has killed the operator. This may happen shortly after the
// client has received a response.
func (f *fixture) checkCrashes(want int) {
	f.t.Helper()
	for end := time.Now().Add(10 * time.Second); int(f.crashes.Load()) < want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := int(f.crashes.Load()); got != want {
		f.t.Errorf("got %d crashes, want %d", got, want)
	}
}

// watch starts a watch and returns its lines.
func (f *fixture) watch(path string) <-chan string {
	f.t.Helper()
	response, err := f.send(f.t.Context(), http.MethodGet, path, "") //nolint:bodyclose // It is closed when the watch ends.
	if err != nil {
		f.t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer response.Body.Close()
		defer close(lines)
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}

// expect waits for a line of a watch.
func (f *fixture) expect(lines <-chan string, want string) {
	f.t.Helper()
	select {
	case line := <-lines:
		if line != want {
			f.t.Errorf("got line %q, want %q", line, want)
		}
	case <-time.After(10 * time.Second):
		f.t.Fatalf("timed out waiting for line %q", want)
	}
}

func TestWritesAreRecorded(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPost, deployments, deployment)
	f.do(http.MethodPost, "/api/v1/namespaces/a/events", `{"apiVersion":"v1","kind":"Event","metadata":{"name":"e"}}`)
	f.do(http.MethodPut, rayStatus, `{"apiVersion":"ray.kubeflow.org/v1","kind":"Ray","metadata":{"name":"x","uid":"r"}}`)
	f.do(http.MethodDelete, deployments+"/x-worker", `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"w"}}`)
	f.do(http.MethodGet, deployments+"/x-head", "")

	var got []string
	for _, write := range f.proxy.Writes() {
		got = append(got, fmt.Sprintf("%v UID %q", write.String(), write.Target))
	}
	want := []string{
		`write 1 create deployments/x-head: 201 UID "u"`,
		`write 1 create events/e: 201 UID ""`,
		`write 2 update rays/status/x: 201 UID "r"`,
		`write 3 delete deployments/x-worker: 201 UID "w"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got writes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFaults injects a fault into the second of three writes.
func TestFaults(t *testing.T) {
	tests := []struct {
		fault Fault
		// wantCode is the client's status code of that write, wantSeen the number of writes that reach
		// the server.
		wantCode, wantSeen, wantCrashes int
	}{
		{Fault{Write: 2, Kind: Crash, Phase: BeforeCommit}, 0, 2, 1},
		{Fault{Write: 2, Kind: Crash, Phase: AfterCommit}, 0, 3, 1},
		{Fault{Write: 2, Kind: Crash, Phase: AfterResponse}, 201, 3, 1},
		{Fault{Write: 2, Kind: Fail, Code: 409, Phase: BeforeCommit}, 409, 2, 0},
		{Fault{Write: 2, Kind: Fail, Code: 503, Phase: AfterCommit}, 503, 3, 0},
		{Fault{Write: 2, Kind: Fail, Code: Reset, Phase: BeforeCommit}, 0, 2, 0},
		{Fault{Write: 2, Kind: Fail, Code: Reset, Phase: AfterCommit}, 0, 3, 0},
	}
	for _, test := range tests {
		t.Run(test.fault.String(), func(t *testing.T) {
			f := newFixture(t, test.fault)
			codes := []int{
				f.do(http.MethodPost, deployments, deployment),
				f.do(http.MethodPost, deployments, deployment),
			}
			// The next process starts after the crash and has its own connections.
			f.checkCrashes(test.wantCrashes)
			f.client.CloseIdleConnections()
			codes = append(codes, f.do(http.MethodPost, deployments, deployment))
			if want := []int{201, test.wantCode, 201}; !slices.Equal(codes, want) {
				t.Errorf("got codes %v, want %v", codes, want)
			}
			if got := len(f.upstream.requests()); got != test.wantSeen {
				t.Errorf("the server received %d writes, want %d", got, test.wantSeen)
			}
			if pending := f.proxy.Pending(); len(pending) > 0 {
				t.Errorf("not injected: %v", pending)
			}
		})
	}
}

func TestTooManyRequestsHasRetryAfter(t *testing.T) {
	f := newFixture(t, Fault{Write: 1, Kind: Fail, Code: http.StatusTooManyRequests, Phase: BeforeCommit})
	code, header := f.doWithHeader(http.MethodPost, deployments, deployment)
	if code != http.StatusTooManyRequests || header.Get("Retry-After") != "1" {
		t.Errorf("got %d with Retry-After %q, want 429 with 1", code, header.Get("Retry-After"))
	}
}

// TestKilledProcess sends a request on a connection of a killed process.
func TestKilledProcess(t *testing.T) {
	f := newFixture(t)
	f.do(http.MethodPost, deployments, deployment)
	f.proxy.Kill()
	if code := f.do(http.MethodPost, deployments, deployment); code != 0 {
		t.Errorf("a killed process got a response with %d", code)
	}
	if got := len(f.upstream.requests()); got != 1 {
		t.Errorf("the server received %d writes, want 1", got)
	}
}

func TestHold(t *testing.T) {
	watch := deployments + "?watch=true&resourceVersion=5"
	endings := map[string]func(*fixture, <-chan string){
		"release delivers all held frames in order": func(f *fixture, lines <-chan string) {
			f.proxy.Release(history.Deployments)
			f.expect(lines, "two")
			f.expect(lines, "three")
		},
		"expire ends the watch and rejects its resumption": func(f *fixture, lines <-chan string) {
			f.proxy.Expire(history.Deployments)
			if line, more := <-lines; more {
				f.t.Errorf("got line %q, want the end of the watch", line)
			}
			if code := f.do(http.MethodGet, watch, ""); code != http.StatusGone {
				f.t.Errorf("got %d for the resumption, want 410", code)
			}
			f.upstream.frames <- "four"
			f.expect(f.watch(watch), "four")
		},
		"a list returns the state of the held watch": func(f *fixture, _ <-chan string) {
			f.do(http.MethodGet, deployments+"?resourceVersion=0", "")
			requests := f.upstream.requests()
			if last, want := requests[len(requests)-1], "GET "+deployments+"?resourceVersion=7&resourceVersionMatch=Exact"; last != want {
				f.t.Errorf("got request %q, want %q", last, want)
			}
		},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Fault{Write: 1, Kind: Hold, Resource: history.Deployments})
			lines := f.watch(watch)
			f.upstream.frames <- "one"
			f.expect(lines, "one")
			f.do(http.MethodPost, deployments, deployment)
			<-f.proxy.Held()
			f.upstream.frames <- "two"
			f.upstream.frames <- "three"
			select {
			case line := <-lines:
				t.Errorf("line %q was not held back", line)
			case <-time.After(100 * time.Millisecond):
			}
			end(f, lines)
		})
	}
}

func TestStall(t *testing.T) {
	for phase, before := range map[Phase]int{BeforeCommit: 0, AfterCommit: 1} {
		t.Run(string(phase), func(t *testing.T) {
			f := newFixture(t, Fault{Write: 1, Kind: Stall, Phase: phase})
			responded := make(chan int)
			go func() { responded <- f.do(http.MethodPost, deployments, deployment) }()
			<-f.proxy.Held()
			if got := len(f.upstream.requests()); got != before {
				t.Errorf("the server received %d writes, want %d", got, before)
			}
			f.proxy.Resume()
			if code := <-responded; code != http.StatusCreated {
				t.Errorf("got %d, want 201", code)
			}
		})
	}
}

func TestRewind(t *testing.T) {
	f := newFixture(t, Fault{Write: 1, Kind: Rewind, Phase: AfterCommit, Resource: history.Rays})
	f.do(http.MethodPost, deployments, deployment)
	f.checkCrashes(1)
	rays := "/apis/ray.kubeflow.org/v1/namespaces/a/rays"
	f.client.CloseIdleConnections()
	f.do(http.MethodGet, rays, "")
	f.proxy.Release(history.Rays)
	f.do(http.MethodGet, rays, "")
	want := []string{"POST " + deployments, "GET " + rays + "?resourceVersion=7&resourceVersionMatch=Exact", "GET " + rays}
	if got := f.upstream.requests(); !slices.Equal(got, want) {
		t.Errorf("got requests %q, want %q", got, want)
	}
}

func TestBreak(t *testing.T) {
	f := newFixture(t)
	leases := "/apis/coordination.k8s.io/v1/namespaces/a/leases"
	f.proxy.Break(history.Leases, true)
	if code := f.do(http.MethodPut, leases+"/l", "{}"); code != http.StatusServiceUnavailable {
		t.Errorf("got %d for a broken resource, want 503", code)
	}
	f.proxy.Break(history.Leases, false)
	if code := f.do(http.MethodPut, leases+"/l", "{}"); code != http.StatusCreated {
		t.Errorf("got %d for a restored resource, want 201", code)
	}
	if active := f.proxy.LastActive(); !active.IsZero() {
		t.Error("a request for a lease counts as activity")
	}
}
