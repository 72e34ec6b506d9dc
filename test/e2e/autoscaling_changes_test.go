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

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"

	"github.com/kubeflow/ray-operator/test/internal/fakeray"
)

// TestAutoscalingHPA has a HorizontalPodAutoscaler for workers that Ray's demand scales. It is reported, and has no
// effect.
func TestAutoscalingHPA(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 1, "{maxReplicas: 10, idleTimeoutSeconds: 600}")
	u.kubectlWith(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: ray-cluster}
spec:
  scaleTargetRef: {apiVersion: ray.kubeflow.org/v1, kind: Ray, name: ray-cluster}
  minReplicas: 6
  maxReplicas: 8
`, "apply", "-f", "-")
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "HorizontalPodAutoscaler", "delete the HorizontalPodAutoscaler")
	f.waitWorkers(rayv1.RoleWorker, 1)
	f.Submit(2)
	f.waitWorkers(rayv1.RoleWorker, 2)
	if got := *u.ray("ray-cluster").Spec.Worker.Replicas; got != 6 {
		t.Errorf("spec.worker.replicas is %d, want the 6 of the HorizontalPodAutoscaler", got)
	}
	u.kubectl("delete", "hpa/ray-cluster")
	u.patchSpec(`{"worker":{"replicas":5}}`)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.checkNotInterrupted()
}

// TestAutoscalingDuringRollout changes the image of idle and busy workers to Pods that are not scheduled at first.
// Meanwhile demand adds workers, and no idle one is removed.
func TestAutoscalingDuringRollout(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 4, "{maxReplicas: 10, idleTimeoutSeconds: 600}")
	f.waitWorkers(rayv1.RoleWorker, 4)
	f.Submit(2)
	f.waitBusy(2)
	u.patchSpec(`{"worker":{"template":{"spec":{"nodeSelector":{"example.com/no":"node"}}}}}`)
	u.eventually("the rollout is in progress", func() error {
		if status := u.deployment("ray-cluster-worker").Status; status.UpdatedReplicas == 0 || status.UpdatedReplicas == status.Replicas {
			return fmt.Errorf("%d of %d Pods have the new template", status.UpdatedReplicas, status.Replicas)
		}
		return nil
	})
	u.patchSpec(`{"worker":{"autoscaling":{"idleTimeoutSeconds":2}}}`)
	f.Submit(4)
	u.eventually("workers are added", func() error {
		if got := f.desired(rayv1.RoleWorker); got < 5 {
			return fmt.Errorf("%d workers are desired, want at least 5", got)
		}
		return nil
	})
	f.Finish()
	time.Sleep(6 * time.Second)
	if drained := f.Drained(); len(drained) > 0 {
		t.Errorf("during a rollout, the Pods %v were drained", drained)
	}
	u.patchSpec(`{"worker":{"template":{"spec":{"nodeSelector":null}}}}`)
	f.waitWorkers(rayv1.RoleWorker, 0)
	u.waitHealthy("ray-cluster")
}

// TestAutoscalingBoundsUnderLoad changes the bounds while tasks run.
func TestAutoscalingBoundsUnderLoad(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 0, "{maxReplicas: 10, idleTimeoutSeconds: 600}")
	f.Submit(10)
	f.waitWorkers(rayv1.RoleWorker, 10)
	f.waitBusy(10)
	all := f.Busy()
	f.Finish(all[0], all[3], all[4], all[8])
	f.waitPolled(2)

	// The idle ones go first.
	u.patchSpec(`{"worker":{"autoscaling":{"maxReplicas":6}}}`)
	f.waitWorkers(rayv1.RoleWorker, 6)
	f.checkNotInterrupted()
	if left := f.Busy(); len(left) != 6 {
		t.Errorf("the busy Pods %v remain, want 6", left)
	}
	u.waitEvent("ray-cluster", "Normal", "Scaled", `Scaled group "worker" from 10 to 6: maxReplicas`)

	u.patchSpec(`{"worker":{"autoscaling":{"minReplicas":8,"maxReplicas":12}}}`)
	f.waitWorkers(rayv1.RoleWorker, 8)
	u.waitEvent("ray-cluster", "Normal", "Scaled", `Scaled group "worker" from 6 to 8: minReplicas`)
	f.Finish()
	u.patchSpec(`{"worker":{"autoscaling":{"minReplicas":2,"idleTimeoutSeconds":2}}}`)
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.waitPolled(3)
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.checkNotInterrupted()
}

// TestAutoscalingGroupRemoved removes a group that is being scaled, and then autoscaling.
func TestAutoscalingGroupRemoved(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const group = `
  workerGroups:
    - name: gpu
      replicas: 0
      autoscaling: {maxReplicas: 4, idleTimeoutSeconds: 600}
      template: {spec: {containers: [{name: ray-worker, image: "rayproject/ray:2.60.0", resources: {limits: {cpu: "1", memory: 2Gi, nvidia.com/gpu: "1"}}}]}}
`
	manifest := shortSample(t, "    replicas: 2\n", "    replicas: 0\n    autoscaling: {maxReplicas: 4, idleTimeoutSeconds: 600}\n")
	u.kubectlWith(manifest+group, "apply", "-f", "-")
	f := newFakeRay(u, "ray-cluster")
	f.Submit(2)
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.waitBusy(2)
	f.Require(fakeray.Demand(3, "GPU", 1))
	u.eventually("3 GPU workers are desired", func() error { return wantCount(3, f.desired("worker-gpu")) })

	u.patchSpec(`{"workerGroups":null}`)
	u.waitDeploymentGone("ray-cluster-worker-gpu")
	f.waitScaling(rayv1.RayInfeasibleDemand, corev1.ConditionTrue, "NoGroupFits", "GPU")
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.Require()
	f.waitScaling(rayv1.RayInfeasibleDemand, corev1.ConditionFalse, "AllDemandFits", "")

	u.patchSpec(`{"worker":{"autoscaling":null,"replicas":1}}`)
	u.eventually("the Ray is as one without autoscaling", func() error {
		ray := u.ray("ray-cluster")
		for _, c := range ray.Status.Conditions {
			if slices.Contains([]rayv1.RayConditionType{rayv1.RayScalingActive, rayv1.RayScalingLimited, rayv1.RayInfeasibleDemand}, c.Type) {
				return fmt.Errorf("it has the condition %v", c)
			}
		}
		if f.desired(rayv1.RoleWorker) != -1 {
			return errors.New("the status has desiredReplicas")
		}
		return wantCount(1, int(*u.deployment("ray-cluster-worker").Spec.Replicas))
	})
	before := f.polls()
	f.Submit(5)
	time.Sleep(3 * time.Second)
	if got := f.polls() - before; got > 1 {
		t.Errorf("the Ray without autoscaling is polled %d times", got)
	}
}

// TestAutoscalingSuspend suspends a Ray while tasks run. It resumes with the number of workers at creation.
func TestAutoscalingSuspend(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 2, "{maxReplicas: 10, idleTimeoutSeconds: 600}")
	f.Submit(5)
	f.waitWorkers(rayv1.RoleWorker, 5)
	u.patchSpec(`{"suspend":true}`)
	u.waitSuspended("ray-cluster")
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionFalse, "Suspended", "")
	if got := *u.deployment("ray-cluster-worker").Spec.Replicas; got != 0 {
		t.Errorf("the suspended Ray has %d workers", got)
	}
	f.Finish()
	before := f.polls()
	time.Sleep(3 * time.Second)
	if got := f.polls() - before; got > 0 {
		t.Errorf("the suspended Ray was polled %d times", got)
	}
	mark := metav1.Now()
	u.patchSpec(`{"suspend":false}`)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	t.Logf("polled %s after resuming", time.Since(mark.Time))
	f.waitWorkers(rayv1.RoleWorker, 2)
	f.Submit(3)
	f.waitWorkers(rayv1.RoleWorker, 3)
}
