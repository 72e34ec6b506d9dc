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
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/testutil"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// TestCollector has a Ray with missing workers, in two groups, and a Ray without a status.
func TestCollector(t *testing.T) {
	f := newGroupsFixture(t, "gpu")
	f.setAvailableWorkers(1)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	unsynced := readSample(t)
	unsynced.Name, unsynced.Spec.Worker = "unsynced", nil
	f.put(unsynced)
	f.deliver()

	if err := testutil.CustomCollectAndCompare(f.controller.Collector(), strings.NewReader("")); err != nil {
		t.Errorf("a standby replica reports metrics about Rays: %v", err)
	}
	f.controller.running.Store(true)
	want := `
# HELP ray_operator_rays [ALPHA] Number of Rays, by namespace and status of the condition Health, or Suspended. Reported by the leader only.
# TYPE ray_operator_rays gauge
ray_operator_rays{health="False",namespace="default"} 1
ray_operator_rays{health="Unknown",namespace="default"} 1
# HELP ray_operator_desired_replicas [ALPHA] Number of desired replicas, by namespace, role (head, worker) and Health of their Ray. Reported by the leader only.
# TYPE ray_operator_desired_replicas gauge
ray_operator_desired_replicas{health="False",namespace="default",role="head"} 1
ray_operator_desired_replicas{health="False",namespace="default",role="worker"} 7
ray_operator_desired_replicas{health="Unknown",namespace="default",role="head"} 1
ray_operator_desired_replicas{health="Unknown",namespace="default",role="worker"} 0
# HELP ray_operator_available_replicas [ALPHA] Number of available replicas, by namespace, role (head, worker) and Health of their Ray. Reported by the leader only.
# TYPE ray_operator_available_replicas gauge
ray_operator_available_replicas{health="False",namespace="default",role="head"} 1
ray_operator_available_replicas{health="False",namespace="default",role="worker"} 3
ray_operator_available_replicas{health="Unknown",namespace="default",role="head"} 0
ray_operator_available_replicas{health="Unknown",namespace="default",role="worker"} 0
`
	if err := testutil.CustomCollectAndCompare(f.controller.Collector(), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestLastDesired has groups of workers, and the number of desired ones that metrics report.
func TestLastDesired(t *testing.T) {
	f := newGroupsFixture(t, "gpu", "spot")
	f.editRay(func(ray *rayv1.Ray) {
		autoscale(1, 6)(ray)
		ray.Spec.WorkerGroups[0].Autoscaling = &rayv1.AutoscalingSpec{MaxReplicas: 9}
	})
	f.recommend(map[string]int32{"worker": 5, "gpu": 7})
	f.makeHealthy()
	for _, status := range []rayv1.RayStatus{f.ray().Status, {}} {
		ray, got := f.ray(), []int32{}
		for _, group := range resources.Groups(ray) {
			got = append(got, lastDesired(&group, &status))
		}
		want := []int32{1, 5, 7, 2}
		if status.Worker == nil {
			want = []int32{1, 3, 2, 2} // the numbers at creation
		}
		if !slices.Equal(got, want) {
			t.Errorf("desired are %v, want %v", got, want)
		}
	}
}

// TestErrorsStartAtZero checks that the error counters exist before the first error, so that it is an
// increase.
func TestErrorsStartAtZero(t *testing.T) {
	registry := metrics.NewKubeRegistry()
	syncErrors.Reset() // other tests count errors, too
	RegisterMetrics(registry.MustRegister)
	want := `
# HELP ray_operator_sync_errors_total [ALPHA] Number of failed syncs of Rays, by reason: that of the condition Health, Panic, or Other.
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

func TestErrorReason(t *testing.T) {
	rejected := failed(reasonFailedCreate, "Service", "a", errors.New("no"))
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"a problem that is joined and wrapped", errors.Join(errors.New("x"), fmt.Errorf("y: %w", rejected)), reasonFailedCreate},
		{"a panic", fmt.Errorf("%w: nil map", errPanic), "Panic"},
		{"another error", errors.New("x"), "Other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := errorReason(test.err); got != test.want {
				t.Errorf("%q has the reason %s, want %s", test.err, got, test.want)
			}
		})
	}
}
