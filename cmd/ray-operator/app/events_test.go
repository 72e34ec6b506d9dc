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
