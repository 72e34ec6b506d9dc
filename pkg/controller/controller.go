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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// minRetryDelay and maxRetryDelay bound the delay before a Ray whose sync failed is
	// synced again. It doubles with each failure of that Ray, and of that Ray alone:
	// there is no limit that Rays share, so a broken one does not make others wait longer.
	minRetryDelay = 5 * time.Millisecond
	maxRetryDelay = 30 * time.Second

	// waitDelay is how long a Ray waits that can go on only when somebody else acts,
	// such as removing an object whose name it needs. Most often an event comes first.
	waitDelay = 10 * time.Second

	// requestTimeout bounds the requests that one sync makes for children, and then its status
	// write.
	requestTimeout = 30 * time.Second

	// drainTimeout bounds how long Run goes on with queued work after it was told to
	// stop. It fits into the 30 seconds that a Pod has by default.
	drainTimeout = 15 * time.Second
)

// Controller keeps the children and the status of Rays as they should be.
type Controller struct {
	kube kubernetes.Interface
	ray  versioned.Interface

	// caches are by namespace. Those of metav1.NamespaceAll are for all.
	caches map[string]*caches
	synced []cache.InformerSynced

	queue     workqueue.TypedRateLimitingInterface[cache.ObjectName]
	recorder  record.EventRecorder
	clock     clock.WithTickerAndDelayedExecution
	ownWrites *ownWrites
	progress  *progress
	refusals  *refusals
	// altered has, per Ray, the status that was sent last, where the API server has stored
	// another one: its schema may be an older one, which lacks a field, or admission insists.
	altered sync.Map
	// running is set while Rays are synced.
	running atomic.Bool
}

// New returns a controller that reads from informers and writes with the two clients.
func New(kube kubernetes.Interface, ray versioned.Interface, informers *Informers, recorder record.EventRecorder, clock clock.WithTickerAndDelayedExecution) (*Controller, error) {
	c := &Controller{
		kube:   kube,
		ray:    ray,
		caches: map[string]*caches{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](minRetryDelay, maxRetryDelay),
			workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{Name: "ray", Clock: clock},
		),
		recorder: recorder,
		clock:    clock,
		progress: newProgress(),
		refusals: newRefusals(),
	}
	c.ownWrites = newOwnWrites(func(namespace, resource string) versionedStore {
		return c.cachesOf(namespace).stores[resource]
	})
	for namespace, scope := range informers.scopes {
		c.caches[namespace] = scope.caches()
		if err := c.listen(scope); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// listen has the Rays of a scope synced when they or their children change.
func (c *Controller) listen(s *scope) error {
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

// cachesOf returns the caches that have what is in a namespace.
func (c *Controller) cachesOf(namespace string) *caches {
	if all, found := c.caches[metav1.NamespaceAll]; found {
		return all
	}
	return c.caches[namespace]
}

// Run syncs Rays with so many workers until ctx is done. Then it finishes what is
// queued, for drainTimeout at most, and returns when no worker is left.
func (c *Controller) Run(ctx context.Context, workers int) error {
	logger := klog.FromContext(ctx)
	if !cache.WaitForNamedCacheSyncWithContext(ctx, c.synced...) {
		return fmt.Errorf("caches did not fill before the controller was stopped: %w", context.Cause(ctx))
	}

	// A sync that has begun is finished, also when ctx is done in the middle of it.
	syncCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	c.running.Store(true)
	defer c.running.Store(false)
	if err := c.enqueueAll(); err != nil {
		return err
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

// processNextWorkItem syncs the next Ray of the queue. It returns false once the queue
// is shut down and empty, or ctx is done.
func (c *Controller) processNextWorkItem(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	if ctx.Err() != nil {
		return false // draining has taken too long
	}

	logger := klog.LoggerWithValues(klog.FromContext(ctx), "ray", key)
	c.handleErr(logger, key, c.syncSafely(klog.NewContext(ctx, logger), key))
	return true
}

// syncSafely is sync, with a panic turned into an error: one Ray that meets a defect
// must not end the work on all others.
func (c *Controller) syncSafely(ctx context.Context, key cache.ObjectName) (err error) {
	defer c.observeSync(c.clock.Now())
	defer func() {
		if cause := recover(); cause != nil {
			klog.FromContext(ctx).Error(nil, "Panic in sync, which is a defect of the operator", "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanic, cause)
		}
	}()
	return c.sync(ctx, key)
}

// handleErr decides when a Ray is synced again.
func (c *Controller) handleErr(logger klog.Logger, key cache.ObjectName, err error) {
	switch {
	case err == nil:
		c.queue.Forget(key)
	case errors.Is(err, errBehind):
		logger.V(4).Info("Syncing again once the caches have caught up", "reason", err)
		c.queue.AddRateLimited(key)
	case waits(err):
		logger.V(2).Info("Waiting", "reason", err)
		c.queue.Forget(key)
		c.queue.AddAfter(key, waitDelay)
	case errors.Is(err, context.Canceled):
		logger.V(2).Info("Stopped in the middle of a sync")
	default:
		syncErrors.WithLabelValues(errorReason(err)).Inc()
		logger.Error(err, "Sync failed, retrying", "failures", c.queue.NumRequeues(key)+1)
		c.queue.AddRateLimited(key)
	}
}

// enqueue has a Ray synced. A replica that stands by takes no notes of what changes, which
// nobody would ever take from its queue: it syncs all Rays when it begins.
func (c *Controller) enqueue(ray cache.ObjectName) {
	if c.running.Load() {
		c.queue.Add(ray)
	}
}

// enqueueAll has all Rays synced.
func (c *Controller) enqueueAll() error {
	rays, err := c.allRays()
	for _, ray := range rays {
		c.queue.Add(cache.MetaObjectToName(ray))
	}
	return err
}

// allRays returns the Rays of all caches. Beside an error it returns those that it has.
func (c *Controller) allRays() ([]*rayv1.Ray, error) {
	var all []*rayv1.Ray
	var errs []error
	for _, caches := range c.caches {
		rays, err := caches.rays.List(labels.Everything())
		if err != nil {
			errs = append(errs, fmt.Errorf("listing Rays: %w", err))
		}
		all = append(all, rays...)
	}
	return all, errors.Join(errs...)
}

// rayHandler wakes up a Ray that has changed.
func rayHandler(c *Controller) cache.TypedResourceEventHandlerFuncs[*rayv1.Ray] {
	return cache.TypedResourceEventHandlerFuncs[*rayv1.Ray]{
		AddFunc:    func(ray *rayv1.Ray) { c.enqueue(cache.MetaObjectToName(ray)) },
		UpdateFunc: func(_, ray *rayv1.Ray) { c.enqueue(cache.MetaObjectToName(ray)) },
		DeleteFunc: func(ray cache.DeletedObject[*rayv1.Ray]) { c.enqueue(ray.GetObjectName()) },
	}
}

// childHandler wakes up the Ray whose child has changed. It goes by the child's name, not
// by its owner: a Ray also waits for others to give up a name that it needs.
func childHandler[T cache.Object](c *Controller) cache.TypedResourceEventHandlerFuncs[T] {
	enqueue := func(child klog.KMetadata) {
		c.enqueue(cache.ObjectName{Namespace: child.GetNamespace(), Name: resources.RayName(child.GetName())})
	}
	return cache.TypedResourceEventHandlerFuncs[T]{
		AddFunc:    func(child T) { enqueue(child) },
		UpdateFunc: func(_, child T) { enqueue(child) },
		DeleteFunc: func(child cache.DeletedObject[T]) { enqueue(child) },
	}
}
