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

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// version is a generation of an object.
type version struct {
	name       cache.ObjectName
	generation int64
}

// object is an object that a tracker can watch.
type object interface {
	comparable
	metav1.Object
}

// tracker records when versions of objects were first observed, and first observed to be done.
type tracker[T object] struct {
	isDone func(T) bool

	mu   sync.Mutex
	seen map[version]time.Time
	done map[version]*moment
}

// moment is the time of an event, which may be in the future.
type moment struct {
	reached chan struct{} // Closed at that time.
	at      time.Time     // Set when reached is closed.
}

func newTracker[T object](isDone func(T) bool) *tracker[T] {
	return &tracker[T]{isDone: isDone, seen: map[version]time.Time{}, done: map[version]*moment{}}
}

// watch watches objects until ctx is done. It returns after all existing objects were observed.
func (t *tracker[T]) watch(ctx context.Context, informer cache.TypedSharedIndexInformer[T]) error {
	handler, err := informer.AddTypedEventHandler(cache.TypedResourceEventHandlerFuncs[T]{
		AddFunc:    func(o T) { t.see(o, time.Now()) },
		UpdateFunc: func(_, o T) { t.see(o, time.Now()) },
	})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return fmt.Errorf("starting a watch: %w", context.Cause(ctx))
	}
	return nil
}

// see records the state of an object.
func (t *tracker[T]) see(o T, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := version{cache.MetaObjectToName(o), o.GetGeneration()}
	if _, found := t.seen[v]; !found {
		t.seen[v] = now
	}
	if moment := t.moment(v); moment.at.IsZero() && t.isDone(o) {
		moment.at = now
		close(moment.reached)
	}
}

// firstSeen returns when a version was first observed.
func (t *tracker[T]) firstSeen(v version) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, found := t.seen[v]
	if !found {
		return at, fmt.Errorf("generation %d of %s was never observed", v.generation, v.name)
	}
	return at, nil
}

// wait waits until a version is done, and returns the time.
func (t *tracker[T]) wait(ctx context.Context, v version) (time.Time, error) {
	t.mu.Lock()
	moment := t.moment(v)
	t.mu.Unlock()
	select {
	case <-moment.reached:
		return moment.at, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("generation %d of %s is not done: %w", v.generation, v.name, context.Cause(ctx))
	}
}

// moment returns the time when a version is done. The caller holds the lock.
func (t *tracker[T]) moment(v version) *moment {
	if t.done[v] == nil {
		t.done[v] = &moment{reached: make(chan struct{})}
	}
	return t.done[v]
}

// observed returns whether the status of a Ray is of its newest generation.
func observed(ray *rayv1.Ray) bool { return ray.Status.ObservedGeneration == ray.Generation }

// healthy returns whether the newest generation of a Ray is healthy.
func healthy(ray *rayv1.Ray) bool {
	if !observed(ray) {
		return false
	}
	for _, condition := range ray.Status.Conditions {
		if condition.Type == rayv1.RayHealth {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// complete returns whether the rollout of the newest generation of a Deployment is complete.
func complete(deployment *appsv1.Deployment) bool {
	status, desired := deployment.Status, *deployment.Spec.Replicas
	return status.ObservedGeneration == deployment.Generation &&
		status.Replicas == desired && status.UpdatedReplicas == desired && status.AvailableReplicas == desired
}
