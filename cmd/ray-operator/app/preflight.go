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

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// checkTimeout limits the check of the lease, and the checks of each namespace.
const checkTimeout = 15 * time.Second

// checkServer sends each request once that the operator depends on at startup. A missing
// permission or resource then is one clear error, instead of retries of an informer in the log.
func checkServer(ctx context.Context, host string, clients *clients, options *Options) error {
	err := checkLease(ctx, clients.unfenced, options)
	for _, namespace := range options.scopes() {
		if err == nil {
			err = checkReads(ctx, clients.kube, clients.ray, namespace)
		}
	}

	_, responded := errors.AsType[*apierrors.StatusError](err)
	switch {
	case errors.Is(err, errNoDefinition):
		return err
	case err == nil, errors.Is(ctx.Err(), context.Canceled):
		// A shutdown during the checks is not a failure.
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("missing permission (apply manifests/rbac): %w", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server at %s rejected the credentials: %w", host, err)
	case !responded:
		return fmt.Errorf("the API server at %s cannot be reached: %w", host, err)
	default:
		return fmt.Errorf("checking the API server at %s: %w", host, err)
	}
}

// errNoDefinition is returned if the API server does not serve Rays.
var errNoDefinition = fmt.Errorf("the API server does not serve %s: install the CustomResourceDefinition with kubectl apply -k manifests/crd", rayv1.Resource("rays"))

// checkReads lists and watches the resources of the operator in a namespace, or in all.
func checkReads(ctx context.Context, kube kubernetes.Interface, ray versioned.Interface, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rays := ray.RayV1().Rays(namespace)
	services := kube.CoreV1().Services(namespace)
	deployments := kube.AppsV1().Deployments(namespace)
	one := metav1.ListOptions{Limit: 1}

	_, err := rays.List(ctx, one)
	if apierrors.IsNotFound(err) {
		return errNoDefinition
	}
	for _, read := range []func() error{
		func() error { return stop(rays.Watch(ctx, one)) },
		func() error { _, err := services.List(ctx, one); return err },
		func() error { return stop(services.Watch(ctx, one)) },
		func() error { _, err := deployments.List(ctx, one); return err },
		func() error { return stop(deployments.Watch(ctx, one)) },
	} {
		if err == nil {
			err = read()
		}
	}
	return err
}

// stop stops a watch that was opened only to check that it can be.
func stop(events watch.Interface, err error) error {
	if err == nil {
		events.Stop()
	}
	return err
}

// checkLease writes the lease of the leader election as a dry run. Without permission for the
// lease, leader election would retry forever and report it only in the log.
func checkLease(ctx context.Context, kube kubernetes.Interface, options *Options) error {
	election := options.LeaderElection
	if !election.LeaderElect {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	leases := kube.CoordinationV1().Leases(election.ResourceNamespace)
	lease, err := leases.Get(ctx, election.ResourceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: election.ResourceName}}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	case err == nil:
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return nil // another replica wrote it concurrently
	}
	return err
}
