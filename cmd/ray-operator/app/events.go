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
	"context"
	"hash/fnv"
	"strings"
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
	// flushTimeout limits how long shutdown waits for events to be written.
	flushTimeout = 5 * time.Second
	// flushQuiet is how long no event must be written until all are assumed to be. client-go
	// does not report when its queue is empty, but writes queued events without a pause.
	flushQuiet = 100 * time.Millisecond
)

// eventWriters is the number of events that are written concurrently. A client-go broadcaster
// writes one event at a time and drops events if 1000 are queued, which is too slow if 1000
// Rays are created at once.
const eventWriters = 4

// client-go writes at most 25 events about an object, and then one every 5 minutes, whatever they say:
// after 25 updates, a user would not see that a child was deleted. Here, the limit is for each reason and
// message of a Ray. A Ray has few of these: they name its children, and the messages of problems do not
// vary. Events are written for writes of children and for new problems, which have a backoff, so that this
// limit matters only if something makes the operator write all the time.
const (
	// messageBurst is the number of times that the same event is written without a limit. Scaling a Ray
	// every minute for an hour, after which the API server deletes events, does not exceed it and
	// messageQPS.
	messageBurst = 50
	// messageQPS is how often it is written then. The count in an event includes those that were not
	// written, and so is at most a minute old if the event recurs all the time.
	messageQPS = 1. / 60
	// maxMessages is the number of messages of one reason and Ray that are distinct events, if each
	// follows another one within 10 minutes. Others are combined into one event, with a limit as for one
	// message. It exceeds the number of a Ray's children several times.
	maxMessages = 25
	// combined is how the message of a combined event starts.
	combined = "(combined from similar events): "
)

// correlatorOptions are the options for aggregating and limiting events. Each writer remembers the last
// 4096 messages of Rays, the default of client-go, in about 1.5 KiB each. That is enough for some thousand
// Rays. If a message is forgotten, its next event is a new one.
var correlatorOptions = record.CorrelatorOptions{
	BurstSize:   messageBurst,
	QPS:         messageQPS,
	SpamKeyFunc: limitKey,
	MaxEvents:   maxMessages,
	MessageFunc: func(event *corev1.Event) string { return combined + event.Message },
}

// limitKey returns the key of a limit: events with the same key share one.
func limitKey(event *corev1.Event) string {
	message := event.Message
	if strings.HasPrefix(message, combined) {
		message = combined // what follows varies
	}
	return strings.Join([]string{string(event.InvolvedObject.UID), event.Reason, message}, "\n")
}

// events is an event recorder that writes events in the background and can be flushed.
type events struct {
	record.EventSink
	writers [eventWriters]record.EventRecorder
	// started and finished count the write requests.
	started, finished atomic.Int64
}

// newEvents returns a recorder that writes events until stop is called.
func newEvents(ctx context.Context, kube kubernetes.Interface) (recorder *events, stop func()) {
	recorder = &events{EventSink: &typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events("")}}
	var broadcasters [eventWriters]record.EventBroadcaster
	for i := range broadcasters {
		broadcasters[i] = record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(correlatorOptions))
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

// writer returns the writer for an object. It is always the same one, so that events of an
// object are written in order and repeated events are aggregated.
func (e *events) writer(object runtime.Object) record.EventRecorder {
	sum := fnv.New32a()
	if accessor, err := meta.Accessor(object); err == nil {
		sum.Write([]byte(accessor.GetUID()))
	}
	return e.writers[sum.Sum32()%eventWriters]
}

// Event records an event.
func (e *events) Event(object runtime.Object, kind, reason, message string) {
	e.writer(object).Event(object, kind, reason, message)
}

// Eventf records an event with a formatted message.
func (e *events) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	e.writer(object).Eventf(object, kind, reason, format, args...)
}

// AnnotatedEventf records an event with annotations and a formatted message.
func (e *events) AnnotatedEventf(object runtime.Object, annotations map[string]string, kind, reason, format string, args ...any) {
	e.writer(object).AnnotatedEventf(object, annotations, kind, reason, format, args...)
}

// Create writes an event.
func (e *events) Create(event *corev1.Event) (*corev1.Event, error) {
	e.started.Add(1)
	defer e.finished.Add(1)
	return e.EventSink.Create(event)
}

// Patch increases the count of an existing event.
func (e *events) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	e.started.Add(1)
	defer e.finished.Add(1)
	return e.EventSink.Patch(event, data)
}

// flush waits until all events are written, for at most flushTimeout.
func (e *events) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	started, since := e.started.Load(), time.Now()
	err := wait.PollUntilContextCancel(ctx, flushQuiet/5, true, func(context.Context) (bool, error) {
		if current := e.started.Load(); current != started || current != e.finished.Load() {
			started, since = current, time.Now()
		}
		return time.Since(since) >= flushQuiet, nil
	})
	if err != nil {
		klog.FromContext(ctx).Info("Timed out writing events; some may be lost", "timeout", flushTimeout)
	}
}
