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

package faults

import (
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/internal/fakeray"
)

// gcsPort is the port of the GCS of all Rays that run. It is not the default, so that the end-to-end tests can run on
// the same machine.
const gcsPort = 6380

// containerRestartDelay is after how long the kubelet restarts a node that was drained.
const containerRestartDelay = 2 * time.Second

// startGCS starts the GCS. The ClusterIPs of a local cluster are loopback addresses, so that it gets what operators send
// to the Service of a head.
var startGCS = sync.OnceValues(func() (*gcstest.Server, error) { return gcstest.Start(fmt.Sprintf("0.0.0.0:%d", gcsPort)) })

// deploy creates the Ray of a setup. If it runs, it gets a number of tasks.
func (s *setup) deploy(t *testing.T, spec *rayv1.RaySpec, tasks int64) error {
	t.Helper()
	ctx := t.Context()
	if err := createRay(ctx, s.namespace, spec); err != nil || !runs(spec) {
		return err
	}
	server, err := startGCS()
	if err != nil {
		return err
	}
	var head *corev1.Service
	err = eventually(ctx, func() (err error) {
		head, err = kube.CoreV1().Services(s.namespace).Get(ctx, rayName+"-head", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	address := head.Spec.ClusterIP
	t.Cleanup(func() { server.Remove(address) })
	if s.ray, err = fakeray.New(ctx, kube, server.Cluster(address), s.namespace, rayName); err != nil {
		return err
	}
	s.ray.OnDrain(func(string) { time.AfterFunc(containerRestartDelay, s.ray.RestartDrained) })
	s.ray.Submit(tasks)
	return nil
}

// setTasks submits or finishes tasks of a Ray that runs, one on each worker.
func (s *setup) setTasks(tasks int64) {
	busy := s.ray.Busy()
	if more := tasks - int64(len(busy)); more > 0 {
		s.ray.Submit(more)
		return
	}
	s.ray.Finish(busy[tasks:]...)
}

// checkTasks checks that no task of a Ray that runs was interrupted, and that the operator has made no call that no
// client must make.
func (s *setup) checkTasks(t *testing.T) {
	t.Helper()
	if s.ray == nil {
		return
	}
	if pods := s.ray.Interrupted(); len(pods) > 0 {
		t.Errorf("Pods were deleted while a task ran on their nodes: %v", pods)
	}
	for _, violation := range s.ray.GCS.Violations() {
		t.Errorf("a call to the GCS that no client must make: %s", violation)
	}
}

// hasWorkers returns the goal that a Ray that runs is healthy and has one worker for each task, as its demand says.
func hasWorkers(tasks int64) goal {
	return func(state *history.State) error {
		if err := healthy(state); err != nil {
			return err
		}
		if status := &state.Rays[0].Status; !isScalingActive(status) || int64(*status.Worker.DesiredReplicas) != tasks {
			return fmt.Errorf("the Ray has not been scaled to %d workers", tasks)
		}
		return nil
	}
}

func isScalingActive(status *rayv1.RayStatus) bool {
	for i := range status.Conditions {
		if condition := &status.Conditions[i]; condition.Type == rayv1.RayScalingActive {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
