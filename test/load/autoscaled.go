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

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

// gcsAddress is where the operator expects the GCS of each head: the ClusterIPs of a local cluster are loopback addresses.
const gcsAddress = "0.0.0.0:6379"

// idleWorkers is the number of workers of each autoscaled Ray, which is the minimum.
const idleWorkers = 3

// measureAutoscaled measures Rays in steady state that the operator polls. The cluster must not create Pods: this program
// is the GCS of all Rays, and reports their Deployments to be available.
func measureAutoscaled(ctx context.Context, s *setup, load load) (*autoscaled, error) {
	server, err := gcstest.Start(gcsAddress)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	if err := s.open(ctx, healthy); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, load.rest+load.timeout(), fmt.Errorf("timeout of %s", load.timeout()))
	defer cancel()
	result, err := s.measurePolls(ctx, server, load)
	return result, errors.Join(err, s.operator.stop())
}

// measurePolls creates Rays and measures the operator while it polls them.
func (s *setup) measurePolls(ctx context.Context, server *gcstest.Server, load load) (*autoscaled, error) {
	var err error
	if s.sample, err = readRay(s.cluster.Path("manifests/samples/ray-cluster.yaml")); err != nil {
		return nil, err
	}
	s.sample.Spec.Worker.Replicas = new(int32(idleWorkers))
	s.sample.Spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MinReplicas: new(int32(idleWorkers)), MaxReplicas: 100}
	if err := s.createNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	progress("creating %d autoscaled Rays", load.rays)
	names := rayNames("ray", load.rays)
	if err := inParallel(ctx, len(names), func(ctx context.Context, i int) error {
		return s.createPolled(ctx, server, names[i])
	}); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := s.rayTracker.wait(ctx, version{cache.NewObjectName(namespace, name), 1}); err != nil {
			return nil, err
		}
		if err := s.waitPolled(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := s.waitQuiet(ctx, math.Inf(1)); err != nil {
		return nil, err
	}

	progress("observing %d autoscaled Rays", load.rays)
	before := polls(server)
	rest, err := s.measureRest(ctx, load.rest)
	if err != nil {
		return nil, err
	}
	return &autoscaled{Machine: s.machine, Rays: load.rays, Rest: rest, Polls: float64(polls(server)-before) / rest.Seconds}, nil
}

// polls returns how often a GCS was asked for its state.
func polls(server *gcstest.Server) int { return server.Calls()["GetClusterResourceState"] }

// createPolled creates a Ray with a GCS and Deployments that are available.
func (s *setup) createPolled(ctx context.Context, server *gcstest.Server, name string) error {
	if err := s.create(ctx, namespace, name); err != nil {
		return err
	}
	for _, group := range []struct {
		role  string
		count int32
	}{{"head", 1}, {"worker", idleWorkers}} {
		if err := s.setAvailable(ctx, name+"-"+group.role, group.count); err != nil {
			return fmt.Errorf("updating the status of Deployment %s-%s: %w", name, group.role, err)
		}
	}
	service, err := s.cluster.Kube.CoreV1().Services(namespace).Get(ctx, name+"-head", metav1.GetOptions{})
	if err != nil {
		return err
	}
	server.Cluster(service.Spec.ClusterIP).Set(idleCluster(name))
	return nil
}

// idleCluster returns the state of a Ray with a head and idle workers.
func idleCluster(name string) gcs.ClusterState {
	state := gcs.ClusterState{Session: name}
	for i, group := range []string{"head", "worker", "worker", "worker"} {
		id := fmt.Sprintf("%s-%s-%d", name, group, i)
		resources := gcs.Resources{"CPU": 1, "memory": 1.5e9, "object_store_memory": 5e8, "node:192.0.2.1": 1}
		state.Nodes = append(state.Nodes, gcs.Node{
			ID: id, Instance: id, Group: group, Status: gcs.NodeIdle, Idle: time.Hour, Total: resources, Available: resources,
			Labels: map[string]string{"ray.io/node-group": group, "ray.io/node-id": id},
		})
	}
	return state
}

// setAvailable waits for a Deployment, and sets its status to that of a complete one.
func (s *setup) setAvailable(ctx context.Context, name string, replicas int32) error {
	deployments := s.cluster.Kube.AppsV1().Deployments(namespace)
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		deployment, err := deployments.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, ignore(err, apierrors.IsNotFound)
		}
		deployment.Status = appsv1.DeploymentStatus{
			ObservedGeneration: deployment.Generation,
			Replicas:           replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
			Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue}},
		}
		_, err = deployments.UpdateStatus(ctx, deployment, metav1.UpdateOptions{})
		return err == nil, ignore(err, apierrors.IsConflict)
	})
}

// waitPolled waits until a Ray was polled.
func (s *setup) waitPolled(ctx context.Context, name string) error {
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		ray, err := s.cluster.Rays.RayV1().Rays(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range ray.Status.Conditions {
			if condition.Type == rayv1.RayScalingActive {
				return condition.Status == corev1.ConditionTrue, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for ScalingActive of Ray %s: %w", name, err)
	}
	return nil
}

// ignore returns nil for errors of a kind, so that the request is repeated.
func ignore(err error, is func(error) bool) error {
	if is(err) {
		return nil
	}
	return err
}
