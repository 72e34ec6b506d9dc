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
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
)

const (
	portsUpdated = "Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports"
	headIsLost   = "head: 0 of 1 available"
)

// loseHead sets the status of the head's Deployment as the Deployment controller does when its Pod is lost.
// The rollout remains a success.
func (f *fixture) loseHead() {
	f.t.Helper()
	f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.ReadyReplicas, d.Status.AvailableReplicas = 0, 0 })
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: " + headIsLost)
	f.deliver()
	f.clock.Step(time.Minute)
}

// TestWorkersOfLostHead has a head that had rolled out, and lost its Pod. New workers may be what it
// needs, so they do not wait for ever.
func TestWorkersOfLostHead(t *testing.T) {
	f := newHealthyFixture(t)
	f.loseHead()
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: " + headIsLost + "; " + workerWaits)
	f.deliver()
	f.clock.Step(maxHeadWait - time.Millisecond)
	f.checkSync(nil, nil, nil)
	f.checkImages("rayproject/examples:1", "rayproject/examples:1")
	f.clock.Step(time.Millisecond)
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerUpdated})
	f.checkHealth("False RolloutIncomplete: " + headIsLost + "; " + workerUnobserved)
	f.checkImages("rayproject/examples:1", "new")
	f.rollOut()
	f.makeHealthy()

	f.loseHead() // another time
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "newer" })
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: " + headIsLost + "; " + workerWaits)
}

// TestWorkersOfExceededHead has a head that exceeded its progress deadline. The Deployment controller has
// not corrected the condition yet when the head gets a new template, for which the workers must wait.
func TestWorkersOfExceededHead(t *testing.T) {
	f := newHealthyFixture(t)
	f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) {
		progressing := findDeploymentCondition(d, appsv1.DeploymentProgressing)
		progressing.Status, progressing.Reason = corev1.ConditionFalse, "ProgressDeadlineExceeded"
	})
	f.loseHead()
	f.editRay(setImages("new"))
	f.deliver()
	f.checkSync(nil, []string{dryRunWorker, updateHead, updateStatus}, []string{headUpdated})
	f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerWaits)
	f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) {
		d.Status.ObservedGeneration, d.Status.UpdatedReplicas = d.Generation, 0
	})
	f.deliver()
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: " + headIsLost + "; " + workerWaits)
	f.checkImages("new", "rayproject/examples:1")
	f.rollOut()
	f.deliver()
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerReplaced})
	f.checkImages("new", "new")
}

// TestExternalTemplateWhileWaiting has another client change the template of workers that wait for the head.
// The change must not pass for the operator's when the workers are scaled, and later their user wants the old
// template again.
func TestExternalTemplateWhileWaiting(t *testing.T) {
	f := newWaitingFixture(t)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { container(d).Image = "by-hand" })
	f.deliver()
	f.checkSync(nil, nil, nil)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.deliver()
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerScaled})
	f.checkImages("new", "by-hand")
	f.checkPending(true)
	f.checkSteadyState(nil)
	f.restart()
	f.checkSteadyState(nil)

	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "rayproject/examples:1" })
	f.deliver()
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerUpdated})
	f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerUnobserved)
	f.checkImages("new", "rayproject/examples:1")
	f.checkPending(false)
	f.rollOut()
	f.makeHealthy()
	f.checkImages("new", "rayproject/examples:1")
}

// TestPortsWaitForHead has a head that is rejected while its ports change, and another client that changes a
// label of the Service meanwhile. The ports are a change by the user then, too.
func TestPortsWaitForHead(t *testing.T) {
	f := newHealthyFixture(t)
	before := f.servicePorts()
	f.editRay(setHeadPorts)
	f.editService(func(s *corev1.Service) { s.Labels[rayv1.LabelRole] = "x" })
	f.deliver()
	f.reject(overQuota(), updateHead)
	f.checkSync(apierrors.IsForbidden, []string{updateHead, updateService, updateStatus}, []string{
		"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: labels",
		"Warning FailedUpdate " + headRejected,
	})
	if got := f.servicePorts(); len(got) != len(before) {
		t.Errorf("the Service has the ports %v, want those of the old head", got)
	}
	f.checkSteadyState(apierrors.IsForbidden)
	f.checkRestart(apierrors.IsForbidden)

	f.server.reject = nil
	f.clock.Step(time.Minute)
	f.deliver()
	f.checkSync(nil, []string{updateHead, updateService, updateStatus}, []string{headUpdated + ", minReadySeconds", portsUpdated})
	if got := f.servicePorts(); len(got) != 1 || got[0].Port != 1 {
		t.Errorf("the Service has the ports %v, want that of the user", got)
	}
	f.rollOut()
	f.makeHealthy()
}

// TestEmptyWorkersDoNotWait changes both templates while there are no workers. None starts with the former template.
func TestEmptyWorkersDoNotWait(t *testing.T) {
	t.Run("the Ray was suspended", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(setSuspend(true))
		f.converge()
		f.rollOut()
		f.converge()
		f.checkSuspended(suspended)
		f.editRay(func(ray *rayv1.Ray) { setSuspend(false)(ray); setImages("new")(ray) })
		f.converge()
		f.checkPending(false)
		f.checkImages("new", "new")
	})
	t.Run("autoscaling starts the first worker", func(t *testing.T) {
		f := newHealthyFixture(t)
		f.editRay(func(ray *rayv1.Ray) {
			ray.Spec.Worker.Replicas = new(int32(0))
			ray.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MinReplicas: new(int32(0)), MaxReplicas: 5}
		})
		recommend := func(replicas int32) {
			f.recommender[sampleKey] = &autoscaler.Recommendation{UID: f.ray().UID, Replicas: map[string]int32{"worker": replicas}}
		}
		recommend(0)
		for range 3 {
			f.converge()
			f.rollOut()
		}
		f.editRay(setImages("new"))
		f.converge()
		recommend(4)
		f.converge()
		f.checkImages("new", "new")
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 4 {
			t.Errorf("got %d workers, want 4", got)
		}
	})
}
