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

package app

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestEventsOfManyRays records three events for each of 1000 Rays while the API server does not
// respond. All events must be written, in order for each Ray.
func TestEventsOfManyRays(t *testing.T) {
	kube := fake.NewClientset()
	var mu sync.Mutex
	written := map[string][]string{}
	respond := make(chan struct{})
	kube.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		<-respond
		event := action.(clienttesting.CreateAction).GetObject().(*corev1.Event) //nolint:errcheck,forcetypeassert // only events are created
		mu.Lock()
		defer mu.Unlock()
		written[event.InvolvedObject.Name] = append(written[event.InvolvedObject.Name], event.Message)
		return true, event, nil
	})
	recorder, stop := newEvents(t.Context(), kube)
	defer stop()

	const rays = 1000
	want := []string{"the first", "the second", "the third"}
	for i := range rays {
		name := fmt.Sprintf("ray-%d", i)
		ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
		for _, message := range want {
			recorder.Event(ray, corev1.EventTypeNormal, "Test", message)
		}
	}
	close(respond)
	recorder.flush(t.Context())

	mu.Lock()
	defer mu.Unlock()
	if len(written) != rays {
		t.Errorf("got events of %d Rays, want %d", len(written), rays)
	}
	for ray, messages := range written {
		if !slices.Equal(messages, want) {
			t.Errorf("got events %q of %s, want %q", messages, ray, want)
			break
		}
	}
}

// TestFlushDoesNotWaitForDroppedEvents records more events than client-go queues, so that some
// are dropped.
func TestFlushDoesNotWaitForDroppedEvents(t *testing.T) {
	kube := fake.NewClientset()
	respond := make(chan struct{})
	kube.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		<-respond
		return true, action.(clienttesting.CreateAction).GetObject(), nil //nolint:errcheck,forcetypeassert // only events are created
	})
	recorder, stop := newEvents(t.Context(), kube)
	defer stop()
	const events = 20000
	for i := range events {
		ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x", UID: types.UID(strconv.Itoa(i))}}
		recorder.Event(ray, corev1.EventTypeNormal, "Test", "")
	}
	close(respond)
	start := time.Now()
	recorder.flush(t.Context())
	if recorder.finished.Load() == events {
		t.Fatal("no event was dropped: the test needs more events")
	}
	if took := time.Since(start); took >= flushTimeout {
		t.Errorf("flush took %v, want less than %v", took, flushTimeout)
	}
}

// eventSink counts writes as the API server stores them.
type eventSink struct {
	writes int
	// counts are by event.
	counts map[string]int32
}

// record passes an event through a correlator, and stores what that does not drop.
func (s *eventSink) record(t *testing.T, correlator *record.EventCorrelator, ray, reason, message string) {
	t.Helper()
	result, err := correlator.EventCorrelate(&corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: "Ray", Name: ray, UID: types.UID(ray)},
		Type:           corev1.EventTypeNormal, Reason: reason, Message: message, Count: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Skip {
		s.writes++
		s.counts[ray+" "+reason+" "+result.Event.Message] = result.Event.Count
		correlator.UpdateState(result.Event)
	}
}

// newEventSink returns a sink and a correlator with the operator's options.
func newEventSink() (*eventSink, *record.EventCorrelator) {
	return &eventSink{counts: map[string]int32{}}, record.NewEventCorrelatorWithOptions(correlatorOptions)
}

// TestEventAfterMany records an event for the first time after many others about the same Ray.
func TestEventAfterMany(t *testing.T) {
	sink, correlator := newEventSink()
	const updates = 1000
	for range updates {
		sink.record(t, correlator, "x", "SuccessfullyUpdate", "replicas")
	}
	if got := sink.counts["x SuccessfullyUpdate replicas"]; got != messageBurst {
		t.Errorf("at once, the event is recorded with the count %d, want %d", got, messageBurst)
	}
	for _, reason := range []string{"SuccessfullyUpdate", "SuccessfullyDelete", "SuccessfullyCreate"} {
		sink.record(t, correlator, "x", reason, "worker")
		sink.record(t, correlator, "x", reason, "worker")
		if got := sink.counts["x "+reason+" worker"]; got != 2 {
			t.Errorf("%s was recorded %d times, want 2", reason, got)
		}
	}
	sink.record(t, correlator, "y", "SuccessfullyUpdate", "replicas")
	if got := sink.counts["y SuccessfullyUpdate replicas"]; got != 1 {
		t.Errorf("the event of another Ray was recorded %d times, want 1", got)
	}
}

// TestEventOfManyChildren records more events with one reason than client-go lists by default.
func TestEventOfManyChildren(t *testing.T) {
	sink, correlator := newEventSink()
	const children = 20
	for i := range children {
		sink.record(t, correlator, "x", "SuccessfullyCreate", strconv.Itoa(i))
	}
	if len(sink.counts) != children {
		t.Errorf("%d events are recorded, want %d", len(sink.counts), children)
	}
}

// TestRecurringEvents records the same events of one Ray each second for hours. Writes are limited, and
// the last count is not older than the time between two writes.
func TestRecurringEvents(t *testing.T) {
	const (
		seconds   = 4 * 60 * 60
		maxWrites = messageBurst + seconds/60 + 1
	)
	tests := []struct {
		name      string
		message   func(second int) string
		maxWrites int
		minCount  int
	}{
		{"one message", func(int) string { return "a" }, maxWrites, seconds - 60},
		{"two messages", func(second int) string { return strconv.Itoa(second % 2) }, 2 * maxWrites, seconds - 2*60},
		{"a new message each time", strconv.Itoa, maxMessages + maxWrites, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sink, correlator := newEventSink()
			synctest.Test(t, func(t *testing.T) {
				for second := range seconds {
					sink.record(t, correlator, "x", "SuccessfullyUpdate", test.message(second))
					time.Sleep(time.Second)
				}
			})
			if sink.writes > test.maxWrites {
				t.Errorf("%d events caused %d writes, want at most %d", seconds, sink.writes, test.maxWrites)
			}
			total := 0
			for _, count := range sink.counts {
				total += int(count)
			}
			if total < test.minCount {
				t.Errorf("the counts add up to %d, want at least %d", total, test.minCount)
			}
		})
	}
}

// TestRepeatedEvent records an event 30 times. It must be one event, with a count.
func TestRepeatedEvent(t *testing.T) {
	kube := fake.NewClientset()
	recorder, stop := newEvents(t.Context(), kube)
	defer stop()
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x", UID: "u"}}
	for range 30 {
		recorder.Event(ray, corev1.EventTypeNormal, "SuccessfullyUpdate", "replicas")
	}
	recorder.Event(ray, corev1.EventTypeNormal, "SuccessfullyDelete", "worker")
	recorder.flush(t.Context())
	events, err := kube.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int32{}
	for _, event := range events.Items {
		got[event.Reason] += event.Count
	}
	if want := map[string]int32{"SuccessfullyUpdate": 30, "SuccessfullyDelete": 1}; len(events.Items) != len(want) || !maps.Equal(got, want) {
		t.Errorf("%d events are recorded: %v, want %v", len(events.Items), got, want)
	}
}
