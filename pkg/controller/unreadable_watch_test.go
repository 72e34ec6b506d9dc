package controller

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// stage is an API server that a test plays itself. Each request waits for its answer.
type stage struct {
	t        *testing.T
	requests chan url.Values
	answers  chan *http.Response
}

// RoundTrip makes the stage the transport of a client.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case s.requests <- r.URL.Query():
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	select {
	case answer := <-s.answers:
		answer.Request = r
		return answer, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// answer awaits a request that has some parameters, and answers it.
func (s *stage) answer(code int, body io.ReadCloser, want map[string]string) {
	s.t.Helper()
	select {
	case got := <-s.requests:
		for key, value := range want {
			if got.Get(key) != value {
				s.t.Errorf("the request has %s=%q, want %q, in %v", key, got.Get(key), value, got)
			}
		}
	case <-time.After(time.Minute):
		s.t.Fatal("the request did not come")
	}
	s.answers <- &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {runtime.ContentTypeJSON}}, Body: body}
}

// stream answers a request with a watch, and returns where its events are to be written.
func (s *stage) stream(want map[string]string) io.Writer {
	s.t.Helper()
	reader, writer := io.Pipe()
	s.t.Cleanup(func() { writer.Close() })
	s.answer(http.StatusOK, reader, want)
	return writer
}

func text(format string, args ...any) io.ReadCloser {
	return io.NopCloser(strings.NewReader(fmt.Sprintf(format, args...)))
}

// newStage returns a stage, and an informer of Rays that plays on it.
func newStage(t *testing.T) (*stage, cache.SharedIndexInformer) {
	t.Helper()
	s := &stage{t: t, requests: make(chan url.Values), answers: make(chan *http.Response)}
	client, err := NewRayClient(&rest.Config{Host: "http://stage", Transport: s, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	informer := newScope(nil, client, metav1.NamespaceAll).rays.Informer()
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
	goodSpec   = `{"head":{"replicas":1}}`
	brokenSpec = `{"head":{"replicas":"two"}}`
)

func rayText(name string, version int, spec string) string {
	return fmt.Sprintf(`{"kind":"Ray","apiVersion":"ray.kubeflow.org/v1","metadata":{"name":%q,"namespace":"default","resourceVersion":"%d"},"spec":%s}`, name, version, spec)
}

func frame(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, object) + "\n"
}

// end is the bookmark that ends the list in a watch.
func end(version int) string {
	return frame("BOOKMARK", fmt.Sprintf(`{"kind":"Ray","apiVersion":"ray.kubeflow.org/v1","metadata":{"resourceVersion":"%d","annotations":{"k8s.io/initial-events-end":"true"}},"spec":{"head":{"template":{}}}}`, version))
}

// awaitCache waits until the cache has some Rays, as "NAME VERSION" with a "!" if it is unreadable.
func awaitCache(t *testing.T, informer cache.SharedIndexInformer, want ...string) {
	t.Helper()
	var diff string
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		var got []string
		for _, item := range informer.GetStore().List() {
			ray := item.(*rayv1.Ray) //nolint:errcheck,forcetypeassert // an informer of Rays
			line := ray.Name + " " + ray.ResourceVersion
			if _, unreadable := ray.Annotations[annotationUnreadable]; unreadable {
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

// TestWatchList has an unreadable Ray in each frame of a watch where one can be.
func TestWatchList(t *testing.T) {
	s, informer := newStage(t)
	streaming := map[string]string{"watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}

	watch := s.stream(streaming)
	write(t, watch,
		frame("ADDED", rayText("a", 1, brokenSpec)),
		frame("ADDED", rayText("b", 2, goodSpec)),
		end(10))
	awaitCache(t, informer, "a 1!", "b 2")
	if got := informer.LastSyncResourceVersion(); got != "10" {
		t.Errorf("the list is of version %s", got)
	}

	write(t, watch,
		frame("MODIFIED", rayText("a", 11, goodSpec)),
		frame("MODIFIED", rayText("b", 12, brokenSpec)),
		frame("ADDED", rayText("c", 13, brokenSpec)),
		frame("ADDED", rayText("d", 14, goodSpec)))
	awaitCache(t, informer, "a 11", "b 12!", "c 13!", "d 14")
	write(t, watch, frame("DELETED", rayText("c", 15, brokenSpec)))
	awaitCache(t, informer, "a 11", "b 12!", "d 14")

	// What is too old ends the watch, and all is listed anew.
	write(t, watch, frame("ERROR", `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","message":"too old","code":410}`))
	watch = s.stream(streaming)
	write(t, watch, frame("ADDED", rayText("e", 20, brokenSpec)), end(20))
	awaitCache(t, informer, "e 20!")
}

// TestListPages has unreadable Rays in a list that comes in pages, as from a server that
// does not stream lists.
func TestListPages(t *testing.T) {
	s, informer := newStage(t)
	page := func(metadata string, rays ...string) io.ReadCloser {
		return text(`{"kind":"RayList","apiVersion":"ray.kubeflow.org/v1","metadata":%s,"items":[%s]}`, metadata, strings.Join(rays, ","))
	}
	s.answer(http.StatusUnprocessableEntity, text(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`), map[string]string{"sendInitialEvents": "true"})
	s.answer(http.StatusOK, page(`{"resourceVersion":"30","continue":"more","remainingItemCount":2}`, rayText("a", 1, goodSpec), rayText("b", 2, brokenSpec)),
		map[string]string{"watch": "", "limit": "500", "continue": ""})
	s.answer(http.StatusOK, page(`{"resourceVersion":"30"}`, rayText("c", 3, brokenSpec), rayText("d", 4, goodSpec)),
		map[string]string{"limit": "500", "continue": "more"})
	awaitCache(t, informer, "a 1", "b 2!", "c 3!", "d 4")
	watch := s.stream(map[string]string{"watch": "true", "resourceVersion": "30", "allowWatchBookmarks": "true", "sendInitialEvents": ""})
	write(t, watch, frame("MODIFIED", rayText("d", 31, brokenSpec)))
	awaitCache(t, informer, "a 1", "b 2!", "c 3!", "d 31!")
}
