package app

import (
	"context"
	"hash/fnv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	rayscheme "github.com/kubeflow/ray-operator/pkg/client/clientset/versioned/scheme"
)

const (
	// flushTimeout bounds how long the end of the operator waits for events to be written.
	flushTimeout = 5 * time.Second
	// flushQuiet is for how long no event is written when all are. client-go does not tell, and
	// goes from one to the next at once.
	flushQuiet = 100 * time.Millisecond
)

// eventWriters is how many events are written at a time. client-go writes them one after
// another and drops those that come while a thousand wait, which is too slow for a thousand
// Rays that are created at once.
const eventWriters = 4

// events is a recorder whose events are written in the background, and that can wait for it.
type events struct {
	record.EventSink
	writers [eventWriters]record.EventRecorder
	// begun and ended count the requests by which events are written.
	begun, ended atomic.Int64
}

// newEvents returns a recorder that writes events until stop is called.
func newEvents(ctx context.Context, kube kubernetes.Interface) (recorder *events, stop func()) {
	recorder = &events{EventSink: &typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events("")}}
	var broadcasters [eventWriters]record.EventBroadcaster
	for i := range broadcasters {
		broadcasters[i] = record.NewBroadcaster(record.WithContext(ctx))
		broadcasters[i].StartStructuredLogging(4)
		broadcasters[i].StartRecordingToSink(recorder)
		recorder.writers[i] = broadcasters[i].NewRecorder(rayscheme.Scheme, corev1.EventSource{Component: component})
	}
	return recorder, func() {
		for _, broadcaster := range broadcasters {
			broadcaster.Shutdown()
		}
	}
}

// writer returns who writes the events about an object: always the same, so that they are
// written in their order and those that repeat are counted.
func (e *events) writer(object runtime.Object) record.EventRecorder {
	sum := fnv.New32a()
	if about, err := meta.Accessor(object); err == nil {
		sum.Write([]byte(about.GetUID()))
	}
	return e.writers[sum.Sum32()%eventWriters]
}

// Event emits an event.
func (e *events) Event(object runtime.Object, kind, reason, message string) {
	e.writer(object).Event(object, kind, reason, message)
}

// Eventf emits an event with a formatted message.
func (e *events) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	e.writer(object).Eventf(object, kind, reason, format, args...)
}

// AnnotatedEventf emits an event with annotations and a formatted message.
func (e *events) AnnotatedEventf(object runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) {
	e.writer(object).AnnotatedEventf(object, annotations, kind, reason, format, args...)
}

// Create writes an event.
func (e *events) Create(event *corev1.Event) (*corev1.Event, error) {
	e.begun.Add(1)
	defer e.ended.Add(1)
	return e.EventSink.Create(event)
}

// Patch counts an event once more that was written before.
func (e *events) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	e.begun.Add(1)
	defer e.ended.Add(1)
	return e.EventSink.Patch(event, data)
}

// flush waits until all events are written, for flushTimeout at most.
func (e *events) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	begun, since := e.begun.Load(), time.Now()
	err := wait.PollUntilContextCancel(ctx, flushQuiet/5, true, func(context.Context) (bool, error) {
		if now := e.begun.Load(); now != begun || now != e.ended.Load() {
			begun, since = now, time.Now()
		}
		return time.Since(since) >= flushQuiet, nil
	})
	if err != nil {
		klog.FromContext(ctx).Info("There was no time to write all events")
	}
}
