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
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/podcause"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// minCauseInterval is for how long a group must be incomplete until its Pods are listed, and the
	// minimum time between two lists. It doubles up to maxCauseInterval while the counts do not change.
	minCauseInterval = 5 * time.Second
	maxCauseInterval = time.Minute
	// podListQPS and podListBurst limit the lists of Pods over all Rays.
	podListQPS   = 5
	podListBurst = 10
	// podListTimeout is the timeout of a list.
	podListTimeout = 10 * time.Second
)

// causeFinder finds out why Pods of incomplete groups are not available. Pods are listed for this, but
// neither watched nor cached: a healthy Ray costs nothing.
type causeFinder struct {
	kubeClient  kubernetes.Interface
	clock       clock.PassiveClock
	rateLimiter flowcontrol.PassiveRateLimiter
	// listing is held during a list, so that only one response is in memory at a time.
	listing sync.Mutex

	mu sync.Mutex
	// rays has the incomplete groups of each Ray, by name.
	rays map[cache.ObjectName]map[string]*causeRecord
}

// causeRecord is what is known of an incomplete group.
type causeRecord struct {
	// template identifies the Deployment and its Pod template, and progress are its counts.
	template string
	progress string
	// next is when to list Pods next, and interval the time to the list after that.
	next     time.Time
	interval time.Duration
	// listed is when Pods were last listed, and cause is what they showed.
	listed time.Time
	cause  string
}

func newCauseFinder(kubeClient kubernetes.Interface, clock clock.PassiveClock) *causeFinder {
	return &causeFinder{
		kubeClient:  kubeClient,
		clock:       clock,
		rateLimiter: flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(podListQPS, podListBurst, clock),
		rays:        map[cache.ObjectName]map[string]*causeRecord{},
	}
}

// find sets the cause of each incomplete group, as far as it is known, and returns after how long to
// call it again, or 0.
func (f *causeFinder) find(ctx context.Context, ray *rayv1.Ray, groups []groupObservation) (retryAfter time.Duration) {
	for i := range groups {
		group := &groups[i]
		record, list := f.prepare(ray, group)
		if record == nil {
			continue
		}
		if list {
			f.list(ctx, ray, group, record)
		}
		f.mu.Lock()
		group.cause = record.cause
		retryAfter = earliest(retryAfter, max(record.next.Sub(f.clock.Now()), time.Millisecond))
		f.mu.Unlock()
	}
	return retryAfter
}

// prepare returns the record of a group, or nil if no cause is to be reported now, and whether to list its
// Pods now. For a list it locks f.listing.
func (f *causeFinder) prepare(ray *rayv1.Ray, group *groupObservation) (record *causeRecord, list bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, now := cache.MetaObjectToName(ray), f.clock.Now()
	record = f.rays[key][group.name]
	if group.isUnobserved() {
		return nil, false
	}
	// A container that crashes again and again is ready now and then, so a cause is kept.
	ready := group.deployment != nil && group.desired != nil && group.isReady()
	if !group.isExplainable() || ready && (record == nil || record.cause == "") {
		delete(f.rays[key], group.name)
		if len(f.rays[key]) == 0 {
			delete(f.rays, key)
		}
		return nil, false
	}
	progress := group.progress()
	template := string(group.deployment.UID) + resources.Hash(&group.deployment.Spec.Template)
	if record == nil || record.template != template {
		record = &causeRecord{
			template: template, progress: progress,
			next: now.Add(minCauseInterval), interval: minCauseInterval,
		}
		if f.rays[key] == nil {
			f.rays[key] = map[string]*causeRecord{}
		}
		f.rays[key][group.name] = record
	}
	if record.progress != progress {
		record.progress, record.interval = progress, minCauseInterval
		if earlier := record.listed.Add(minCauseInterval); !record.listed.IsZero() && earlier.Before(record.next) {
			record.next = earlier
		}
	}
	if now.Before(record.next) {
		return record, false
	}
	// A slow list must not occupy the workers that other Rays need.
	if !f.listing.TryLock() {
		record.next = now.Add(time.Second)
		return record, false
	}
	if !f.rateLimiter.TryAccept() {
		f.listing.Unlock()
		record.next = now.Add(record.interval) // a first list comes before a repeated one
		return record, false
	}
	record.interval = min(2*record.interval, maxCauseInterval)
	record.next, record.listed = now.Add(record.interval), now
	return record, true
}

// list lists the Pods of a group, and records the cause. If that fails, the last known cause stays. The
// caller must have locked f.listing, which list unlocks.
func (f *causeFinder) list(ctx context.Context, ray *rayv1.Ray, group *groupObservation, record *causeRecord) {
	defer f.listing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, podListTimeout)
	defer cancel()
	pods, err := f.kubeClient.CoreV1().Pods(ray.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector:   resources.Selector(ray, group.role),
		ResourceVersion: "0", // from the watch cache of the API server
	})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot list Pods to find out why they are not available", "group", group.name)
		return
	}
	cause := podcause.Summary(pods.Items, f.clock.Now())
	f.mu.Lock()
	defer f.mu.Unlock()
	record.cause = cause
}

// forget drops what is known of a Ray.
func (f *causeFinder) forget(ray cache.ObjectName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rays, ray)
}
