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
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

const (
	// childrenTimeout is the timeout of all requests for children in one sync: a webhook that does not
	// answer must not occupy a worker for long, nor delay the status.
	childrenTimeout = 30 * time.Second

	// deletionReportDelay is for how long a Ray must have been deleted until its status says so.
	deletionReportDelay = 5 * time.Second
)

// reconciler syncs Rays: it compares the desired with the observed children, and writes what differs.
type reconciler struct {
	childWriter
	caches       map[string]*caches
	recommender  Recommender
	causes       *causeFinder
	statusWriter *statusWriter
}

// sync brings the children and the status of one Ray to their desired state. If the error is nil or
// errBlocked, the Ray is to be requeued after requeueAfter, where 0 means not at all. After any other error
// it is retried with backoff, and after requeueAfter too unless that is 0: a delayed status must not wait
// for the backoff.
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
	}
	if err := r.consistency.EnsureReady(key); err != nil {
		r.statusWriter.expectUpdate(ray)
		return 0, fmt.Errorf("%w: %w", errStale, err)
	}
	reason, undecodable := rayclient.Undecodable(ray)
	switch {
	case ray.DeletionTimestamp != nil && undecodable:
		return 0, nil // the status says already that the Ray cannot be decoded
	case ray.DeletionTimestamp != nil:
		return r.syncDeletion(ctx, ray)
	case undecodable:
		// The desired state is unknown, so the children are not changed.
		return r.statusWriter.write(ctx, ray, &observation{rayErr: unreadable(reason)})
	}

	observed, requeueAfter := r.syncChildren(ctx, ray)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	problems := observed.problems()
	r.memory.sawConflict(ray, slices.ContainsFunc(problems, apierrors.IsConflict))
	switch err := errors.Join(problems...); {
	case slices.ContainsFunc(problems, isNamespaceTerminating):
		logger.V(2).Info("Namespace is being deleted, and the Ray with it")
		r.statusWriter.forget(key)
		return 0, nil
	case errors.Is(err, errStale):
		return 0, err
	}
	requeueAfter = earliest(requeueAfter, r.causes.find(ctx, ray, observed.groups))
	statusAfter, statusErr := r.statusWriter.write(ctx, ray, observed)
	blocked := slices.DeleteFunc(slices.Clone(problems), func(err error) bool { return !isBlocked(err) })
	failures := slices.DeleteFunc(problems, isBlocked)
	switch {
	case len(failures) > 0 && errors.Is(statusErr, errStale):
		return 0, errors.Join(failures...) // which need a longer backoff than a stale cache
	case len(failures) > 0 || statusErr != nil:
		return statusAfter, errors.Join(append(failures, statusErr)...)
	}
	return earliest(requeueAfter, statusAfter), errors.Join(blocked...)
}

// syncChildren brings the children of a Ray to their desired state. A failure of one child does not
// stop the others, except for groups that wait for each other. It returns after how long to sync again,
// or 0.
func (r *reconciler) syncChildren(ctx context.Context, ray *rayv1.Ray) (*observation, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, childrenTimeout)
	defer cancel()
	defer r.memory.sawSync(ray)
	caches := cachesFor(r.caches, ray.Namespace)
	services, deployments := r.services(ray, caches), r.deployments(ray, caches)
	scaler := r.newScaler(ray)
	observed := &observation{recommendation: scaler.recommendation}

	// The Service is created first, since Pods look up its name. It is updated last: if the head's
	// Deployment is not updated, the running head still listens on the old ports.
	keepPorts := false
	desired := desiredChild[*corev1.Service]{
		name:   resources.ServiceName(ray),
		create: func() *corev1.Service { return newService(ray) },
		update: func(current *corev1.Service, recorded *lastApplied) (*corev1.Service, []string) {
			return desiredService(ray, current, recorded, keepPorts)
		},
	}
	var service *corev1.Service
	service, observed.serviceErr = services.ensure(ctx, desired)
	observed.groups = syncGroups(ctx, scaler, deployments, removedGroups(ray, caches, r.memory))
	if observed.serviceErr == nil {
		head := &observed.groups[0]
		keepPorts = head.isRejected() || head.waiting != ""
		_, observed.serviceErr = services.update(ctx, service, desired)
	}
	for i := range observed.groups {
		if group := &observed.groups[i]; group.err == nil && group.desired != nil {
			group.err = refusedReplicaSet(group.deployment)
		}
	}
	return observed, earliest(services.retryAfter, deployments.retryAfter)
}

// syncDeletion reports in the status of a Ray what its deletion waits for, if it takes long. The garbage
// collector deletes the children, or orphans them; here, nothing else is written.
func (r *reconciler) syncDeletion(ctx context.Context, ray *rayv1.Ray) (requeueAfter time.Duration, err error) {
	if remaining := deletionReportDelay - r.clock.Since(ray.DeletionTimestamp.Time); remaining > 0 {
		return remaining, nil
	}
	caches := cachesFor(r.caches, ray.Namespace)
	services, deployments := r.services(ray, caches), r.deployments(ray, caches)
	observed, remaining := &observation{}, []string{}
	// Otherwise, the garbage collector deletes the children after the Ray, or orphans them.
	foreground := slices.Contains(ray.Finalizers, metav1.FinalizerDeleteDependents)
	if foreground && services.cached(resources.ServiceName(ray)) != nil {
		remaining = append(remaining, fmt.Sprintf("Service %q", resources.ServiceName(ray)))
	}
	for _, group := range scaledGroups(scaler{ray: ray}, deployments) {
		observed.groups = append(observed.groups, newGroupObservation(&group))
	}
	for _, group := range removedGroups(ray, caches, r.memory) {
		observed.groups = append(observed.groups, groupObservation{name: group.Name, role: group.Role})
	}
	for i := range observed.groups {
		group := &observed.groups[i]
		if group.deployment = deployments.cached(resources.DeploymentName(ray, group.role)); foreground && group.deployment != nil {
			remaining = append(remaining, fmt.Sprintf("Deployment %q", group.deployment.Name))
		}
	}
	for _, finalizer := range ray.Finalizers {
		switch finalizer {
		case metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents: // those of the garbage collector
		default:
			remaining = append(remaining, "finalizer "+finalizer)
		}
	}
	if len(remaining) == 0 {
		remaining = append(remaining, "the garbage collector")
	}
	observed.deleting = "being deleted, waiting for " + strings.Join(remaining, ", ")
	return r.statusWriter.write(ctx, ray, observed)
}

// forget drops what is known of a Ray that no longer exists.
func (r *reconciler) forget(key cache.ObjectName) {
	r.consistency.Clear(key)
	r.memory.forget(key)
	r.causes.forget(key)
	r.statusWriter.forget(key)
}
