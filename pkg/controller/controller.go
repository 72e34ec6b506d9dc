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

package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/consistency"
)

const (
	// minRetryDelay and maxRetryDelay bound the delay until a Ray is synced again after an error. It
	// doubles with each failure of that Ray. There is no limit over all Rays, so that a failing Ray
	// does not delay others.
	minRetryDelay = 5 * time.Millisecond
	maxRetryDelay = 30 * time.Second

	// maxStaleRetryDelay bounds the delay after a sync that read a stale cache; it starts with
	// minRetryDelay as well. These retries are not failures, and do not count as such.
	maxStaleRetryDelay = time.Second

	// blockedRetryDelay is the time until a blocked Ray is synced again. Usually an event of the object
	// that blocks it comes first.
	blockedRetryDelay = 10 * time.Second

	// drainTimeout bounds how long Run continues with queued work during a shutdown. It is less than
	// the default termination grace period of a Pod, 30 seconds.
	drainTimeout = 15 * time.Second
)

// Controller reconciles Rays: their children and their status.
type Controller struct {
	reconciler reconciler
	synced     []cache.InformerSynced
	queue      workqueue.TypedRateLimitingInterface[cache.ObjectName]
	// stale has the backoff of Rays with stale caches.
	stale workqueue.TypedRateLimiter[cache.ObjectName]
	clock clock.WithTickerAndDelayedExecution
	// running is set while workers run.
	running atomic.Bool
}

// New returns a controller that reads from informers and writes with the two clients. The recommender may be nil: then
// autoscaled groups keep their replicas.
func New(kubeClient kubernetes.Interface, rayClient versioned.Interface, informers *Informers, recommender Recommender, recorder record.EventRecorder, clock clock.WithTickerAndDelayedExecution) (*Controller, error) {
	store := consistency.New(func(namespace, resource string) consistency.Reader {
		return cachesFor(informers.caches, namespace).stores[resource]
	})
	c := &Controller{
		reconciler: reconciler{
			childWriter: childWriter{
				kubeClient: kubeClient, rayClient: rayClient, consistency: store, memory: newMemory(), recorder: recorder,
				clock: clock,
			},
			caches:       informers.caches,
			recommender:  recommender,
			causes:       newCauseFinder(kubeClient, clock),
			statusWriter: newStatusWriter(rayClient, store, recorder, clock),
		},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](minRetryDelay, maxRetryDelay),
			workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{Name: "ray", Clock: clock},
		),
		stale: workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](minRetryDelay, maxStaleRetryDelay),
		clock: clock,
	}
	for _, scope := range informers.scopes {
		if err := c.watch(scope); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// watch enqueues the Rays of a scope when they or their children change.
func (c *Controller) watch(s *scope) error {
	err := s.rays.TypedInformer().AddTypedIndexers(cache.TypedIndexers[*rayv1.Ray]{childNameIndex: indexChildNames})
	if err != nil {
		return fmt.Errorf("indexing Rays: %w", err)
	}
	err = s.deployments.TypedInformer().AddTypedIndexers(cache.TypedIndexers[*appsv1.Deployment]{rayUIDIndex: indexRayUID})
	if err != nil {
		return fmt.Errorf("indexing Deployments: %w", err)
	}
	rays, err := s.rays.TypedInformer().AddTypedEventHandler(rayHandler(c))
	if err != nil {
		return fmt.Errorf("watching Rays: %w", err)
	}
	services, err := s.services.TypedInformer().AddTypedEventHandler(childHandler[*corev1.Service](c))
	if err != nil {
		return fmt.Errorf("watching Services: %w", err)
	}
	deployments, err := s.deployments.TypedInformer().AddTypedEventHandler(childHandler[*appsv1.Deployment](c))
	if err != nil {
		return fmt.Errorf("watching Deployments: %w", err)
	}
	c.synced = append(c.synced, rays.HasSynced, services.HasSynced, deployments.HasSynced)
	return nil
}

// Run syncs Rays with a number of workers until ctx is done. Then it finishes what is queued, within
// drainTimeout, and returns when all workers have stopped.
func (c *Controller) Run(ctx context.Context, workers int) error {
	logger := klog.FromContext(ctx)
	if !cache.WaitForNamedCacheSyncWithContext(ctx, c.synced...) {
		return fmt.Errorf("the controller was stopped before its caches were synced: %w", context.Cause(ctx))
	}

	// A sync that has started is finished even if ctx is done meanwhile.
	syncCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	c.running.Store(true)
	defer c.running.Store(false)
	rays, err := allRays(c.reconciler.caches)
	if err != nil {
		return err
	}
	for _, ray := range rays {
		c.queue.Add(cache.MetaObjectToName(ray))
	}
	logger.Info("Starting workers", "count", workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c.processNextWorkItem(syncCtx) {
			}
		})
	}

	<-ctx.Done()
	logger.Info("Draining the queue", "length", c.queue.Len())
	defer c.clock.AfterFunc(drainTimeout, cancel).Stop()
	c.queue.ShutDownWithDrain()
	wg.Wait()
	logger.Info("Workers have stopped")
	return nil
}

// Collector returns the collector of the metrics about Rays.
func (c *Controller) Collector() metrics.StableCollector {
	return &rayCollector{caches: c.reconciler.caches, running: &c.running}
}

// processNextWorkItem syncs the next Ray of the queue. It returns false if the queue is shut down and
// empty, or ctx is done.
func (c *Controller) processNextWorkItem(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	if ctx.Err() != nil {
		return false // drainTimeout is exceeded
	}

	logger := klog.LoggerWithValues(klog.FromContext(ctx), "ray", key)
	requeueAfter, err := c.syncSafely(klog.NewContext(ctx, logger), key)
	c.requeue(logger, key, requeueAfter, err)
	return true
}

// syncSafely syncs a Ray and returns a panic as an error, so that a bug that one Ray triggers does not
// stop the work on all others.
func (c *Controller) syncSafely(ctx context.Context, key cache.ObjectName) (requeueAfter time.Duration, err error) {
	defer observeSync(c.clock, c.clock.Now())
	defer func() {
		if cause := recover(); cause != nil {
			klog.FromContext(ctx).Error(nil, "Panic in sync, which is a bug in the operator", "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanic, cause)
		}
	}()
	return c.reconciler.sync(ctx, key)
}

// requeue decides when a Ray is synced again.
func (c *Controller) requeue(logger klog.Logger, key cache.ObjectName, after time.Duration, err error) {
	if errors.Is(err, errStale) {
		logger.V(4).Info("Retrying when the caches are up to date", "reason", err)
		c.queue.AddAfter(key, c.stale.When(key))
		return
	}
	c.stale.Forget(key)
	switch {
	case err == nil:
		c.queue.Forget(key)
		if after > 0 {
			c.queue.AddAfter(key, after)
		}
	case isBlocked(err):
		logger.V(2).Info("Blocked", "reason", err)
		c.queue.Forget(key)
		c.queue.AddAfter(key, earliest(after, blockedRetryDelay))
	case errors.Is(err, context.Canceled):
		logger.V(2).Info("Stopped during a sync")
	default:
		syncErrors.WithLabelValues(errorReason(err)).Inc()
		logger.Error(err, "Sync failed, retrying with backoff", "failures", c.queue.NumRequeues(key)+1)
		c.queue.AddRateLimited(key)
		if after > 0 {
			c.queue.AddAfter(key, after)
		}
	}
}

// Enqueue adds a Ray to the queue. A standby replica adds none: it syncs all Rays when it becomes the
// leader.
func (c *Controller) Enqueue(ray cache.ObjectName) {
	if c.running.Load() {
		c.queue.Add(ray)
	}
}

// rayHandler enqueues Rays that change, unless it is only their status, by the controller itself.
func rayHandler(c *Controller) cache.TypedResourceEventHandlerFuncs[*rayv1.Ray] {
	return cache.TypedResourceEventHandlerFuncs[*rayv1.Ray]{
		AddFunc: func(ray *rayv1.Ray) {
			if c.running.Load() {
				c.reconciler.memory.sawCreation(ray)
			}
			c.Enqueue(cache.MetaObjectToName(ray))
		},
		UpdateFunc: func(before, after *rayv1.Ray) {
			if !c.reconciler.statusWriter.isOwnUpdate(before, after) {
				c.Enqueue(cache.MetaObjectToName(after))
			}
		},
		DeleteFunc: func(ray cache.DeletedObject[*rayv1.Ray]) { c.Enqueue(ray.GetObjectName()) },
	}
}

// childHandler enqueues the Ray that controls a child, and the Rays that need its name: they may wait
// for another client to delete it.
func childHandler[T childObject](c *Controller) cache.TypedResourceEventHandlerFuncs[T] {
	enqueue := func(name cache.ObjectName, child T) {
		var none T
		if child != none {
			if owner := metav1.GetControllerOfNoCopy(child); owner != nil && isRay(owner) {
				c.Enqueue(cache.NewObjectName(name.Namespace, owner.Name))
			}
		}
		for _, ray := range raysWithChild(c.reconciler.caches, name) {
			c.Enqueue(ray)
		}
	}
	return cache.TypedResourceEventHandlerFuncs[T]{
		AddFunc: func(child T) { enqueue(cache.MetaObjectToName(child), child) },
		UpdateFunc: func(before, after T) {
			enqueue(cache.MetaObjectToName(before), before) // its owner may have been another one
			enqueue(cache.MetaObjectToName(after), after)
		},
		DeleteFunc: func(child cache.DeletedObject[T]) { enqueue(child.GetObjectName(), child.OptionalObj) },
	}
}
