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

// A status is written when it differs from the current one:
//
//	what differs                                              when it is written
//	first status, generation, Health True or not, new problem at once
//	a ReplicaFailure begins, a problem ends                   minStatusInterval after the last write
//	anything else: counts, messages, mirrored conditions      as above, and rate limited over all Rays
//
// While Pods come and go, counts change many times a second. While a thousand Rays start, each write
// of a count delays the writes that users wait for. Hence the rate limit.
//
// A status that the API server rejects as invalid is not sent again for rejectionInterval, unless the
// Ray changes; problems are then reported in events only. A status that the API server changes is not
// sent a second time.
const (
	// minStatusInterval is the minimum time between two writes for one Ray, unless they are urgent. A
	// status has a precision of seconds, so that it may be a second shorter.
	minStatusInterval = 2 * time.Second
	// progressQPS and progressBurst limit the other writes, over all Rays.
	progressQPS   = 1
	progressBurst = 1
	// maxProgressDelay is the maximum time that the rate limit delays a write.
	maxProgressDelay = 5 * time.Minute
	// rejectionInterval is the time until a status is sent again after the API server rejected one.
	rejectionInterval = 5 * time.Minute
	// statusTimeout is the timeout of a write.
	statusTimeout = 30 * time.Second
)

// statusWriter decides when the status of a Ray is written, and when a problem is reported in an
// event. Nothing else does.
type statusWriter struct {
	rayClient   versioned.Interface
	consistency *consistency.Store
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	progress    flowcontrol.PassiveRateLimiter

	mu      sync.Mutex
	records map[cache.ObjectName]*statusRecord
	// delayed is the number of Rays with a write that the rate limit delays.
	delayed int
}

// statusRecord is what the writer remembers of a Ray.
type statusRecord struct {
	// reported has the problems that the stored status has, or events in its place.
	reported sets.Set[problemKey]
	// sent is the last status that was sent, until the cache shows it.
	sent *rayv1.RayStatus
	// altered is the last status that was sent if the API server stored another one: a
	// CustomResourceDefinition that is older than the operator lacks a field, or admission changes one.
	altered *rayv1.RayStatus
	// rejected is the resourceVersion of the Ray when the API server rejected its status: under today's
	// schema a rule fails for the stored spec, or admission rejects it for a while.
	rejected      string
	rejectedUntil time.Time
	// delayedSince is when the rate limit first delayed a write, or zero.
	delayedSince time.Time
}

func newStatusWriter(rayClient versioned.Interface, store *consistency.Store, recorder record.EventRecorder, clock clock.PassiveClock) *statusWriter {
	return &statusWriter{
		rayClient:   rayClient,
		consistency: store,
		recorder:    recorder,
		clock:       clock,
		progress:    flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(progressQPS, progressBurst, clock),
		records:     map[cache.ObjectName]*statusRecord{},
	}
}

// write writes the status of a Ray and reports its problems, if it is time to. If not, it returns
// after how long to call it again, or 0 if there is nothing to write.
func (w *statusWriter) write(ctx context.Context, ray *rayv1.Ray, observed *observation) (retryAfter time.Duration, err error) {
	now := metav1.NewTime(w.clock.Now().Truncate(time.Second)) // the precision of a status
	status := newStatus(ray, observed, now)
	problems := observed.problems()
	due, retryAfter := w.decide(ray, &status, problems, now.Time)
	if due {
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
func (w *statusWriter) decide(ray *rayv1.Ray, status *rayv1.RayStatus, problems []error, now time.Time) (due bool, retryAfter time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.of(cache.MetaObjectToName(ray))
	switch {
	case reflect.DeepEqual(&ray.Status, status), r.altered != nil && equalExceptTimes(r.altered, status):
		w.endDelay(r)
		return false, 0
	case r.rejected == ray.ResourceVersion && now.Before(r.rejectedUntil):
		w.endDelay(r)
		return false, r.rejectedUntil.Sub(now)
	case mustWriteNow(&ray.Status, status, r.unreported(problems)):
		return true, 0
	}
	// A last write in the future is that of a machine with a clock that is ahead.
	if since := now.Sub(ray.Status.LastReconcileTime.Time); 0 <= since && since < minStatusInterval {
		return false, minStatusInterval - since
	}
	if isRateLimited(&ray.Status, status) {
		retryAfter = w.delay(r, now)
	}
	return retryAfter == 0, retryAfter
}

// mustWriteNow returns whether a status must be written at once: users and other controllers wait for
// it. It is a pure function.
func mustWriteNow(current, next *rayv1.RayStatus, newProblem bool) bool {
	before, after := findCondition(current.Conditions, rayv1.RayHealth), findCondition(next.Conditions, rayv1.RayHealth)
	return newProblem || before == nil || current.LastReconcileTime == nil ||
		current.ObservedGeneration != next.ObservedGeneration ||
		(before.Status == corev1.ConditionTrue) != (after.Status == corev1.ConditionTrue)
}

// isRateLimited returns whether the rate limit applies to a status that need not be written at once. It
// is a pure function.
func isRateLimited(current, next *rayv1.RayStatus) bool {
	before, after := findCondition(current.Conditions, rayv1.RayHealth), findCondition(next.Conditions, rayv1.RayHealth)
	return before.Reason == after.Reason || after.Reason != reasonReplicaFailure && !isProblem(before.Reason)
}

// delay returns how long the rate limit delays a write, or 0 if it takes a token. A Ray first asks for
// a token, then after all Rays that are delayed already, then each time that there may be one.
func (w *statusWriter) delay(r *statusRecord, now time.Time) time.Duration {
	ahead := 1
	if r.delayedSince.IsZero() {
		r.delayedSince = now
		w.delayed++
		ahead = w.delayed
	}
	left := r.delayedSince.Add(maxProgressDelay).Sub(now)
	if left <= 0 || w.progress.TryAccept() {
		return 0
	}
	return min(time.Duration(ahead)*time.Second/progressQPS, left)
}

// endDelay records that no write of a Ray is delayed. The caller must hold the lock.
func (w *statusWriter) endDelay(r *statusRecord) {
	if !r.delayedSince.IsZero() {
		r.delayedSince = time.Time{}
		w.delayed--
	}
}

// send sends a status. If the API server rejects it as invalid, that is recorded and no error; send
// returns when to retry.
func (w *statusWriter) send(ctx context.Context, ray *rayv1.Ray, status *rayv1.RayStatus, now time.Time) (retryAfter time.Duration, err error) {
	key := cache.MetaObjectToName(ray)
	w.mu.Lock()
	w.of(key).sent = status // before the watch can show it
	w.mu.Unlock()

	next := ray.DeepCopy() // the API server ignores all but the status
	rayclient.RemoveMark(next)
	next.Status = *status
	sendCtx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	stored, err := w.rayClient.RayV1().Rays(ray.Namespace).UpdateStatus(sendCtx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsInvalid(err) {
		return 0, failed(reasonFailedUpdate, "status of Ray", ray.Name, err)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.of(key)
	w.endDelay(r)
	if err != nil {
		r.rejected, r.rejectedUntil = ray.ResourceVersion, now.Add(rejectionInterval)
		klog.FromContext(ctx).Info("The API server rejected the status as invalid, reporting problems in events only", "retryAfter", rejectionInterval, "reason", serverMessage(err))
		return rejectionInterval, nil
	}
	w.consistency.WroteAt(key, rayResource, stored.ResourceVersion)
	r.rejected, r.altered = "", nil
	if !equality.Semantic.DeepEqual(&stored.Status, status) {
		r.altered = status
		klog.FromContext(ctx).Info("The API server stored another status than it was sent; check whether the CustomResourceDefinition is older than the operator")
	}
	klog.FromContext(ctx).V(2).Info("Updated", "kind", "status of Ray", "name", ray.Name)
	return 0, nil
}

// report records an event for each problem that was not reported yet. If the status is not to be
// written again, it has these problems and no others.
func (w *statusWriter) report(ray *rayv1.Ray, problems []error, retryAfter time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.of(cache.MetaObjectToName(ray))
	var reported sets.Set[problemKey]
	if retryAfter > 0 {
		reported = r.reported
	}
	for _, err := range problems {
		problem := asProblem(err)
		if !r.reported.Has(problem.problemKey) {
			eventType := corev1.EventTypeWarning
			if problem.reason == reasonTerminating {
				eventType = corev1.EventTypeNormal // it only takes time
			}
			w.recorder.Event(ray, eventType, problem.reason, problem.message)
		}
		reported = reported.Clone().Insert(problem.problemKey)
	}
	r.reported = reported
}

// awaitUpdate records that a sync waits for the cache to show the last status, so that this update
// must enqueue the Ray.
func (w *statusWriter) awaitUpdate(ray cache.ObjectName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of(ray).sent = nil
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
		w.endDelay(r)
		delete(w.records, ray)
	}
}

// of returns the record of a Ray. The caller must hold the lock.
func (w *statusWriter) of(ray cache.ObjectName) *statusRecord {
	r := w.records[ray]
	if r == nil {
		r = &statusRecord{}
		w.records[ray] = r
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
