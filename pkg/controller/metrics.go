package controller

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// Metrics are what the controller tells of its work as a whole. None is about one Ray, so
// their number is bounded by that of the namespaces.

var (
	// syncDuration is over all syncs, also those that failed.
	syncDuration = metrics.NewHistogram(&metrics.HistogramOpts{
		Name: "ray_operator_sync_duration_seconds",
		Help: "How long a sync of a Ray took, requests to the API server included.",
		// A sync with nothing to do takes some ten microseconds, one that waits for a
		// webhook up to requestTimeout.
		Buckets:        metrics.ExponentialBuckets(0.0001, 4, 10),
		StabilityLevel: metrics.ALPHA,
	})

	// syncErrors counts what is tried again. A cache that lags, a conflict, and waiting for
	// somebody else are no errors.
	syncErrors = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "ray_operator_sync_errors_total",
		Help:           "How many syncs of Rays failed, by the reason that the Ray's Health has then, Panic or Other.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"reason"})

	raysDesc = metrics.NewDesc("ray_operator_rays",
		"How many Rays there are, by namespace and Health (True, False, Unknown). Only the replica that leads has this.",
		[]string{"namespace", "health"}, nil, metrics.ALPHA, "")
	wantedDesc = metrics.NewDesc("ray_operator_replicas_wanted",
		"How many replicas the Rays of a namespace and Health want, by role (head, worker). Only the replica that leads has this.",
		[]string{"namespace", "role", "health"}, nil, metrics.ALPHA, "")
	availableDesc = metrics.NewDesc("ray_operator_replicas_available",
		"How many replicas of the Rays of a namespace and Health are available, by role (head, worker). Only the replica that leads has this.",
		[]string{"namespace", "role", "health"}, nil, metrics.ALPHA, "")
)

// RegisterMetrics registers the metrics of all controllers of the process. The counters of errors
// begin at 0: one that only appears with its first error shows no increase then.
func RegisterMetrics(register func(...metrics.Registerable)) {
	register(syncDuration, syncErrors)
	for _, reason := range []string{reasonFailedCreate, reasonFailedUpdate, reasonFailedDelete, reasonFailedGet, errorReasonPanic, errorReasonOther} {
		syncErrors.WithLabelValues(reason)
	}
}

// Reasons in syncErrors beside those of the condition Health.
const (
	errorReasonPanic = "Panic"
	errorReasonOther = "Other"
)

// errPanic says that a sync has panicked.
var errPanic = errors.New("panic in sync")

// errorReason returns the reason of a sync that failed, one of few.
func errorReason(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.reason
	}
	if errors.Is(err, errPanic) {
		return errorReasonPanic
	}
	return errorReasonOther
}

// observeSync records how long a sync took that began at start.
func (c *Controller) observeSync(start time.Time) {
	syncDuration.Observe(c.clock.Since(start).Seconds())
}

// rayCollector counts the Rays in the caches whenever it is asked, while the controller runs:
// a replica that stands by would only count them once more.
type rayCollector struct {
	metrics.BaseStableCollector
	controller *Controller
}

// Collector returns the collector of the metrics that are about Rays.
func (c *Controller) Collector() metrics.StableCollector { return &rayCollector{controller: c} }

// DescribeWithStability implements metrics.StableCollector.
func (*rayCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- raysDesc
	ch <- wantedDesc
	ch <- availableDesc
}

// CollectWithStability implements metrics.StableCollector.
func (r *rayCollector) CollectWithStability(ch chan<- metrics.Metric) {
	if !r.controller.running.Load() {
		return
	}
	gauge := func(desc *metrics.Desc, value int64, labels ...string) {
		ch <- metrics.NewLazyConstMetric(desc, metrics.GaugeValue, float64(value), labels...)
	}
	rays, err := r.controller.allRays()
	if err != nil {
		klog.Background().Error(err, "Metrics do not have all Rays")
	}
	for key, total := range sumRays(rays) {
		gauge(raysDesc, total.rays, key.namespace, key.health)
		for role, count := range total.replicas {
			gauge(wantedDesc, count.wanted, key.namespace, string(role), key.health)
			gauge(availableDesc, count.available, key.namespace, string(role), key.health)
		}
	}
}

// raysOf names the Rays of a namespace that have one Health.
type raysOf struct{ namespace, health string }

// rayTotal sums Rays up.
type rayTotal struct {
	rays     int64
	replicas map[rayv1.Role]replicaTotal
}

type replicaTotal struct{ wanted, available int64 }

// sumRays sums Rays up by namespace and Health, which is Unknown where no status says it.
func sumRays(rays []*rayv1.Ray) map[raysOf]rayTotal {
	totals := map[raysOf]rayTotal{}
	for _, ray := range rays {
		health := corev1.ConditionUnknown
		if condition := findCondition(ray.Status.Conditions, rayv1.RayHealth); condition != nil {
			health = condition.Status
		}
		key := raysOf{namespace: ray.Namespace, health: string(health)}
		total, found := totals[key]
		if !found {
			total.replicas = map[rayv1.Role]replicaTotal{}
		}
		total.rays++
		total.add(ray, rayv1.RoleHead, &ray.Status.Head.ReplicaCounts)
		if ray.Status.Worker != nil {
			total.add(ray, rayv1.RoleWorker, &ray.Status.Worker.ReplicaCounts)
		} else {
			total.add(ray, rayv1.RoleWorker, &rayv1.ReplicaCounts{})
		}
		totals[key] = total
	}
	return totals
}

// add adds the replicas of a group.
func (t *rayTotal) add(ray *rayv1.Ray, role rayv1.Role, counts *rayv1.ReplicaCounts) {
	total := t.replicas[role]
	_, unreadable := ray.Annotations[annotationUnreadable]
	if group := resources.Group(ray, role); group != nil && !unreadable {
		total.wanted += int64(resources.Replicas(group))
	}
	total.available += int64(counts.AvailableReplicas)
	t.replicas[role] = total
}
