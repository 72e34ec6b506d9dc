package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/testutil"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestCollector has a healthy Ray, one whose workers are missing, and one that nobody has seen.
func TestCollector(t *testing.T) {
	f := newHealthyFixture(t)
	f.workersAvailable(1)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	unseen := readSample(t)
	unseen.Name, unseen.Spec.Worker = "unseen", nil
	f.put(unseen)
	f.deliver()

	if err := testutil.CustomCollectAndCompare(f.controller.Collector(), strings.NewReader("")); err != nil {
		t.Errorf("a replica that stands by has metrics of Rays: %v", err)
	}
	f.controller.running.Store(true)
	want := `
# HELP ray_operator_rays [ALPHA] How many Rays there are, by namespace and Health (True, False, Unknown). Only the replica that leads has this.
# TYPE ray_operator_rays gauge
ray_operator_rays{health="False",namespace="default"} 1
ray_operator_rays{health="Unknown",namespace="default"} 1
# HELP ray_operator_replicas_wanted [ALPHA] How many replicas the Rays of a namespace and Health want, by role (head, worker). Only the replica that leads has this.
# TYPE ray_operator_replicas_wanted gauge
ray_operator_replicas_wanted{health="False",namespace="default",role="head"} 1
ray_operator_replicas_wanted{health="False",namespace="default",role="worker"} 5
ray_operator_replicas_wanted{health="Unknown",namespace="default",role="head"} 1
ray_operator_replicas_wanted{health="Unknown",namespace="default",role="worker"} 0
# HELP ray_operator_replicas_available [ALPHA] How many replicas of the Rays of a namespace and Health are available, by role (head, worker). Only the replica that leads has this.
# TYPE ray_operator_replicas_available gauge
ray_operator_replicas_available{health="False",namespace="default",role="head"} 1
ray_operator_replicas_available{health="False",namespace="default",role="worker"} 1
ray_operator_replicas_available{health="Unknown",namespace="default",role="head"} 0
ray_operator_replicas_available{health="Unknown",namespace="default",role="worker"} 0
`
	if err := testutil.CustomCollectAndCompare(f.controller.Collector(), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestErrorsBeginAtZero has the counters there before the first error, so that it is an increase.
func TestErrorsBeginAtZero(t *testing.T) {
	registry := metrics.NewKubeRegistry()
	RegisterMetrics(registry.MustRegister)
	want := `
# HELP ray_operator_sync_errors_total [ALPHA] How many syncs of Rays failed, by the reason that the Ray's Health has then, Panic or Other.
# TYPE ray_operator_sync_errors_total counter
ray_operator_sync_errors_total{reason="FailedCreate"} 0
ray_operator_sync_errors_total{reason="FailedDelete"} 0
ray_operator_sync_errors_total{reason="FailedGet"} 0
ray_operator_sync_errors_total{reason="FailedUpdate"} 0
ray_operator_sync_errors_total{reason="Other"} 0
ray_operator_sync_errors_total{reason="Panic"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "ray_operator_sync_errors_total"); err != nil {
		t.Error(err)
	}
}

// TestErrorReason states by what the metric of errors tells them apart.
func TestErrorReason(t *testing.T) {
	refused := failed(reasonFailedCreate, "create", "service", "a", errors.New("no"))
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.Join(errors.New("x"), fmt.Errorf("y: %w", refused)), reasonFailedCreate},
		{fmt.Errorf("%w: nil map", errPanic), "Panic"},
		{errors.New("x"), "Other"},
	} {
		if got := errorReason(test.err); got != test.want {
			t.Errorf("%v has the reason %s, want %s", test.err, got, test.want)
		}
	}
}
