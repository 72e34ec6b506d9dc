package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Everything that the controller writes to the API server, events aside, is written in
// this file. All of it is optimistic: a write that is based on an old state fails.

// fieldManager is the operator's name in managedFields.
const fieldManager = "ray-operator"

// create creates a child. That one of its name exists is returned as it is.
//
// A create is based on no state, but quotas are: where many are created at once, the API
// server may answer with a conflict that means no more than that it shall be tried again.
func create[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], want T) (T, error) {
	var created T
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		created, err = kind.client().Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return created, err
	}
	if err != nil {
		var none T
		return none, failed(reasonFailedCreate, "create", kind.kind, want.GetName(), err)
	}
	recordVersion(c, ray, kind, created)
	klog.FromContext(ctx).V(2).Info("Created", "kind", kind.kind, "name", created.GetName())
	c.recorder.Eventf(ray, corev1.EventTypeNormal, reasonSuccessfullyCreate, messageCreate, kind.kind, created.GetName())
	return created, nil
}

// update updates a child, and returns it as it is then. If the update fails it returns
// what was there before.
func update[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], have, next T) (T, error) {
	updated, err := kind.client().Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return have, failed(reasonFailedUpdate, "update", kind.kind, have.GetName(), err)
	}
	recordVersion(c, ray, kind, updated)
	return updated, nil
}

// remove deletes a child, if it is still the one that was read.
func remove[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], have T) error {
	err := kind.client().Delete(ctx, have.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: new(have.GetUID()), ResourceVersion: new(have.GetResourceVersion())},
		PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return failed(reasonFailedDelete, "delete", kind.kind, have.GetName(), err)
	}
	c.ownWrites.recordDeletion(cache.MetaObjectToName(ray), kind.resource, have.GetName(), have.GetUID())
	if gone {
		return nil
	}
	klog.FromContext(ctx).V(2).Info("Deleted", "kind", kind.kind, "name", have.GetName())
	c.recorder.Eventf(ray, corev1.EventTypeNormal, reasonSuccessfullyDelete, messageDelete, kind.kind, have.GetName())
	return nil
}

// updateStatus writes the status of a Ray, and returns what the API server has stored.
func (c *Controller) updateStatus(ctx context.Context, ray *rayv1.Ray, status rayv1.RayStatus) (*rayv1.RayStatus, error) {
	// Of what is sent, the API server reads the status alone. A spec that cannot be read need
	// not be sent for it to stay.
	next := ray.DeepCopy()
	delete(next.Annotations, annotationUnreadable)
	next.Status = status
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	updated, err := c.ray.RayV1().Rays(ray.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, failed(reasonFailedUpdate, "update", "status of ray", ray.Name, err)
	}
	c.ownWrites.record(cache.MetaObjectToName(ray), rayResource, updated.ResourceVersion)
	klog.FromContext(ctx).V(2).Info("Updated", "kind", "status of ray", "name", ray.Name)
	return &updated.Status, nil
}
