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
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// Metrics are about the controller as a whole. None is about a single Ray, so that their number is
// bounded by the number of namespaces.

var (
	// syncDuration is about all syncs, including failed ones.
	syncDuration = metrics.NewHistogram(&metrics.HistogramOpts{
		Name: "ray_operator_sync_duration_seconds",
		Help: "Duration of the sync of a Ray, including requests to the API server.",
		// A sync with nothing to do takes some ten microseconds; one that waits for a webhook takes up to
		// childrenTimeout.
		Buckets:        metrics.ExponentialBuckets(0.0001, 4, 10),
		StabilityLevel: metrics.ALPHA,
	})

	// syncErrors counts syncs that are retried with backoff. A stale cache, a conflict and a blocked Ray
	// are not errors.
	syncErrors = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "ray_operator_sync_errors_total",
		Help:           "Number of failed syncs of Rays, by reason: that of the condition Health, Panic, or Other.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"reason"})

	raysDesc = metrics.NewDesc("ray_operator_rays",
		"Number of Rays, by namespace and status of the condition Health, or Suspended. Reported by the leader only.",
		[]string{"namespace", "health"}, nil, metrics.ALPHA, "")
	desiredDesc = metrics.NewDesc("ray_operator_desired_replicas",
		"Number of desired replicas, by namespace, role (head, worker) and Health of their Ray. Reported by the leader only.",
		[]string{"namespace", "role", "health"}, nil, metrics.ALPHA, "")
	availableDesc = metrics.NewDesc("ray_operator_available_replicas",
		"Number of available replicas, by namespace, role (head, worker) and Health of their Ray. Reported by the leader only.",
		[]string{"namespace", "role", "health"}, nil, metrics.ALPHA, "")
)

// Reasons of syncErrors other than those of the condition Health.
const (
	errorReasonPanic = "Panic"
	errorReasonOther = "Other"
)

// RegisterMetrics registers the metrics of all controllers of the process. Counters start at 0: a
// counter that appears with its first error shows no increase.
func RegisterMetrics(register func(...metrics.Registerable)) {
	register(syncDuration, syncErrors)
	for _, reason := range []string{reasonFailedCreate, reasonFailedUpdate, reasonFailedDelete, reasonFailedGet, errorReasonPanic, errorReasonOther} {
		syncErrors.WithLabelValues(reason)
	}
}

// errorReason returns the reason of a failed sync.
func errorReason(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.reason
	}
	if errors.Is(err, errPanic) {
		return errorReasonPanic
	}
	return errorReasonOther
}

// observeSync records the duration of a sync.
func observeSync(clock clock.PassiveClock, start time.Time) {
	syncDuration.Observe(clock.Since(start).Seconds())
}

// rayCollector counts the Rays in the caches at each scrape, while the controller is running: counts
// of a standby replica would be duplicates.
type rayCollector struct {
	metrics.BaseStableCollector
	caches  map[string]*caches
	running *atomic.Bool
}

// DescribeWithStability implements metrics.StableCollector.
func (*rayCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- raysDesc
	ch <- desiredDesc
	ch <- availableDesc
}

// CollectWithStability implements metrics.StableCollector.
func (r *rayCollector) CollectWithStability(ch chan<- metrics.Metric) {
	if !r.running.Load() {
		return
	}
	gauge := func(desc *metrics.Desc, value int64, labels ...string) {
		ch <- metrics.NewLazyConstMetric(desc, metrics.GaugeValue, float64(value), labels...)
	}
	rays, err := allRays(r.caches)
	if err != nil {
		klog.Background().Error(err, "Metrics lack Rays that could not be listed")
	}
	for key, total := range sumRays(rays) {
		gauge(raysDesc, total.rays, key.namespace, key.health)
		for role, count := range total.replicas {
			gauge(desiredDesc, count.desired, key.namespace, string(role), key.health)
			gauge(availableDesc, count.available, key.namespace, string(role), key.health)
		}
	}
}

// rayKey identifies the Rays of a namespace with one status of Health.
type rayKey struct{ namespace, health string }

// rayTotal is a sum over Rays.
type rayTotal struct {
	rays     int64
	replicas map[rayv1.Role]replicaTotal
}

type replicaTotal struct{ desired, available int64 }

// healthOf returns the status of the condition Health, which is Unknown for a Ray without the condition, or
// Suspended for a Ray that is: it is no problem that such a Ray is not healthy.
func healthOf(ray *rayv1.Ray) string {
	condition := findCondition(ray.Status.Conditions, rayv1.RayHealth)
	switch {
	case condition == nil:
		return string(corev1.ConditionUnknown)
	case condition.Reason == reasonSuspended:
		return reasonSuspended
	default:
		return string(condition.Status)
	}
}

// sumRays sums Rays up by namespace and Health.
func sumRays(rays []*rayv1.Ray) map[rayKey]rayTotal {
	totals := map[rayKey]rayTotal{}
	for _, ray := range rays {
		key := rayKey{namespace: ray.Namespace, health: healthOf(ray)}
		total, found := totals[key]
		if !found {
			total.replicas = map[rayv1.Role]replicaTotal{rayv1.RoleHead: {}, rayv1.RoleWorker: {}}
		}
		total.rays++
		// All groups of workers count as workers, which bounds the number of roles.
		add := func(isHead bool, desired, available int32) {
			role := rayv1.RoleWorker
			if isHead {
				role = rayv1.RoleHead
			}
			sum := total.replicas[role]
			total.replicas[role] = replicaTotal{sum.desired + int64(desired), sum.available + int64(available)}
		}
		if _, undecodable := rayclient.Undecodable(ray); !undecodable {
			for _, group := range resources.Groups(ray) {
				add(group.IsHead(), lastDesired(&group, &ray.Status), 0)
			}
		}
		add(true, 0, ray.Status.Head.AvailableReplicas)
		if worker := ray.Status.Worker; worker != nil {
			add(false, 0, worker.AvailableReplicas)
		}
		for _, group := range ray.Status.WorkerGroups {
			add(false, 0, group.AvailableReplicas)
		}
		totals[key] = total
	}
	return totals
}
