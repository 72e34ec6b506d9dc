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

// users is how many requests are on their way at a time: more than the server can take at once.
const users = 16

// inParallel calls work for 0 to count-1, by as many users as there are.
func inParallel(ctx context.Context, count int, work func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(users)
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

// makeNamespace makes a namespace in which Pods can be created.
func (s *scene) makeNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the ServiceAccount of namespace %s: %w", name, err)
	}
	return nil
}

// create creates a Ray like the sample: a head and three workers.
func (s *scene) create(ctx context.Context, namespace, name string) error {
	_, err := s.rays.RayV1().Rays(namespace).Create(ctx, s.newRay(name), metav1.CreateOptions{})
	return err
}

func (s *scene) newRay(name string) *rayv1.Ray {
	ray := s.sample.DeepCopy()
	ray.Name = name
	return ray
}

// setImage changes the image of both groups of a Ray.
func (s *scene) setImage(ctx context.Context, namespace, name, image string) error {
	return s.patch(ctx, namespace, name, fmt.Sprintf(`[
		{"op": "replace", "path": "/spec/head/template/spec/containers/0/image", "value": %[1]q},
		{"op": "replace", "path": "/spec/worker/template/spec/containers/0/image", "value": %[1]q}]`, image))
}

// scale changes how many workers a Ray has.
func (s *scene) scale(ctx context.Context, namespace, name string, workers int) error {
	return s.patch(ctx, namespace, name, fmt.Sprintf(`[{"op": "replace", "path": "/spec/worker/replicas", "value": %d}]`, workers))
}

func (s *scene) patch(ctx context.Context, namespace, name, patch string) error {
	_, err := s.rays.RayV1().Rays(namespace).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func (s *scene) delete(ctx context.Context, namespace, name string) error {
	return s.rays.RayV1().Rays(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// waitGone waits until nothing is left in a namespace of what Rays have.
func (s *scene) waitGone(ctx context.Context, namespace string) error {
	one := metav1.ListOptions{Limit: 1}
	left := map[string]func(context.Context) (int, error){
		"Rays": func(ctx context.Context) (int, error) {
			list, err := s.rays.RayV1().Rays(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Services": func(ctx context.Context) (int, error) {
			list, err := s.kube.CoreV1().Services(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Deployments": func(ctx context.Context) (int, error) {
			list, err := s.kube.AppsV1().Deployments(namespace).List(ctx, one)
			return len(list.Items), err
		},
		"Pods": func(ctx context.Context) (int, error) {
			list, err := s.kube.CoreV1().Pods(namespace).List(ctx, one)
			return len(list.Items), err
		},
	}
	for what, count := range left {
		if err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			left, err := count(ctx)
			return left == 0, err
		}); err != nil {
			return fmt.Errorf("waiting until the %s of namespace %s are gone: %w", what, namespace, err)
		}
	}
	return nil
}
