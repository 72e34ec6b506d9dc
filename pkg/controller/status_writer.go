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
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/consistency"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
)

const (
	// minStatusInterval is the minimum time between two writes for one Ray, unless they are urgent.
	// Times in a status have a precision of one second, so the interval may be one second shorter.
	minStatusInterval = 2 * time.Second
	// statusQPS and statusBurst limit the writes that are not urgent, over all Rays.
	// With a burst of one, a token would be lost each time that a Ray asks a moment too early.
	statusQPS   = 1
	statusBurst = 2
	// maxRateLimitDelay is the maximum time that the rate limit delays a write.
	maxRateLimitDelay = 5 * time.Minute
	// rejectionInterval is the time until a status is sent again after the API server rejected one.
	rejectionInterval = 5 * time.Minute
	// statusTimeout is the timeout of a write.
	statusTimeout = 30 * time.Second
)

// statusWriter decides when the status of a Ray is written, and when a problem is reported in an event.
//
// A status that equals the current one is not written. Otherwise:
//
//	what differs                                      when it is written
//	------------------------------------------------  ----------------------------------------------
//	there is no status yet                            at once
//	the generation of the Ray                         at once
//	Health or Suspended changes to or from True       at once
//	a problem that was not reported yet               at once
//	the reason of Health becomes ReplicaFailure or    minStatusInterval after the last write
//	PodFailure
//	the reason of Health was a problem, and changes   minStatusInterval after the last write
//	anything else: counts, messages, conditions       the same, and rate limited over all Rays
//
// The rate limit keeps updates of counts from delaying urgent writes while many Pods or Rays start.
//
// If the API server rejects a status as invalid, none is sent for rejectionInterval, unless the Ray
// changes; problems are then reported in events only. If the API server stores another status than it
// was sent, the operator does not send the same one again.
type statusWriter struct {
	rayClient   versioned.Interface
	consistency *consistency.Store
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	rateLimiter flowcontrol.PassiveRateLimiter

	mu      sync.Mutex
	records map[cache.ObjectName]*statusRecord
	// delayed is the number of Rays with a write that the rate limit delays.
	delayed int
}

// statusRecord is what the writer remembers of a Ray.
type statusRecord struct {
	// uid is that of the Ray.
	uid types.UID
	// reported has the problems that were reported since they began.
	reported sets.Set[problemKey]
	// sent is the last status that was sent, which isOwnUpdate compares with the next update in the
	// cache. Nil if none is expected.
	sent *rayv1.RayStatus
	// altered is the last status that was sent, and stored the one that the API server stored in its
	// place: a CustomResourceDefinition that is older than the operator lacks a field, or admission
	// changes one. Nil if they are equal.
	altered, stored *rayv1.RayStatus
	// rejected is the resourceVersion of the Ray with a status that the API server rejected as invalid:
	// the stored spec violates the current schema, or an admission policy denies the status.
	rejected      string
	rejectedUntil time.Time
	// turn is from when on a delayed write may take a token, and deadline is when it needs none. Zero
	// if no write is delayed.
	turn, deadline time.Time
}

func newStatusWriter(rayClient versioned.Interface, store *consistency.Store, recorder record.EventRecorder, clock clock.PassiveClock) *statusWriter {
	return &statusWriter{
		rayClient:   rayClient,
		consistency: store,
		recorder:    recorder,
		clock:       clock,
		rateLimiter: flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(statusQPS, statusBurst, clock),
		records:     map[cache.ObjectName]*statusRecord{},
	}
}

// write writes the status of a Ray and reports its problems, if it is time to. If not, it returns
// after how long to call it again, or 0 if there is nothing to write. After an error nothing is
// reported; the retry does.
func (w *statusWriter) write(ctx context.Context, ray *rayv1.Ray, observed *observation) (retryAfter time.Duration, err error) {
	now := metav1.NewTime(w.clock.Now().Truncate(time.Second)) // the precision of a status
	status := newStatus(ray, observed, now)
	problems := observed.problems()
	writeNow, retryAfter := w.decide(ray, &status, problems, now.Time)
	if writeNow {
		status.LastReconcileTime = &now
		if retryAfter, err = w.send(ctx, ray, &status, now.Time); err != nil {
			return 0, err
		}
	}
	w.report(ray, problems, retryAfter)
	return retryAfter, nil
}

// decide returns whether a status is to be written now. If not, it returns when to decide again, or 0
// if there is nothing to write.
func (w *statusWriter) decide(ray *rayv1.Ray, status *rayv1.RayStatus, problems []error, now time.Time) (writeNow bool, retryAfter time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.record(ray)
	switch {
	case reflect.DeepEqual(&ray.Status, status), r.altered != nil && equalExceptTimes(r.altered, status) && equalExceptTimes(r.stored, &ray.Status):
		w.clearDelay(r)
		return false, 0
	case r.rejected == ray.ResourceVersion && now.Before(r.rejectedUntil):
		w.clearDelay(r)
		return false, r.rejectedUntil.Sub(now)
	case mustWriteNow(&ray.Status, status, r.unreported(problems)):
		return true, 0
	}
	// There is a last write, or the status must be written now. One in the future is that of a machine
	// with a clock that is ahead.
	if since := now.Sub(ray.Status.LastReconcileTime.Time); 0 <= since && since < minStatusInterval {
		return false, minStatusInterval - since
	}
	if isRateLimited(&ray.Status, status) {
		retryAfter = w.delay(r, now)
	}
	return retryAfter == 0, retryAfter
}

// mustWriteNow returns whether a status must be written at once, since users and other controllers wait
// for it.
func mustWriteNow(current, next *rayv1.RayStatus, newProblem bool) bool {
	before, after := findCondition(current.Conditions, rayv1.RayHealth), findCondition(next.Conditions, rayv1.RayHealth)
	return newProblem || before == nil || current.LastReconcileTime == nil ||
		current.ObservedGeneration != next.ObservedGeneration ||
		(before.Status == corev1.ConditionTrue) != (after.Status == corev1.ConditionTrue) ||
		isSuspended(current) != isSuspended(next)
}

// isSuspended returns whether a status says that a Ray is suspended and has no Pods.
func isSuspended(status *rayv1.RayStatus) bool {
	condition := findCondition(status.Conditions, rayv1.RaySuspended)
	return condition != nil && condition.Status == corev1.ConditionTrue
}

// isRateLimited returns whether the rate limit applies to a status that need not be written at once. That autoscaling
// has become active, or not, is written once in a Ray's start, and does not wait for the counts of others.
func isRateLimited(current, next *rayv1.RayStatus) bool {
	before, after := findCondition(current.Conditions, rayv1.RayHealth), findCondition(next.Conditions, rayv1.RayHealth)
	return (before.Reason == after.Reason || !isPodProblem(after.Reason) && !isProblem(before.Reason)) &&
		isScalingActive(current) == isScalingActive(next)
}

// isScalingActive returns whether a status says that the demand of Ray decides how many workers there are.
func isScalingActive(status *rayv1.RayStatus) bool {
	condition := findCondition(status.Conditions, rayv1.RayScalingActive)
	return condition != nil && condition.Status == corev1.ConditionTrue
}

// delay returns how long the rate limit delays a write, or 0 if it takes a token. Delayed Rays take turns,
// one per token, in the order in which they were delayed: otherwise those that change all the time would
// take all tokens. The caller must hold the lock.
func (w *statusWriter) delay(r *statusRecord, now time.Time) time.Duration {
	const tokenInterval = time.Second / statusQPS
	if r.deadline.IsZero() {
		if w.delayed == 0 && w.rateLimiter.TryAccept() {
			return 0
		}
		w.delayed++
		r.deadline = now.Add(maxRateLimitDelay)
		r.turn = now.Add(min(time.Duration(w.delayed)*tokenInterval, maxRateLimitDelay))
	}
	switch {
	case now.Before(r.turn):
		return r.turn.Sub(now)
	case !now.Before(r.deadline), w.rateLimiter.TryAccept():
		return 0
	}
	return min(tokenInterval, r.deadline.Sub(now))
}

// clearDelay records that no write of a Ray is delayed. The caller must hold the lock.
func (w *statusWriter) clearDelay(r *statusRecord) {
	if !r.deadline.IsZero() {
		r.turn, r.deadline = time.Time{}, time.Time{}
		w.delayed--
	}
}

// send sends a status. If the API server rejects it as invalid, send records that and returns when to
// retry, and no error.
func (w *statusWriter) send(ctx context.Context, ray *rayv1.Ray, status *rayv1.RayStatus, now time.Time) (retryAfter time.Duration, err error) {
	key := cache.MetaObjectToName(ray)
	w.mu.Lock()
	w.record(ray).sent = status // before the watch can show it
	w.mu.Unlock()

	next := ray.DeepCopy() // the API server ignores all but the status
	rayclient.RemoveMark(next)
	delete(next.Annotations, annotationScaledByHPA)
	next.Status = *status
	sendCtx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	stored, err := w.rayClient.RayV1().Rays(ray.Namespace).UpdateStatus(sendCtx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsInvalid(err) {
		return 0, failed(reasonFailedUpdate, "status of Ray", ray.Name, err)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.record(ray)
	w.clearDelay(r)
	if err != nil {
		r.rejected, r.rejectedUntil = ray.ResourceVersion, now.Add(rejectionInterval)
		klog.FromContext(ctx).Info("The API server rejected the status as invalid, reporting problems in events only", "retryAfter", rejectionInterval, "reason", serverMessage(err))
		return rejectionInterval, nil
	}
	w.consistency.WroteAt(key, rayResource, stored.ResourceVersion)
	r.rejected, r.altered, r.stored = "", nil, nil
	if !equality.Semantic.DeepEqual(&stored.Status, status) {
		r.altered, r.stored = status, &stored.Status
		klog.FromContext(ctx).Info("The API server stored another status than it was sent; check whether the CustomResourceDefinition is older than the operator")
	}
	klog.FromContext(ctx).V(2).Info("Updated", "kind", "status of Ray", "name", ray.Name)
	return 0, nil
}

// report records an event for each problem that was not reported yet. A problem that has ended remains
// reported while the write of its end is delayed.
func (w *statusWriter) report(ray *rayv1.Ray, problems []error, retryAfter time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.record(ray)
	if len(problems) == 0 && r.reported == nil {
		return
	}
	reported := sets.New[problemKey]()
	if retryAfter > 0 && r.rejected != ray.ResourceVersion {
		reported = r.reported.Clone()
	}
	for _, err := range problems {
		problem := asProblem(err)
		if !r.reported.Has(problem.problemKey) && !reported.Has(problem.problemKey) {
			eventType := corev1.EventTypeWarning
			if problem.reason == reasonTerminating {
				eventType = corev1.EventTypeNormal // it only takes time
			}
			w.recorder.Event(ray, eventType, problem.reason, problem.message)
		}
		reported.Insert(problem.problemKey)
	}
	r.reported = reported
}

// expectUpdate records that a sync was too early to see the last status. The update that shows it must
// enqueue the Ray, although it is the operator's own.
func (w *statusWriter) expectUpdate(ray *rayv1.Ray) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record(ray).sent = nil
}

// isOwnUpdate returns whether an update of a Ray in the cache is only a status write of this writer,
// which no sync needs to follow.
func (w *statusWriter) isOwnUpdate(before, after *rayv1.Ray) bool {
	if before.UID != after.UID || before.Generation != after.Generation || after.DeletionTimestamp != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.records[cache.MetaObjectToName(after)]
	if r == nil || r.sent == nil || !equality.Semantic.DeepEqual(r.sent, &after.Status) {
		return false
	}
	r.sent = nil
	return true
}

// forget drops the record of a Ray that needs no more statuses.
func (w *statusWriter) forget(ray cache.ObjectName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.records[ray]; r != nil {
		w.clearDelay(r)
		delete(w.records, ray)
	}
}

// record returns the record of a Ray. The caller must hold the lock.
func (w *statusWriter) record(ray *rayv1.Ray) *statusRecord {
	key := cache.MetaObjectToName(ray)
	r := w.records[key]
	if r != nil && r.uid != ray.UID {
		w.clearDelay(r) // the record is that of an earlier Ray with this name
		r = nil
	}
	if r == nil {
		r = &statusRecord{uid: ray.UID}
		w.records[key] = r
	}
	return r
}

// unreported returns whether there is a problem that was not reported yet.
func (r *statusRecord) unreported(problems []error) bool {
	for _, err := range problems {
		if !r.reported.Has(asProblem(err).problemKey) {
			return true
		}
	}
	return false
}

// equalExceptTimes returns whether two statuses differ only in their times, which differ at each try
// to write a status that the API server alters.
func equalExceptTimes(sent, next *rayv1.RayStatus) bool {
	return equality.Semantic.DeepEqual(withoutTimes(sent), withoutTimes(next))
}

func withoutTimes(status *rayv1.RayStatus) *rayv1.RayStatus {
	status = status.DeepCopy()
	status.StartTime, status.LastReconcileTime = nil, nil
	for i := range status.Conditions {
		status.Conditions[i].LastUpdateTime, status.Conditions[i].LastTransitionTime = metav1.Time{}, metav1.Time{}
	}
	return status
}
