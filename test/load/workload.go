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
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// concurrency is the number of concurrent requests, which is more than the API server can process.
const concurrency = 16

// inParallel calls work for 0 to count-1.
func inParallel(ctx context.Context, count int, work func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range count {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return work(ctx, i) })
	}
	return group.Wait()
}

func rayNames(prefix string, count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = rayName(prefix, i)
	}
	return names
}

func rayName(prefix string, i int) string { return fmt.Sprintf("%s-%05d", prefix, i) }

// createNamespace creates a namespace and waits until Pods can be created there.
func (s *setup) createNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.cluster.Kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.cluster.Kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the ServiceAccount in namespace %s: %w", name, err)
	}
	return nil
}

// create creates a Ray like the sample, with a head and three workers.
func (s *setup) create(ctx context.Context, namespace, name string) error {
	_, err := s.cluster.Rays.RayV1().Rays(namespace).Create(ctx, s.newRay(name), metav1.CreateOptions{})
	return err
}

func (s *setup) newRay(name string) *rayv1.Ray {
	ray := s.sample.DeepCopy()
	ray.Name = name
	return ray
}

// setImage changes the image of both groups of a Ray.
func (s *setup) setImage(ctx context.Context, namespace, name, image string) error {
	return s.patch(ctx, namespace, name, fmt.Sprintf(`[
		{"op": "replace", "path": "/spec/head/template/spec/containers/0/image", "value": %[1]q},
		{"op": "replace", "path": "/spec/worker/template/spec/containers/0/image", "value": %[1]q}]`, image))
}

// scale changes the number of workers of a Ray.
func (s *setup) scale(ctx context.Context, namespace, name string, workers int) error {
	return s.patch(ctx, namespace, name, fmt.Sprintf(`[{"op": "replace", "path": "/spec/worker/replicas", "value": %d}]`, workers))
}

func (s *setup) patch(ctx context.Context, namespace, name, patch string) error {
	_, err := s.cluster.Rays.RayV1().Rays(namespace).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (s *setup) delete(ctx context.Context, namespace, name string) error {
	return s.cluster.Rays.RayV1().Rays(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// waitDeleted waits until a namespace has neither Rays nor their children.
func (s *setup) waitDeleted(ctx context.Context, namespace string) error {
	one := metav1.ListOptions{Limit: 1}
	left := map[string]func(context.Context) (int, error){
		"Rays": func(ctx context.Context) (int, error) {
			list, err := s.cluster.Rays.RayV1().Rays(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Services": func(ctx context.Context) (int, error) {
			list, err := s.cluster.Kube.CoreV1().Services(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Deployments": func(ctx context.Context) (int, error) {
			list, err := s.cluster.Kube.AppsV1().Deployments(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Pods": func(ctx context.Context) (int, error) {
			list, err := s.cluster.Kube.CoreV1().Pods(namespace).List(ctx, one)
			return len(list.Items), err
		},
	}
	for what, count := range left {
		if err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			left, err := count(ctx)
			return left == 0, err
		}); err != nil {
			return fmt.Errorf("waiting until the %s in namespace %s are deleted: %w", what, namespace, err)
		}
	}
	return nil
}
