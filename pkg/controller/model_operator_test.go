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
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// operator is one process of the operator. Its informers do not run: the world delivers
// into its caches, and to the handlers what an informer would tell them.
type operator struct {
	world      *world
	controller *Controller
	queue      *modelQueue
	caches     map[string]cache.Indexer
	// seen counts the events of the server's history that each cache has seen, or missed.
	seen map[string]int
	// dead says that the process was killed. What it still does goes nowhere.
	dead bool
	// syncing tells of the sync that runs.
	syncing *syncing
	// written has the newest resourceVersions that the process was told of its writes.
	written map[objectID]int64
}

// operatorKey is under which a context has the process that it is of.
type operatorKey struct{}

// syncing is what happened in one sync.
type syncing struct {
	// ray is as the cache had it at the start.
	ray *rayv1.Ray
	// shown are all objects that the sync may know of: from the caches, and from answers.
	shown []object
	// writes and successes count what was done and what was told, by verb, kind and name.
	writes, successes map[string]int
}

// startOperator starts a process, whose caches show at first so many events of the server's
// history, or all.
func (w *world) startOperator(shown map[string]int) {
	informers := NewInformers(w.lane.kube, w.lane.ray, []string{metav1.NamespaceAll})
	op := &operator{world: w, seen: map[string]int{}, written: map[objectID]int64{}}
	controller, err := New(w.lane.kube, w.lane.ray, informers, recorder{op}, clock.RealClock{})
	if err != nil {
		panic(err) // informers that do not run take every handler
	}
	op.queue = &modelQueue{TypedRateLimitingInterface: controller.queue, operator: op}
	controller.queue = op.queue
	op.controller = controller
	controller.running.Store(true)
	op.caches = controller.reconciler.caches[metav1.NamespaceAll].stores
	w.operator = op
	for _, resource := range modelKinds {
		count, found := shown[resource]
		if !found {
			count = len(w.server.history)
		}
		op.list(resource, count)
	}
	ctx := context.WithValue(klog.NewContext(context.Background(), klog.New(logSink{op})), operatorKey{}, op)
	go func() {
		for controller.processNextWorkItem(ctx) {
		}
	}()
}

// stopOperator kills the process.
func (w *world) stopOperator() {
	w.operator.dead = true
	w.operator.queue.ShutDown()
	w.pass(0)
}

// list brings a cache to a state of the server's history at once, as a list does.
func (o *operator) list(resource string, count int) {
	o.seen[resource] = count
	revision := "100"
	items := map[string]object{}
	for _, event := range o.world.server.history[:count] {
		revision = event.object.GetResourceVersion()
		if event.resource != resource {
			continue
		}
		delete(items, event.object.GetName())
		if !event.deleted && selected(event.object) {
			items[event.object.GetName()] = event.object
		}
	}
	old := map[string]object{}
	for _, item := range o.caches[resource].List() {
		before := item.(object) //nolint:errcheck,forcetypeassert // deliver put it there
		old[before.GetName()] = before
	}
	names := slices.Sorted(maps.Keys(items))
	var list []any
	for _, name := range names {
		list = append(list, o.cached(items[name]))
	}
	if err := o.caches[resource].Replace(list, revision); err != nil {
		panic(err) // objects have names
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

// selected tells whether an object is watched.
func selected(o object) bool {
	_, labeled := o.GetLabels()[rayv1.LabelName]
	return labeled || idOf(o).resource == rayResource
}

// cached returns an object as a cache holds it, and notes that the operator may know it.
func (o *operator) cached(from object) object {
	stripped, err := strip(clone(from))
	if err != nil {
		panic(err) // it is an object
	}
	return o.show(stripped.(object)) //nolint:errcheck,forcetypeassert // as it was before
}

// show notes that the operator may know an object.
func (o *operator) show(shown object) object {
	if o.syncing != nil {
		o.syncing.shown = append(o.syncing.shown, shown)
	}
	return shown
}

// deliver delivers the next watch event of a resource. It returns false if there is none.
func (o *operator) deliver(resource string) bool {
	history := o.world.server.history
	for o.seen[resource] < len(history) {
		event := history[o.seen[resource]]
		o.seen[resource]++
		if event.resource == resource {
			o.apply(event)
			return true
		}
	}
	return false
}

// deliverAll brings all caches up to date.
func (o *operator) deliverAll() {
	for _, resource := range modelKinds {
		for o.deliver(resource) {
		}
	}
}

// apply does to a cache what an informer does on a watch event. To a watch that selects by
// label, what loses the label is deleted, and what lacks it does not exist.
func (o *operator) apply(event watchEvent) {
	indexer, next := o.caches[event.resource], o.cached(event.object)
	old, exists, err := indexer.GetByKey(namespace + "/" + next.GetName())
	switch gone := event.deleted || !selected(event.object); {
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
		panic(err) // objects have names
	}
}

// notify calls the handlers of a resource.
func (o *operator) notify(resource string, old, next any, missed bool) {
	switch resource {
	case rayResource:
		notify(rayHandler(o.controller), old, next, missed)
	case serviceResource:
		notify(childHandler[*corev1.Service](o.controller), old, next, missed)
	case deploymentResource:
		notify(childHandler[*appsv1.Deployment](o.controller), old, next, missed)
	}
}

func notify[T cache.Object](handler cache.TypedResourceEventHandlerFuncs[T], old, next any, missed bool) {
	before, _ := old.(T) // nil if there was nothing
	after, ok := next.(T)
	switch {
	case ok && old == nil:
		handler.OnAdd(after, false)
	case ok:
		handler.OnUpdate(before, after)
	case missed:
		key := namespace + "/" + old.(object).GetName() //nolint:errcheck,forcetypeassert // there was something
		handler.OnDelete(cache.DeletedObject[T]{OptionalObj: before, FinalStateUnknown: &cache.DeletedFinalStateUnknown{Key: key, Obj: old}})
	default:
		handler.OnDelete(cache.DeletedObject[T]{OptionalObj: before})
	}
}

// modelQueue is the real queue, and tells when a sync starts and ends. What handlers add is
// added when the act is over of which they are told, so that it depends on the schedule
// alone how many events one sync is for.
type modelQueue struct {
	workqueue.TypedRateLimitingInterface[cache.ObjectName]
	operator *operator
	added    []cache.ObjectName
}

// Add implements workqueue.TypedInterface.
func (q *modelQueue) Add(key cache.ObjectName) { q.added = append(q.added, key) }

// flush adds what handlers have added.
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
	o.world.mu.Lock()
	defer o.world.mu.Unlock()
	if shutdown || o.dead {
		return key, true
	}
	o.syncing = &syncing{writes: map[string]int{}, successes: map[string]int{}}
	for _, resource := range modelKinds {
		for _, item := range o.caches[resource].List() {
			shown := o.show(item.(object)) //nolint:errcheck,forcetypeassert // deliver put it there
			if ray, ok := shown.(*rayv1.Ray); ok {
				o.syncing.ray = ray
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
	o.world.mu.Lock()
	defer o.world.mu.Unlock()
	if !o.dead {
		o.world.judge.judgeEvents(o.syncing)
	}
	o.syncing = nil
}

// recorder is where the operator's events go.
type recorder struct{ operator *operator }

// Event implements record.EventRecorder.
func (r recorder) Event(_ runtime.Object, kind, reason, message string) {
	r.operator.world.mu.Lock()
	defer r.operator.world.mu.Unlock()
	r.operator.world.tell("    event %s %s %s", kind, reason, message)
	r.operator.world.judge.judgeEvent(r.operator.syncing, kind, message)
}

// Eventf implements record.EventRecorder.
func (r recorder) Eventf(o runtime.Object, kind, reason, format string, args ...any) {
	r.Event(o, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf implements record.EventRecorder.
func (r recorder) AnnotatedEventf(o runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(o, kind, reason, format, args...)
}

// logSink is where the operator's log goes. Only a panic is of interest.
type logSink struct{ operator *operator }

// Init implements logr.LogSink.
func (logSink) Init(klog.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (logSink) Enabled(int) bool { return false }

// Info implements logr.LogSink.
func (logSink) Info(int, string, ...any) {}

// Error implements logr.LogSink.
func (s logSink) Error(err error, message string, values ...any) {
	if err == nil {
		s.operator.world.mu.Lock()
		defer s.operator.world.mu.Unlock()
		s.operator.world.violate("the log has: %s %v", message, values[:min(2, len(values))])
	}
}

// WithValues implements logr.LogSink.
func (s logSink) WithValues(...any) klog.LogSink { return s }

// WithName implements logr.LogSink.
func (s logSink) WithName(string) klog.LogSink { return s }

// atoi returns a resourceVersion as a number.
func atoi(resourceVersion string) int64 {
	number, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// version returns the resourceVersion of an object as a number.
func version(o metav1.Object) int64 { return atoi(o.GetResourceVersion()) }
