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
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
)

// operator is a process of the operator. Its informers do not run: the environment updates their caches
// and calls their handlers.
type operator struct {
	environment *environment
	controller  *Controller
	queue       *modelQueue
	caches      map[string]cache.Indexer
	// position is, by resource, the number of events in the server's history that the cache has processed.
	position map[string]int
	// killed is set when the process was killed. Its requests have no effect then.
	killed bool
	// current is the running sync, or nil.
	current *syncRecord
	// written has the newest resourceVersions in responses to writes.
	written map[objectID]int64
	// recommendation is what the autoscaler recommends, or nil.
	recommendation *autoscaler.Recommendation
	// recommendedFor is the generation of the Ray that it is for.
	recommendedFor int64
	// statusWrite is the last status write, unless another sync has started since.
	statusWrite *fakeWrite
}

// operatorKey is the context key of the process.
type operatorKey struct{}

// syncRecord is what happened in one sync.
type syncRecord struct {
	// ray is the cached Ray at the start.
	ray *rayv1.Ray
	// observed has the objects that the sync can have observed, in caches and in responses.
	observed []object
	// isNew is whether the process saw the creation of the Ray.
	isNew bool
	// recommendation is what the sync has got from the autoscaler.
	recommendation *autoscaler.Recommendation
	// writes and events count successful writes and events about them, by verb, resource and name.
	writes, events map[string]int
	// adopted has the children that the sync adopted.
	adopted sets.Set[string]
}

// startOperator starts a process. Each cache first has as many events of the server's history as
// position has for its resource, or all.
func (e *environment) startOperator(position map[string]int) {
	informers := NewInformers(e.runner.kube, e.runner.ray, []string{metav1.NamespaceAll})
	o := &operator{environment: e, position: map[string]int{}, written: map[objectID]int64{}}
	controller, err := New(e.runner.kube, e.runner.ray, informers, o, recorder{o}, clock.RealClock{})
	if err != nil {
		panic(err) // informers that were not started accept all handlers
	}
	o.queue = &modelQueue{TypedRateLimitingInterface: controller.queue, operator: o}
	controller.queue = o.queue
	o.controller = controller
	controller.running.Store(true)
	o.caches = controller.reconciler.caches[metav1.NamespaceAll].stores
	e.operator = o
	for _, resource := range modelResources {
		count, found := position[resource]
		if !found {
			count = len(e.server.history)
		}
		o.list(resource, count)
	}
	ctx := context.WithValue(klog.NewContext(context.Background(), klog.New(logSink{o})), operatorKey{}, o)
	go func() {
		for controller.processNextWorkItem(ctx) {
		}
	}()
}

// stopOperator kills the process.
func (e *environment) stopOperator() {
	e.operator.killed = true
	e.operator.queue.ShutDown()
	e.advance(0)
}

// list replaces a cache by the state after a number of events of the server's history.
func (o *operator) list(resource string, count int) {
	o.position[resource] = count
	revision := "100"
	items := map[string]object{}
	for _, event := range o.environment.server.history[:count] {
		revision = event.object.GetResourceVersion()
		if event.resource != resource {
			continue
		}
		delete(items, event.object.GetName())
		if !event.deleted && isWatched(event.object) {
			items[event.object.GetName()] = event.object
		}
	}
	old := map[string]object{}
	for _, item := range o.caches[resource].List() {
		before := item.(object) //nolint:errcheck,forcetypeassert // apply and list add objects only
		old[before.GetName()] = before
	}
	names := slices.Sorted(maps.Keys(items))
	var list []any
	for _, name := range names {
		list = append(list, o.cached(items[name]))
	}
	if err := o.caches[resource].Replace(list, revision); err != nil {
		panic(err) // all objects have a key
	}
	for i, name := range names {
		switch before := old[name]; {
		case before == nil:
			o.notify(resource, nil, list[i], false)
		case before.GetResourceVersion() != items[name].GetResourceVersion():
			o.notify(resource, before, list[i], false)
		}
		delete(old, name)
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		o.notify(resource, old[name], nil, true)
	}
}

// isWatched returns whether the operator watches an object.
func isWatched(o object) bool {
	_, labeled := o.GetLabels()[rayv1.LabelName]
	return labeled || idOf(o).resource == rayResource
}

// cached returns an object as a cache has it.
func (o *operator) cached(from object) object {
	stripped, err := strip(clone(from))
	if err != nil {
		panic(err) // it has metadata
	}
	return o.recordObserved(stripped.(object)) //nolint:errcheck,forcetypeassert // strip keeps the type
}

// recordObserved records that the running sync can have observed an object.
func (o *operator) recordObserved(observed object) object {
	if o.current != nil {
		o.current.observed = append(o.current.observed, observed)
	}
	return observed
}

// deliver delivers the next watch event of a resource. It returns false if there is none.
func (o *operator) deliver(resource string) bool {
	history := o.environment.server.history
	for o.position[resource] < len(history) {
		event := history[o.position[resource]]
		o.position[resource]++
		if event.resource == resource {
			o.apply(event)
			return true
		}
	}
	return false
}

// deliverAll brings all caches up to date.
func (o *operator) deliverAll() {
	for _, resource := range modelResources {
		for o.deliver(resource) {
		}
	}
}

// apply updates a cache as an informer does for a watch event. To a watch with a label selector, an
// object that loses the label is deleted, and one without it does not exist.
func (o *operator) apply(event watchEvent) {
	indexer, next := o.caches[event.resource], o.cached(event.object)
	old, exists, err := indexer.GetByKey(namespace + "/" + next.GetName())
	switch gone := event.deleted || !isWatched(event.object); {
	case err != nil:
	case gone && !exists:
		return
	case gone:
		err = indexer.Delete(next)
		o.notify(event.resource, next, nil, false)
	default:
		err = indexer.Update(next)
		o.notify(event.resource, old, next, false)
	}
	if err != nil {
		panic(err) // all objects have a key
	}
}

// notify calls the handlers of a resource. With missed, the cache did not get the deletion event.
func (o *operator) notify(resource string, old, next any, missed bool) {
	enqueued := len(o.queue.added)
	switch resource {
	case rayResource:
		o.sawRay(next)
		notify(rayHandler(o.controller), old, next, missed)
		o.environment.checker.checkEnqueued(old, next, len(o.queue.added) > enqueued)
	case serviceResource:
		notify(childHandler[*corev1.Service](o.controller), old, next, missed)
	case deploymentResource:
		notify(childHandler[*appsv1.Deployment](o.controller), old, next, missed)
	}
}

func notify[T cache.Object](handler cache.TypedResourceEventHandlerFuncs[T], old, next any, missed bool) {
	before, _ := old.(T) // nil if there is none
	after, ok := next.(T)
	switch {
	case ok && old == nil:
		handler.OnAdd(after, false)
	case ok:
		handler.OnUpdate(before, after)
	case missed:
		key := namespace + "/" + old.(object).GetName() //nolint:errcheck,forcetypeassert // old or next is an object
		handler.OnDelete(cache.DeletedObject[T]{OptionalObj: before, FinalStateUnknown: &cache.DeletedFinalStateUnknown{Key: key, Obj: old}})
	default:
		handler.OnDelete(cache.DeletedObject[T]{OptionalObj: before})
	}
}

// modelQueue is the real queue, except that it records the start and the end of a sync, and adds keys
// from handlers at the end of a step. So the number of events before a sync is deterministic.
type modelQueue struct {
	workqueue.TypedRateLimitingInterface[cache.ObjectName]
	operator *operator
	added    []cache.ObjectName
}

// Add implements workqueue.TypedInterface.
func (q *modelQueue) Add(key cache.ObjectName) { q.added = append(q.added, key) }

// flush adds the keys from handlers to the real queue.
func (q *modelQueue) flush() {
	for _, key := range slices.Compact(q.added) {
		q.TypedRateLimitingInterface.Add(key)
	}
	q.added = nil
}

// Get implements workqueue.TypedInterface.
func (q *modelQueue) Get() (cache.ObjectName, bool) {
	key, shutdown := q.TypedRateLimitingInterface.Get()
	o := q.operator
	o.environment.mu.Lock()
	defer o.environment.mu.Unlock()
	if shutdown || o.killed {
		return key, true
	}
	o.statusWrite = nil
	o.current = &syncRecord{writes: map[string]int{}, events: map[string]int{}, adopted: sets.New[string]()}
	for _, resource := range modelResources {
		for _, item := range o.caches[resource].List() {
			observed := o.recordObserved(item.(object)) //nolint:errcheck,forcetypeassert // apply and list add objects only
			if ray, ok := observed.(*rayv1.Ray); ok {
				o.current.ray, o.current.isNew = ray, o.controller.reconciler.memory.isNew(ray)
			}
		}
	}
	return key, false
}

// Done implements workqueue.TypedInterface.
func (q *modelQueue) Done(key cache.ObjectName) {
	q.operator.finishSync()
	q.TypedRateLimitingInterface.Done(key)
}

func (o *operator) finishSync() {
	o.environment.mu.Lock()
	defer o.environment.mu.Unlock()
	if !o.killed {
		o.environment.checker.checkSync(o.current)
	}
	o.current = nil
}

// recorder receives the events of the operator.
type recorder struct{ operator *operator }

// Event implements record.EventRecorder.
func (r recorder) Event(_ runtime.Object, eventType, reason, message string) {
	r.operator.environment.mu.Lock()
	defer r.operator.environment.mu.Unlock()
	r.operator.environment.logf("    event: %s %s %s", eventType, reason, message)
	r.operator.environment.checker.checkEvent(r.operator.current, eventType, message)
}

// Eventf implements record.EventRecorder.
func (r recorder) Eventf(o runtime.Object, eventType, reason, format string, args ...any) {
	r.Event(o, eventType, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf implements record.EventRecorder.
func (r recorder) AnnotatedEventf(o runtime.Object, _ map[string]string, eventType, reason, format string, args ...any) {
	r.Eventf(o, eventType, reason, format, args...)
}

// logSink receives the log of the operator. Only a panic is a violation.
type logSink struct{ operator *operator }

// Init implements logr.LogSink.
func (logSink) Init(klog.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (logSink) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (logSink) Info(int, string, ...any) {}

// Error implements logr.LogSink. A panic is logged without an error.
func (s logSink) Error(err error, message string, values ...any) {
	if err == nil {
		s.operator.environment.mu.Lock()
		defer s.operator.environment.mu.Unlock()
		s.operator.environment.violationf("the operator logged: %s %v", message, values[:min(2, len(values))])
	}
}

// WithValues implements logr.LogSink.
func (s logSink) WithValues(...any) klog.LogSink { return s }

// WithName implements logr.LogSink.
func (s logSink) WithName(string) klog.LogSink { return s }

// parseVersion returns a resourceVersion as a number, 0 for none.
func parseVersion(resourceVersion string) int64 {
	number, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// versionOf returns the resourceVersion of an object as a number.
func versionOf(o metav1.Object) int64 { return parseVersion(o.GetResourceVersion()) }
