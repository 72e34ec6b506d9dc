package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
)

// version is a generation of a Ray's spec.
type version struct {
	name       cache.ObjectName
	generation int64
}

// tracker knows when each version of each Ray was first seen to be done.
type tracker struct {
	done func(*rayv1.Ray) bool

	mu      sync.Mutex
	moments map[version]*moment
}

// moment is when something happened, or will.
type moment struct {
	reached chan struct{} // closed then
	at      time.Time     // once reached is closed
}

func newTracker(done func(*rayv1.Ray) bool) *tracker {
	return &tracker{done: done, moments: map[version]*moment{}}
}

// watch follows all Rays until ctx is done. It returns when it has seen those that exist.
func (t *tracker) watch(ctx context.Context, client versioned.Interface) error {
	informer := rayinformers.NewSharedInformerFactory(client, 0).Ray().V1().Rays().TypedInformer()
	handler, err := informer.AddTypedEventHandler(cache.TypedResourceEventHandlerFuncs[*rayv1.Ray]{
		AddFunc:    func(ray *rayv1.Ray) { t.see(ray, time.Now()) },
		UpdateFunc: func(_, ray *rayv1.Ray) { t.see(ray, time.Now()) },
	})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return fmt.Errorf("watching Rays: %w", context.Cause(ctx))
	}
	return nil
}

// see notes what a Ray has come to.
func (t *tracker) see(ray *rayv1.Ray, now time.Time) {
	if !t.done(ray) {
		return
	}
	moment := t.moment(version{cache.MetaObjectToName(ray), ray.Generation})
	t.mu.Lock()
	defer t.mu.Unlock()
	if moment.at.IsZero() {
		moment.at = now
		close(moment.reached)
	}
}

// wait waits until a version is done, and returns when that was.
func (t *tracker) wait(ctx context.Context, v version) (time.Time, error) {
	moment := t.moment(v)
	select {
	case <-moment.reached:
		return moment.at, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("generation %d of Ray %s is not done: %w", v.generation, v.name, context.Cause(ctx))
	}
}

func (t *tracker) moment(v version) *moment {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.moments[v] == nil {
		t.moments[v] = &moment{reached: make(chan struct{})}
	}
	return t.moments[v]
}

// observed tells whether the status of a Ray is about its newest generation.
func observed(ray *rayv1.Ray) bool { return ray.Status.ObservedGeneration == ray.Generation }

// healthy tells whether all that the newest generation of a Ray asks for runs.
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
