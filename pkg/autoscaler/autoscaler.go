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

package autoscaler

import (
	"context"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// pollInterval is the time between two polls of a Ray that works. A poll takes 0.3 ms of CPU with all that belongs
	// to it. Demand reaches the GCS within a second, and a task that waits for a node should not wait longer for the
	// operator.
	pollInterval = time.Second
	// pollJitter is the largest part of an interval that is added to it, so that polls do not come in bursts.
	pollJitter = 0.2
	// maxFailureInterval is the longest interval between two polls of a head that does not answer, and
	// maxStartInterval if it is ready, but not available yet. The interval starts with pollInterval and doubles with
	// each failure.
	maxFailureInterval = 30 * time.Second
	maxStartInterval   = 4 * time.Second
	// pollTimeout is the timeout of all requests of a poll, and stateTimeout that of asking for the state.
	pollTimeout  = 10 * time.Second
	stateTimeout = 2 * time.Second
	// pauseFactor is how many times the duration of a poll passes at least until the next one of the same Ray, so that
	// heads that answer slowly, by intent or not, do not occupy the workers.
	pauseFactor = 5
	// maxRetries is the number of Rays that are polled at the same time although their last poll failed. A head that does
	// not answer occupies a worker until the timeout, and others must not wait for it.
	maxRetries = 3
	// maxScaleDelay is for how long a Deployment can have more replicas than recommended until the recommendation is
	// dropped. The nodes that were drained for it may run again by then.
	maxScaleDelay = 30 * time.Second
)

// Reader reads Rays and their children from caches. The objects are shared and must not be changed.
type Reader interface {
	Ray(key cache.ObjectName) (*rayv1.Ray, error)
	Service(key cache.ObjectName) (*corev1.Service, error)
	Deployment(key cache.ObjectName) (*appsv1.Deployment, error)
}

// Autoscaler polls the GCS of each Ray that has an autoscaled group, and recommends how many workers the
// groups are to have. It writes no Ray and no Deployment: the sync handler takes the recommendation as an input.
type Autoscaler struct {
	reader     Reader
	kubeClient kubernetes.Interface
	gcsClient  *gcs.Client
	// changed is called with each Ray that has a new recommendation.
	changed func(cache.ObjectName)
	clock   clock.WithTickerAndDelayedExecution
	queue   workqueue.TypedDelayingInterface[cache.ObjectName]
	// retries has an element for each poll of a Ray that failed before.
	retries chan struct{}

	mu   sync.Mutex
	rays map[cache.ObjectName]*cluster
}

// cluster is what is known of a Ray that is polled. Its fields belong to the poll, since the queue never has two
// workers poll the same Ray, except for those that Autoscaler.mu guards.
type cluster struct {
	uid types.UID
	// The fields up to address are guarded by Autoscaler.mu. generation is that of the newest spec, and polled that of
	// the last poll, or 0 before the first one.
	generation, polled int64
	recommendation     *Recommendation
	// address is that of the GCS, or empty before the first poll.
	address string

	settings *settings
	memory   Memory
	// answers is whether the GCS has answered the last poll.
	answers bool
	// failures is the number of polls that failed in a row.
	failures int
	token    token
	reported reported
	// pendingSince has, by group, since when nodes are pending.
	pendingSince map[string]time.Time
	// aboveSince has, by group, since when its Deployment has more replicas than recommended.
	aboveSince map[string]time.Time
	// keptUntil has, by Pod, until when a node is not drained, as that failed before.
	keptUntil map[string]time.Time
}

// New returns an autoscaler that does not poll yet. It calls changed with each Ray that has a new recommendation.
func New(reader Reader, kubeClient kubernetes.Interface, changed func(cache.ObjectName), clock clock.WithTickerAndDelayedExecution) *Autoscaler {
	return &Autoscaler{
		reader:     reader,
		kubeClient: kubeClient,
		gcsClient:  gcs.New(),
		changed:    changed,
		clock:      clock,
		queue: workqueue.NewTypedDelayingQueueWithConfig(
			workqueue.TypedDelayingQueueConfig[cache.ObjectName]{Name: "autoscaler", Clock: clock}),
		retries: make(chan struct{}, maxRetries),
		rays:    map[cache.ObjectName]*cluster{},
	}
}

// Recommend returns the newest recommendation for a Ray with an autoscaled group, or nil if there is none. From
// now on, the Ray is polled. A suspended Ray is not: it resumes with the number of workers at creation.
func (a *Autoscaler) Recommend(ray *rayv1.Ray) *Recommendation {
	key := cache.MetaObjectToName(ray)
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.rays[key]
	if c != nil && (c.uid != ray.UID || resources.IsSuspended(ray)) {
		a.forget(key, c)
		c = nil
	}
	if resources.IsSuspended(ray) {
		return nil
	}
	if c == nil {
		c = &cluster{uid: ray.UID, aboveSince: map[string]time.Time{}, keptUntil: map[string]time.Time{}}
		a.rays[key] = c
	}
	if c.generation != ray.Generation {
		c.generation = ray.Generation
		a.queue.Add(key)
	}
	if c.recommendation == nil {
		return nil
	}
	r := *c.recommendation
	r.Outdated = r.decided && c.polled != ray.Generation
	return &r
}

// Run polls with a number of workers until ctx is done, and returns when all have stopped.
func (a *Autoscaler) Run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for a.processNextWorkItem(ctx) {
			}
		})
	}
	<-ctx.Done()
	a.queue.ShutDown()
	wg.Wait()
	a.gcsClient.Close()
}

// processNextWorkItem polls the next Ray of the queue. It returns false if the queue is shut down.
func (a *Autoscaler) processNextWorkItem(ctx context.Context) bool {
	key, shutdown := a.queue.Get()
	if shutdown {
		return false
	}
	defer a.queue.Done(key)
	ctx = klog.NewContext(ctx, klog.LoggerWithValues(klog.FromContext(ctx), "ray", key))
	if after := a.pollSafely(ctx, key); after > 0 && ctx.Err() == nil {
		a.queue.AddAfter(key, wait.Jitter(after, pollJitter))
	}
	return true
}

// known returns what is known of a Ray, or nil if it is not to be polled.
func (a *Autoscaler) known(key cache.ObjectName, ray *rayv1.Ray) *cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.rays[key]
	if c != nil && (ray == nil || ray.UID != c.uid || ray.DeletionTimestamp != nil || !resources.IsAutoscaled(ray)) {
		a.forget(key, c)
		c = nil
	}
	return c
}

// forget drops what is known of a Ray. The caller must have locked a.mu.
func (a *Autoscaler) forget(key cache.ObjectName, c *cluster) {
	delete(a.rays, key)
	if c.address != "" {
		a.gcsClient.Forget(c.address)
	}
}

// finish ends a poll for a generation of a Ray. From now on, the recommendation is not outdated, whatever the result of
// the poll: bounds of the spec must not wait for a GCS that is away.
func (a *Autoscaler) finish(key cache.ObjectName, c *cluster, generation int64) {
	a.mu.Lock()
	forgotten := a.rays[key] != c
	isNew := !forgotten && c.polled != 0 && c.polled != generation
	c.polled = generation
	a.mu.Unlock()
	switch {
	case forgotten && c.address != "":
		a.gcsClient.Forget(c.address) // a request may have opened another connection since
	case isNew:
		a.changed(key)
	}
}

// recommend publishes a recommendation, if it is a new one.
func (a *Autoscaler) recommend(key cache.ObjectName, c *cluster, r *Recommendation) {
	a.mu.Lock()
	isNew := a.rays[key] == c && !r.equals(c.recommendation)
	if isNew {
		c.recommendation = r
	}
	a.mu.Unlock()
	if isNew {
		a.changed(key)
	}
}
