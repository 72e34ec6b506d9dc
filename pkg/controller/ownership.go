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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// isOrphan returns whether an object has no controller and the label of the Ray, such as a child that
// was restored from a backup, or that remained when an earlier Ray was deleted. Kubernetes' own
// controllers adopt such objects.
func (c *children[T]) isOrphan(child T) bool {
	return metav1.GetControllerOfNoCopy(child) == nil && child.GetLabels()[rayv1.LabelName] == c.ray.Name
}

// isOfEarlierRay returns whether an object is controlled by a Ray that had the name of this one.
func (c *children[T]) isOfEarlierRay(child T) bool {
	owner := metav1.GetControllerOfNoCopy(child)
	return owner != nil && isRay(owner) && owner.Name == c.ray.Name && owner.UID != c.ray.UID
}

// checkOwner returns a problem if an object with the name of a child is neither controlled by the Ray nor
// an orphan that it can adopt. The UID in the controller reference decides, not a name or a label.
func (c *children[T]) checkOwner(child T, desired desiredChild[T]) error {
	owner := metav1.GetControllerOfNoCopy(child)
	switch {
	case isControlledBy(child, c.ray):
		return nil
	case c.isOfEarlierRay(child):
		return blocked(reasonTerminating, c.kind, child.GetName(), "of an earlier Ray with this name is being deleted")
	case owner != nil:
		return blocked(reasonAlreadyExists, c.kind, child.GetName(),
			"already exists and is controlled by %s %q; delete it or rename the Ray", owner.Kind, owner.Name)
	case !c.isOrphan(child) || !c.canAdopt(child, desired.create()):
		return blocked(reasonAlreadyExists, c.kind, child.GetName(),
			"already exists and is not controlled by this Ray; delete it or rename the Ray")
	default:
		return nil
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
		return fmt.Errorf("Ray %q has changed: %w", c.ray.Name, errStale)
	}
	return nil
}
