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
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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

// TestStrategyWithHead changes templates, and checks how many workers may be missing while theirs rolls out. Only those
// of a cluster that is gone are replaced all at once.
func TestStrategyWithHead(t *testing.T) {
	setImages := func(groups ...string) func(*rayv1.Ray) {
		return func(ray *rayv1.Ray) {
			image := fmt.Sprintf("generation-%d", ray.Generation)
			if slices.Contains(groups, "head") {
				ray.Spec.Head.Template.Spec.Containers[0].Image = image
			}
			if slices.Contains(groups, "worker") {
				ray.Spec.Worker.Template.Spec.Containers[0].Image = image
			}
		}
	}
	restore := func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "rayproject/examples:1" }
	scale := func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }
	setService := func(ray *rayv1.Ray) {
		ray.Spec.HeadService = &rayv1.HeadServiceSpec{PublishNotReadyAddresses: new(true)}
	}
	setGCS := func(ray *rayv1.Ray) {
		ray.Spec.GCS = &rayv1.GCSSpec{VolumeClaim: &rayv1.VolumeClaimReference{Name: "gcs"}}
	}
	all := func(edits ...func(*rayv1.Ray)) func(*rayv1.Ray) {
		return func(ray *rayv1.Ray) {
			for _, edit := range edits {
				edit(ray)
			}
		}
	}
	loseHead := func(f *fixture) {
		f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.ReadyReplicas, d.Status.AvailableReplicas = 0, 0 })
		f.deliver()
	}
	const allAtOnce, rolling = "100%", "25%"
	for _, test := range []struct {
		name string
		// edits are changes of the spec. Each rolls out before the next one, except for those that are waiting.
		edits   []func(*rayv1.Ray)
		waiting int
		// prepare runs before the last edit.
		prepare func(*fixture)
		// want is the maxUnavailable of the workers as they roll out, and after is that when they have.
		want, after string
	}{
		{"both templates", []func(*rayv1.Ray){setImages("head", "worker")}, 0, nil, allAtOnce, rolling},
		{"only the workers'", []func(*rayv1.Ray){setImages("worker")}, 0, nil, rolling, rolling},
		{"only the head's", []func(*rayv1.Ray){setImages("head")}, 0, nil, rolling, rolling},
		{"the head's, and then the workers'", []func(*rayv1.Ray){setImages("head"), setImages("worker")}, 0, nil, rolling, rolling},
		{"both, and then the workers'", []func(*rayv1.Ray){setImages("head", "worker"), setImages("worker")}, 0, nil, rolling, rolling},
		{"both, and the replicas while the workers wait", []func(*rayv1.Ray){setImages("head", "worker"), scale}, 1, nil, allAtOnce, rolling},
		{"both, and something else while the workers wait", []func(*rayv1.Ray){setImages("head", "worker"), setService}, 1, nil, allAtOnce, rolling},
		{"both, and another template while the workers wait", []func(*rayv1.Ray){setImages("head", "worker"), setImages("worker")}, 1, nil, allAtOnce, rolling},
		{"both, the workers' back while they wait, and then the workers'", []func(*rayv1.Ray){setImages("head", "worker"), restore, setImages("worker")}, 1, nil, rolling, rolling},
		{"both, the replicas and the workers' back while they wait, and then the workers'", []func(*rayv1.Ray){setImages("head", "worker"), scale, restore, setImages("worker")}, 2, nil, rolling, rolling},
		{"the workers' and the replicas, while the head is not available", []func(*rayv1.Ray){all(setImages("worker"), scale)}, 0, loseHead, rolling, rolling},
		{"both, with a strategy of the user's", []func(*rayv1.Ray){setSurging, setImages("head", "worker")}, 0, nil, "0", "0"},
		{"both, and then a strategy of the user's", []func(*rayv1.Ray){setImages("head", "worker"), setSurging}, 0, nil, "0", "0"},
		{"both, if the GCS has a storage", []func(*rayv1.Ray){setGCS, setImages("head", "worker")}, 0, nil, rolling, rolling},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			for i, edit := range test.edits {
				last := i == len(test.edits)-1
				if last && test.prepare != nil {
					test.prepare(f)
				}
				f.editRay(edit)
				f.deliver()
				if i < test.waiting {
					_ = f.sync() // the workers wait for the head
					f.deliver()
					continue
				}
				f.converge()
				f.rollOut() // the head, and now the workers
				f.converge()
				if last {
					f.checkMaxUnavailable(test.want)
				}
				f.makeHealthy()
			}
			f.checkMaxUnavailable(test.after)
			f.checkSteadyState(nil)
			f.checkRestart(nil)
		})
	}
}

// newWithHeadFixture returns a fixture of a Ray with workers that roll out together with their head.
func newWithHeadFixture(t *testing.T) *fixture {
	t.Helper()
	f := newHealthyFixture(t)
	f.editRay(setImages("next"))
	f.converge()
	f.rollOut()
	f.converge()
	f.checkMaxUnavailable("100%")
	return f
}

// checkMaxUnavailable checks how many workers may be missing during a rollout.
func (f *fixture) checkMaxUnavailable(want string) {
	f.t.Helper()
	if got := f.deployment(rayv1.RoleWorker).Spec.Strategy.RollingUpdate.MaxUnavailable.String(); got != want {
		f.t.Errorf("maxUnavailable of the workers is %s, want %s", got, want)
	}
}

func setMaxUnavailable(value intstr.IntOrString) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Strategy.RollingUpdate.MaxUnavailable = &value }
}

// TestStrategyWithHeadReverted changes the strategy as another client while workers are replaced together with the head.
func TestStrategyWithHeadReverted(t *testing.T) {
	f := newWithHeadFixture(t)
	f.editDeployment(rayv1.RoleWorker, setMaxUnavailable(intstr.FromInt32(7)))
	f.converge()
	f.checkMaxUnavailable("100%")
}

// TestStrategyRestoredByOthers restores the strategy as another client. The operator does not set the other one again.
func TestStrategyRestoredByOthers(t *testing.T) {
	f := newWithHeadFixture(t)
	f.editDeployment(rayv1.RoleWorker, setMaxUnavailable(intstr.FromString("25%")))
	f.rollOut()
	f.makeHealthy()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas-- })
	f.converge()
	f.checkMaxUnavailable("25%")
}

// TestStrategyOfIncompleteWorkers checks that the strategy is restored although a new worker does not become available.
func TestStrategyOfIncompleteWorkers(t *testing.T) {
	f := newWithHeadFixture(t)
	f.rollOut()
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas-- })
	f.converge()
	f.checkMaxUnavailable("100%")
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"}}
	})
	f.converge()
	f.checkMaxUnavailable("25%")
}

// TestStrategyAfterLostLabel changes the head while the cache does not have the workers. Later, only the workers change.
func TestStrategyAfterLostLabel(t *testing.T) {
	f := newHealthyFixture(t)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { delete(d.Labels, rayv1.LabelName) })
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "next" })
	f.converge()
	f.makeHealthy()
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "next" })
	f.converge()
	f.checkMaxUnavailable("25%")
}

// TestStrategyOfDryRun checks that the workers are written as they were checked by the dry run: a policy can reject a
// strategy.
func TestStrategyOfDryRun(t *testing.T) {
	f := newHealthyFixture(t)
	var sent []string
	f.server.admit = func(o object) {
		if d, ok := o.(*appsv1.Deployment); ok && d.Spec.Strategy.RollingUpdate != nil && container(d).Image == "new" {
			sent = append(sent, d.Spec.Strategy.RollingUpdate.MaxUnavailable.String())
		}
	}
	f.editRay(setImages("new"))
	f.converge()
	f.rollOut()
	f.converge()
	if diff := cmp.Diff([]string{"100%", "100%"}, sent); diff != "" {
		t.Errorf("maxUnavailable of the dry run and of the update (-want +got):\n%s", diff)
	}
}
