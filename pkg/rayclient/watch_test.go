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

package rayclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
)

// scriptedServer is an API server with responses that a test sends. Each request waits for its response.
type scriptedServer struct {
	t         *testing.T
	requests  chan url.Values
	responses chan *http.Response
}

// RoundTrip makes the server the transport of a client.
func (s *scriptedServer) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case s.requests <- r.URL.Query():
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	select {
	case response := <-s.responses:
		response.Request = r
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// respond waits for a request, checks its parameters, and sends the response.
func (s *scriptedServer) respond(code int, body io.ReadCloser, want map[string]string) {
	s.t.Helper()
	select {
	case got := <-s.requests:
		for key, value := range want {
			if got.Get(key) != value {
				s.t.Errorf("the request has %s=%q, want %q, in %v", key, got.Get(key), value, got)
			}
		}
	case <-time.After(time.Minute):
		s.t.Fatal("there was no request")
	}
	s.responses <- &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {runtime.ContentTypeJSON}}, Body: body}
}

// stream responds to a request with a watch, and returns the writer of its events.
func (s *scriptedServer) stream(want map[string]string) io.Writer {
	s.t.Helper()
	reader, writer := io.Pipe()
	s.t.Cleanup(func() { writer.Close() })
	s.respond(http.StatusOK, reader, want)
	return writer
}

func text(format string, args ...any) io.ReadCloser {
	return io.NopCloser(strings.NewReader(fmt.Sprintf(format, args...)))
}

// newScriptedServer returns a server, and an informer of Rays that sends requests to it.
func newScriptedServer(t *testing.T) (*scriptedServer, cache.SharedIndexInformer) {
	t.Helper()
	s := &scriptedServer{t: t, requests: make(chan url.Values), responses: make(chan *http.Response)}
	client, err := New(&rest.Config{Host: "http://scripted", Transport: s, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	informer := rayinformers.NewSharedInformerFactory(client, 0).Ray().V1().Rays().Informer()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		informer.RunWithContext(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s, informer
}

const (
	decodableSpec   = `{"head":{"replicas":1}}`
	undecodableSpec = `{"head":{"replicas":"two"}}`
)

func rayText(name string, version int, spec string) string {
	return fmt.Sprintf(`{"kind":"Ray","apiVersion":"ray.kubeflow.org/v1","metadata":{"name":%q,"namespace":"default","resourceVersion":"%d"},"spec":%s}`, name, version, spec)
}

func frame(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, object) + "\n"
}

// end is the bookmark after the initial events of a watch.
func end(version int) string {
	return frame("BOOKMARK", fmt.Sprintf(`{"kind":"Ray","apiVersion":"ray.kubeflow.org/v1","metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"head":{"template":{}}}}`, version))
}

// awaitCache waits until the cache has exactly these Rays, as "NAME VERSION", with "!" if it is undecodable.
func awaitCache(t *testing.T, informer cache.SharedIndexInformer, want ...string) {
	t.Helper()
	var diff string
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		var got []string
		for _, item := range informer.GetStore().List() {
			ray := item.(*rayv1.Ray) //nolint:errcheck,forcetypeassert // an informer of Rays
			line := ray.Name + " " + ray.ResourceVersion
			if _, undecodable := Undecodable(ray); undecodable {
				line += "!"
			}
			got = append(got, line)
		}
		slices.Sort(got)
		diff = cmp.Diff(want, got)
		return diff == "" && informer.HasSynced(), nil
	})
	if err != nil {
		t.Fatalf("cache (-want +got):\n%s", diff)
	}
}

func write(t *testing.T, to io.Writer, frames ...string) {
	t.Helper()
	for _, frame := range frames {
		if _, err := io.WriteString(to, frame); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWatchList sends an undecodable Ray in every kind of frame of a watch.
func TestWatchList(t *testing.T) {
	s, informer := newScriptedServer(t)
	streaming := map[string]string{"watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}

	watch := s.stream(streaming)
	write(t, watch,
		frame("ADDED", rayText("a", 1, undecodableSpec)),
		frame("ADDED", rayText("b", 2, decodableSpec)),
		end(10))
	awaitCache(t, informer, "a 1!", "b 2")
	if got := informer.LastSyncResourceVersion(); got != "10" {
		t.Errorf("the list has the resourceVersion %s, want 10", got)
	}

	write(t, watch,
		frame("MODIFIED", rayText("a", 11, decodableSpec)),
		frame("MODIFIED", rayText("b", 12, undecodableSpec)),
		frame("ADDED", rayText("c", 13, undecodableSpec)),
		frame("ADDED", rayText("d", 14, decodableSpec)))
	awaitCache(t, informer, "a 11", "b 12!", "c 13!", "d 14")
	write(t, watch, frame("DELETED", rayText("c", 15, undecodableSpec)))
	awaitCache(t, informer, "a 11", "b 12!", "d 14")

	// An expired resourceVersion ends the watch, and the informer lists again.
	write(t, watch, frame("ERROR", `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","message":"too old","code":410}`))
	watch = s.stream(streaming)
	write(t, watch, frame("ADDED", rayText("e", 20, undecodableSpec)), end(20))
	awaitCache(t, informer, "e 20!")
}

// TestListPages sends undecodable Rays in a paged list, as from a server that cannot stream lists.
func TestListPages(t *testing.T) {
	s, informer := newScriptedServer(t)
	page := func(metadata string, rays ...string) io.ReadCloser {
		return text(`{"kind":"RayList","apiVersion":"ray.kubeflow.org/v1","metadata":%s,"items":[%s]}`, metadata, strings.Join(rays, ","))
	}
	s.respond(http.StatusUnprocessableEntity, text(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`), map[string]string{"sendInitialEvents": "true"})
	s.respond(http.StatusOK, page(`{"resourceVersion":"30","continue":"more","remainingItemCount":2}`, rayText("a", 1, decodableSpec), rayText("b", 2, undecodableSpec)),
		map[string]string{"watch": "", "limit": "500", "continue": ""})
	s.respond(http.StatusOK, page(`{"resourceVersion":"30"}`, rayText("c", 3, undecodableSpec), rayText("d", 4, decodableSpec)),
		map[string]string{"limit": "500", "continue": "more"})
	awaitCache(t, informer, "a 1", "b 2!", "c 3!", "d 4")
	watch := s.stream(map[string]string{"watch": "true", "resourceVersion": "30", "allowWatchBookmarks": "true", "sendInitialEvents": ""})
	write(t, watch, frame("MODIFIED", rayText("d", 31, undecodableSpec)))
	awaitCache(t, informer, "a 1", "b 2!", "c 3!", "d 31!")
}
