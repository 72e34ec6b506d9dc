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
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// surging is a strategy that starts new workers first.
var surging = &rayv1.WorkerStrategy{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))}

// setSurging sets the strategy in the Ray.
func setSurging(ray *rayv1.Ray) { ray.Spec.Worker.Strategy = surging }

// renderSurging sets it in the Deployment, as the operator does.
func renderSurging(d *appsv1.Deployment) {
	d.Spec.Strategy.RollingUpdate.MaxUnavailable, d.Spec.Strategy.RollingUpdate.MaxSurge = surging.MaxUnavailable, surging.MaxSurge
}

// TestWorkerStrategy changes the strategy of the workers, as the user. The Pod template stays, even if another version
// of the operator rendered it.
func TestWorkerStrategy(t *testing.T) {
	const event = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: strategy"
	surge := func(f *fixture) { f.editRay(setSurging); f.deliver() }
	runSyncTests(t, []syncTest{
		{
			name:         "the user's strategy",
			change:       changeRay(setSurging),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{event},
			wantChildren: func(c *childSet) { renderSurging(c.Worker) },
		},
		{
			name:         "after an upgrade",
			change:       func(f *fixture) { renderDifferently(f); f.editRay(setSurging) },
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{event},
			wantChildren: func(c *childSet) { setOldRendering(c.Worker); renderSurging(c.Worker) },
		},
		{
			name:       "the default again",
			prepare:    surge,
			change:     changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Strategy = nil }),
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{event},
			wantChildren: func(c *childSet) {
				rolling := c.Worker.Spec.Strategy.RollingUpdate
				rolling.MaxUnavailable, rolling.MaxSurge = new(intstr.FromString("25%")), new(intstr.FromInt32(0))
			},
		},
		{
			name:       "an external change",
			prepare:    surge,
			change:     changeWorker(func(d *appsv1.Deployment) { d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromInt32(7)) }),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "strategy"),
		},
	})
}
