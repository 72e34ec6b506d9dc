package app

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestEventsOfManyRays has an API server that answers nothing until a thousand Rays have
// three events each. All are to be written, those of each Ray in their order.
func TestEventsOfManyRays(t *testing.T) {
	kube := fake.NewClientset()
	var mu sync.Mutex
	written := map[string][]string{}
	answer := make(chan struct{})
	kube.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		<-answer
		event := action.(clienttesting.CreateAction).GetObject().(*corev1.Event) //nolint:errcheck,forcetypeassert // that is what is created
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
	close(answer)
	recorder.flush(t.Context())

	mu.Lock()
	defer mu.Unlock()
	if len(written) != rays {
		t.Errorf("there are events about %d Rays, want %d", len(written), rays)
	}
	for ray, messages := range written {
		if !slices.Equal(messages, want) {
			t.Errorf("%s has the events %q, want %q", ray, messages, want)
			break
		}
	}
}

// TestFlushDoesNotWaitForWhatNeverComes has more events than client-go lets wait, so that it
// drops some.
func TestFlushDoesNotWaitForWhatNeverComes(t *testing.T) {
	kube := fake.NewClientset()
	answer := make(chan struct{})
	kube.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		<-answer
		return true, action.(clienttesting.CreateAction).GetObject(), nil //nolint:errcheck,forcetypeassert // that is what is created
	})
	recorder, stop := newEvents(t.Context(), kube)
	defer stop()
	const events = 20000
	for i := range events {
		ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x", UID: types.UID(strconv.Itoa(i))}}
		recorder.Event(ray, corev1.EventTypeNormal, "Test", "")
	}
	close(answer)
	start := time.Now()
	recorder.flush(t.Context())
	if recorder.ended.Load() == events {
		t.Fatal("no event was dropped, so that this shows nothing")
	}
	if took := time.Since(start); took >= flushTimeout {
		t.Errorf("the end took %v, for events that were dropped", took)
	}
}
