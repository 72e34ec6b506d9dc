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
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// childrenTimeout is the timeout of all requests for children in one sync: a webhook that does not
	// answer must not occupy a worker for long, nor delay the status.
	childrenTimeout = 30 * time.Second

	// unwatchedRetryDelay is the requeue delay while a child lacks the label and so is not watched.
	unwatchedRetryDelay = 10 * time.Second
)

// reconciler syncs Rays: it compares the desired with the observed children, and writes what differs.
type reconciler struct {
	childWriter
	caches       map[string]*caches
	statusWriter *statusWriter
	clock        clock.PassiveClock
}

// sync brings the children and the status of one Ray to their desired state. If the error is nil or
// errBlocked, the Ray is to be requeued after requeueAfter, where 0 means not at all. Any other error
// decides by itself.
func (r *reconciler) sync(ctx context.Context, key cache.ObjectName) (requeueAfter time.Duration, err error) {
	logger := klog.FromContext(ctx)
	start := r.clock.Now()
	logger.V(4).Info("Started syncing")
	defer func() { logger.V(4).Info("Finished syncing", "duration", r.clock.Since(start).Round(time.Microsecond)) }()

	ray, err := cachesFor(r.caches, key.Namespace).rays.Rays(key.Namespace).Get(key.Name)
	switch {
	case apierrors.IsNotFound(err):
		r.forget(key)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("getting Ray %q from the cache: %w", key, err)
	case ray.DeletionTimestamp != nil:
		// The garbage collector deletes the children, or orphans them.
		r.statusWriter.forget(key)
		return 0, nil
	}
	if err := r.consistency.EnsureReady(key); err != nil {
		r.statusWriter.expectUpdate(ray)
		return 0, fmt.Errorf("%w: %w", errStale, err)
	}
	if reason, undecodable := rayclient.Undecodable(ray); undecodable {
		// The desired state is unknown, so the children are not changed.
		return r.statusWriter.write(ctx, ray, &observation{rayErr: unreadable(reason)})
	}

	observed, requeueAfter := r.syncChildren(ctx, ray)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	problems := observed.problems()
	switch err := errors.Join(problems...); {
	case slices.ContainsFunc(problems, isNamespaceTerminating):
		logger.V(2).Info("Namespace is being deleted, and the Ray with it")
		r.statusWriter.forget(key)
		return 0, nil
	case errors.Is(err, errStale):
		return 0, err
	}
	statusAfter, statusErr := r.statusWriter.write(ctx, ray, observed)
	blocked := slices.DeleteFunc(slices.Clone(problems), func(err error) bool { return !isBlocked(err) })
	failures := slices.DeleteFunc(problems, isBlocked)
	switch {
	case len(failures) > 0 && errors.Is(statusErr, errStale):
		return 0, errors.Join(failures...) // which need a longer backoff than a stale cache
	case len(failures) > 0 || statusErr != nil:
		return 0, errors.Join(append(failures, statusErr)...)
	}
	return earliest(requeueAfter, statusAfter), errors.Join(blocked...)
}

// syncChildren brings the children of a Ray to their desired state. A failure of one child does not
// stop the others. It returns after how long to sync again, or 0.
func (r *reconciler) syncChildren(ctx context.Context, ray *rayv1.Ray) (*observation, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, childrenTimeout)
	defer cancel()
	defer r.memory.sawSync(ray)
	caches := cachesFor(r.caches, ray.Namespace)
	services, deployments := r.services(ray, caches), r.deployments(ray, caches)
	observed := &observation{}

	// The Service is created first, since Pods look up its name. It is updated last: if the head's
	// Deployment cannot be updated, the running head still listens on the old ports.
	service, err := services.ensure(ctx, resources.ServiceName(ray), func() *corev1.Service { return newService(ray) })

	headFailed := false
	for _, group := range resources.Groups(ray) {
		state := groupObservation{name: group.Name, role: group.Role, desired: new(group.Replicas)}
		state.deployment, state.err = syncDeployment(ctx, ray, deployments, group)
		headFailed = headFailed || group.Role == rayv1.RoleHead && state.err != nil
		observed.groups = append(observed.groups, state)
	}
	for _, group := range resources.RemovedGroups(ray) {
		state := groupObservation{name: group.Name, role: group.Role}
		state.deployment, state.err = deployments.delete(ctx, resources.DeploymentName(ray, group.Role))
		observed.groups = append(observed.groups, state)
	}

	if err == nil {
		_, err = services.update(ctx, service, func(current *corev1.Service, recorded *lastApplied) (*corev1.Service, []string) {
			return desiredService(ray, current, recorded, headFailed)
		})
	}
	observed.serviceErr = err
	if services.unwatched || deployments.unwatched { // set by ensure and delete
		return observed, unwatchedRetryDelay
	}
	return observed, 0
}

// syncDeployment brings the Deployment of a group to its desired state. Beside an error it returns the
// Deployment if it exists and is controlled by the Ray.
func syncDeployment(ctx context.Context, ray *rayv1.Ray, deployments *children[*appsv1.Deployment], group resources.Group) (*appsv1.Deployment, error) {
	observed, err := deployments.ensure(ctx, resources.DeploymentName(ray, group.Role), func() *appsv1.Deployment {
		return newDeployment(ray, group)
	})
	if err != nil {
		return observed, err
	}
	return deployments.update(ctx, observed, func(current *appsv1.Deployment, recorded *lastApplied) (*appsv1.Deployment, []string) {
		return desiredDeployment(ray, group, current, recorded)
	})
}

// forget drops what is known of a Ray that no longer exists.
func (r *reconciler) forget(key cache.ObjectName) {
	r.consistency.Clear(key)
	r.memory.forget(key)
	r.statusWriter.forget(key)
}

// earliest returns the shorter of two delays, of which 0 means never.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
