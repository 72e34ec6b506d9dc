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
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/consistency"
)

// fieldManager is the operator's name in managedFields.
const fieldManager = "ray-operator"

// Events about children. The messages are a contract with users: see docs/api.md.
const (
	reasonSuccessfullyCreate = "SuccessfullyCreate"
	reasonSuccessfullyUpdate = "SuccessfullyUpdate"
	reasonSuccessfullyDelete = "SuccessfullyDelete"

	// The arguments are the kind and the name of a child, and its parts that were changed.
	messageCreate = "Successfully create the %s %s"
	messageUpdate = "Successfully update the %s %s: %s"
	messageRevert = "Successfully update the %s %s: revert external changes to its %s"
	messageDelete = "Successfully delete the %s %s"
)

// childWriter writes the children of Rays. Updates and deletions fail if they are based on an old state.
type childWriter struct {
	kubeClient  kubernetes.Interface
	rayClient   versioned.Interface
	consistency *consistency.Store
	memory      *memory
	recorder    record.EventRecorder
}

// childObject is a Service or a Deployment.
type childObject interface {
	cache.Object
	metav1.Object
}

// children are a Ray's children of one kind.
type children[T childObject] struct {
	*childWriter
	ray *rayv1.Ray

	// kind is the kind as messages have it.
	kind     string
	resource string
	cache    interface{ Get(name string) (T, error) }
	// client returns a client. Most syncs need none.
	client func() childClient[T]
	// deepCopy returns a copy.
	deepCopy func(T) T
	// managed returns those fields of a child that the operator may set, other than annotations.
	managed func(T) T

	// unwatched is set if a child was found that no watch shows, since it lacks the label.
	unwatched bool
}

// childClient has the methods of all generated clients.
type childClient[T childObject] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Create(ctx context.Context, child T, options metav1.CreateOptions) (T, error)
	Update(ctx context.Context, child T, options metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

func (w *childWriter) services(ray *rayv1.Ray, caches *caches) *children[*corev1.Service] {
	return &children[*corev1.Service]{
		childWriter: w, ray: ray,
		kind:     "Service",
		resource: serviceResource,
		cache:    caches.services.Services(ray.Namespace),
		client:   func() childClient[*corev1.Service] { return w.kubeClient.CoreV1().Services(ray.Namespace) },
		deepCopy: (*corev1.Service).DeepCopy,
		managed: func(service *corev1.Service) *corev1.Service {
			return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: service.Labels}, Spec: service.Spec}
		},
	}
}

func (w *childWriter) deployments(ray *rayv1.Ray, caches *caches) *children[*appsv1.Deployment] {
	return &children[*appsv1.Deployment]{
		childWriter: w, ray: ray,
		kind:     "Deployment",
		resource: deploymentResource,
		cache:    caches.deployments.Deployments(ray.Namespace),
		client:   func() childClient[*appsv1.Deployment] { return w.kubeClient.AppsV1().Deployments(ray.Namespace) },
		deepCopy: (*appsv1.Deployment).DeepCopy,
		managed: func(deployment *appsv1.Deployment) *appsv1.Deployment {
			return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: deployment.Labels}, Spec: deployment.Spec}
		},
	}
}

// ensure returns the child with a name, and creates it if it does not exist. Beside an error it
// returns the child only if it exists and is controlled by the Ray.
func (c *children[T]) ensure(ctx context.Context, name string, newChild func() T) (T, error) {
	var none T
	observed, err := c.cache.Get(name)
	if err != nil {
		var created bool
		observed, created, err = c.findOrCreate(ctx, name, newChild)
		if err != nil || created {
			return observed, err
		}
	}
	if err := c.checkOwner(observed); err != nil {
		return none, err
	}
	return observed, nil
}

// desiredFunc returns a child as desired, and which parts differ from the observed child.
type desiredFunc[T childObject] func(observed T, recorded *lastApplied) (desired T, diff []string)

// update writes a child if it is not as desired, and returns it as stored. If admission changes the
// update back, that is recorded, so that no later sync, in any process, sends it again.
func (c *children[T]) update(ctx context.Context, observed T, desired desiredFunc[T]) (T, error) {
	recorded := readLastApplied(observed)
	if err := c.checkWritable(ctx, observed, &recorded); err != nil {
		return observed, err
	}
	next, diff := desired(observed, &recorded)
	if len(diff) == 0 || c.isOverridden(&recorded, observed, next) {
		return observed, nil
	}
	stored, err := c.send(ctx, observed, next)
	if err != nil {
		return observed, err
	}
	revert := recorded.RayGeneration >= c.ray.Generation
	recorded = readLastApplied(stored)
	next, overridden := desired(stored, &recorded)
	parts := slices.DeleteFunc(diff, func(part string) bool { return slices.Contains(overridden, part) })
	c.reportUpdate(ctx, observed.GetName(), parts, revert)
	if len(overridden) == 0 || c.isOverridden(&recorded, stored, next) {
		return stored, nil
	}

	klog.FromContext(ctx).Info("Admission changed an update back, accepting its values", "kind", c.kind, "name", stored.GetName(), "parts", overridden)
	accepted := c.deepCopy(stored)
	recorded.AdmissionOverride = newOverride(c.managed(stored), c.managed(next))
	if recorded.Generation != 0 {
		recorded.Generation = stored.GetGeneration() + 1 // the annotation increments it
	}
	recorded.writeTo(accepted)
	return c.send(ctx, stored, accepted)
}

// delete deletes the child with a name, if it is controlled by the Ray. Beside an error it returns the
// child if it exists.
func (c *children[T]) delete(ctx context.Context, name string) (T, error) {
	var none T
	observed, err := c.cache.Get(name)
	if apierrors.IsNotFound(err) && !c.memory.isDeleted(c.ray, name) {
		// The cache does not show a child that has lost its label.
		if observed, err = c.read(ctx, name); apierrors.IsNotFound(err) {
			c.memory.sawDeleted(c.ray, name)
		}
	}
	switch {
	case apierrors.IsNotFound(err), err == nil && !metav1.IsControlledBy(observed, c.ray):
		return none, nil
	case err != nil:
		return none, failed(reasonFailedGet, c.kind, name, err)
	}
	if observed.GetDeletionTimestamp() != nil {
		return observed, blocked(reasonTerminating, c.kind, name, "is being deleted")
	}
	// The record of a child says for which generation it was written, not for which it is desired.
	if err := c.checkLive(ctx); err != nil {
		return observed, err
	}
	err = c.client().Delete(ctx, name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: new(observed.GetUID()), ResourceVersion: new(observed.GetResourceVersion())},
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return observed, failed(reasonFailedDelete, c.kind, name, err)
	}
	c.consistency.Deleted(cache.MetaObjectToName(c.ray), c.resource, name, observed.GetUID())
	if !gone {
		klog.FromContext(ctx).V(2).Info("Deleted", "kind", c.kind, "name", name)
		c.recorder.Eventf(c.ray, corev1.EventTypeNormal, reasonSuccessfullyDelete, messageDelete, strings.ToLower(c.kind), name)
	}
	return none, nil
}

// findOrCreate returns a child that the cache does not show, and whether it was created now.
func (c *children[T]) findOrCreate(ctx context.Context, name string, newChild func() T) (child T, created bool, err error) {
	var none T
	isNew := c.memory.isNew(c.ray)
	if !isNew {
		// The Ray may be deleted already, and its cache stale. Or the child exists without its label,
		// or is not controlled by this Ray: a quota would count the attempt to create it.
		if err := c.checkLive(ctx); err != nil {
			return none, false, err
		}
		child, err = c.read(ctx, name)
	}
	if isNew || apierrors.IsNotFound(err) {
		child, err = c.create(ctx, newChild())
		if !apierrors.IsAlreadyExists(err) {
			return child, true, err
		}
		child, err = c.read(ctx, name)
	}
	if err != nil {
		return none, false, failed(reasonFailedGet, c.kind, name, err)
	}
	return child, false, nil
}

// read reads a child from the API server instead of the cache.
func (c *children[T]) read(ctx context.Context, name string) (T, error) {
	child, err := c.client().Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		c.recordVersion(child)
	}
	return child, err
}

// create creates a child. It returns the error AlreadyExists as it is.
//
// A create is not based on a state, but a quota is: if many objects are created at the same time, the
// API server returns conflicts that only mean to retry.
func (c *children[T]) create(ctx context.Context, child T) (T, error) {
	var created T
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		created, err = c.client().Create(ctx, child, metav1.CreateOptions{FieldManager: fieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return created, err
	}
	if err != nil {
		var none T
		return none, failed(reasonFailedCreate, c.kind, child.GetName(), err)
	}
	c.recordVersion(created)
	klog.FromContext(ctx).V(2).Info("Created", "kind", c.kind, "name", created.GetName())
	c.recorder.Eventf(c.ray, corev1.EventTypeNormal, reasonSuccessfullyCreate, messageCreate, strings.ToLower(c.kind), created.GetName())
	return created, nil
}

// send updates a child, and returns it as stored. If the update fails it returns the observed child.
func (c *children[T]) send(ctx context.Context, observed, next T) (T, error) {
	stored, err := c.client().Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return observed, failed(reasonFailedUpdate, c.kind, observed.GetName(), err)
	}
	c.recordVersion(stored)
	return stored, nil
}

// recordVersion records the version of a child that a sync has used, so that the next sync does not
// read an older one from the cache. A child without the label is never in the cache.
func (c *children[T]) recordVersion(child T) {
	if _, watched := child.GetLabels()[rayv1.LabelName]; !watched {
		c.unwatched = c.unwatched || metav1.IsControlledBy(child, c.ray)
		return
	}
	c.consistency.WroteAt(cache.MetaObjectToName(c.ray), c.resource, child.GetResourceVersion())
}

// isOverridden returns whether admission is known to change an update back.
func (c *children[T]) isOverridden(recorded *lastApplied, observed, next T) bool {
	return recorded.AdmissionOverride != nil && recorded.overrides(newOverride(c.managed(observed), c.managed(next)))
}

// reportUpdate records an event about the parts of a child that were changed, if any: for a new
// generation of the Ray, or to revert changes by other clients.
func (c *children[T]) reportUpdate(ctx context.Context, name string, parts []string, revert bool) {
	if len(parts) == 0 {
		return
	}
	message := messageUpdate
	if revert {
		message = messageRevert
	}
	klog.FromContext(ctx).V(2).Info("Updated", "kind", c.kind, "name", name, "parts", parts)
	c.recorder.Eventf(c.ray, corev1.EventTypeNormal, reasonSuccessfullyUpdate, message, strings.ToLower(c.kind), name, strings.Join(parts, ", "))
}

// checkOwner returns a problem if an object with the name of a child is not controlled by the Ray. The
// UID in the controller reference decides, not a name or a label.
func (c *children[T]) checkOwner(child T) error {
	owner := metav1.GetControllerOfNoCopy(child)
	switch {
	case owner != nil && owner.UID == c.ray.UID:
		return nil
	case owner != nil && isRay(owner) && owner.Name == c.ray.Name:
		return blocked(reasonTerminating, c.kind, child.GetName(), "of an earlier Ray with this name is being deleted")
	case owner != nil:
		return blocked(reasonAlreadyExists, c.kind, child.GetName(),
			"already exists and is controlled by %s %q; delete it or rename the Ray", owner.Kind, owner.Name)
	default:
		return blocked(reasonAlreadyExists, c.kind, child.GetName(),
			"already exists and is not controlled by this Ray; delete it or rename the Ray")
	}
}

// checkWritable returns an error if a child of the Ray must not be written now.
func (c *children[T]) checkWritable(ctx context.Context, child T, recorded *lastApplied) error {
	if child.GetDeletionTimestamp() != nil {
		return blocked(reasonTerminating, c.kind, child.GetName(), "is being deleted")
	}
	if recorded.isValid(c.ray) {
		return nil
	}
	// Either the cached Ray is older than the last write of the child, or another client changed the
	// record. Only the API server knows.
	return c.checkLive(ctx)
}

// checkLive returns errStale if the Ray on the API server is another one than the cached one, of
// another generation, being deleted, or gone.
func (c *children[T]) checkLive(ctx context.Context) error {
	live, err := c.rayClient.RayV1().Rays(c.ray.Namespace).Get(ctx, c.ray.Name, metav1.GetOptions{})
	if err != nil {
		return failed(reasonFailedGet, "Ray", c.ray.Name, err)
	}
	if live.UID != c.ray.UID || live.DeletionTimestamp != nil || live.Generation != c.ray.Generation {
		// Asking again is useless until the cache shows this version.
		c.consistency.WroteAt(cache.MetaObjectToName(c.ray), rayResource, live.ResourceVersion)
		return fmt.Errorf("Ray %q has changed: %w", c.ray.Name, errStale) //nolint:staticcheck // a kind
	}
	return nil
}
