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
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// fieldManager is the operator's name in managedFields.
const fieldManager = "ray-operator"

// unwatchedRetryDelay is the requeue delay while a child lacks the label and so is not watched.
const unwatchedRetryDelay = 10 * time.Second

// Events about children. The messages are a contract with users: see docs/api.md.
const (
	reasonSuccessfullyCreate = "SuccessfullyCreate"
	reasonSuccessfullyAdopt  = "SuccessfullyAdopt"
	reasonSuccessfullyUpdate = "SuccessfullyUpdate"
	reasonSuccessfullyDelete = "SuccessfullyDelete"

	// The arguments are the kind and the name of a child, and its parts that were changed.
	messageCreate = "Successfully create the %s %s"
	messageAdopt  = "Successfully adopt the %s %s"
	messageUpdate = "Successfully update the %s %s: %s"
	messageRevert = "Successfully update the %s %s: revert external changes to its %s"
	messageDelete = "Successfully delete the %s %s"
)

// cached returns the child with a name as the cache has it, if it is controlled by the Ray.
func (c *children[T]) cached(name string) T {
	var none T
	child, err := c.cache.Get(name)
	if err != nil || !isControlledBy(child, c.ray) {
		return none
	}
	return child
}

// ensure returns a child, and creates it if it does not exist. If it is an orphan, update will adopt it.
// Beside an error it returns the child only if it exists and is controlled by the Ray.
func (c *children[T]) ensure(ctx context.Context, desired desiredChild[T]) (T, error) {
	var none T
	observed, err := c.cache.Get(desired.name)
	switch {
	case err != nil:
		var created bool
		observed, created, err = c.findOrCreate(ctx, desired)
		if err != nil || created {
			return observed, err
		}
	case c.isOrphan(observed) || c.isOfEarlierRay(observed):
		// The cache has only the identity of an orphan, and may not show yet that an object has become one.
		if observed, err = c.read(ctx, desired.name); err != nil {
			return none, failed(reasonFailedGet, c.kind, desired.name, err)
		}
	}
	if err := c.checkOwner(observed, desired); err != nil {
		return none, err
	}
	return observed, nil
}

// update writes a child if it is not as desired, and returns it as stored. It adopts an orphan. Beside an
// error it returns the observed child if it is controlled by the Ray.
func (c *children[T]) update(ctx context.Context, observed T, desired desiredChild[T]) (T, error) {
	var none T
	stored, err := c.updateObserved(ctx, observed, desired)
	if err == nil {
		err = c.checkContention(desired.name)
	}
	if err != nil && !isControlledBy(stored, c.ray) {
		return none, err
	}
	return stored, err
}

func (c *children[T]) updateObserved(ctx context.Context, observed T, desired desiredChild[T]) (T, error) {
	recorded := readLastApplied(observed)
	adopting := !isControlledBy(observed, c.ray)
	if adopting {
		recorded.RayGeneration, recorded.TemplateGeneration = 0, 0 // they are those of another Ray
	}
	if err := c.checkWritable(ctx, observed, &recorded); err != nil {
		return observed, err
	}
	next, diff := desired.update(observed, &recorded)
	// An orphan, of which the record is not valid, is to be adopted even if nothing else than an override differs.
	if len(diff) == 0 || recorded.isValid(c.ray) && c.isOverridden(&recorded, observed, next) {
		return observed, nil
	}
	revert := recorded.RayGeneration >= c.ray.Generation && !isOwnChange(&recorded, next, diff)
	external := revert || !adopting && !recorded.isValid(c.ray)
	if external && c.mustWait(observed, diff) {
		return observed, nil
	}
	if desired.beforeUpdate != nil {
		if err := desired.beforeUpdate(diff); err != nil {
			return observed, err
		}
	}
	stored, err := c.send(ctx, observed, next)
	if err != nil {
		return observed, err
	}
	if external {
		c.memory.sawRevert(c.ray, childKey{c.resource, desired.name}, c.clock.Now())
	}
	effective := slices.DeleteFunc(slices.Clone(diff), func(part string) bool { return c.isPartEqual(observed, stored, part) })
	if desired.scaled != nil && !adopting && !revert && slices.Equal(effective, []string{partReplicas}) {
		c.reportScaled(ctx, desired.name, desired.scaled(observed, stored))
	} else {
		c.reportUpdate(ctx, desired.name, effective, adopting, revert)
	}
	return c.accept(ctx, stored, desired)
}

// mustWait returns whether the revert of an external change must wait, since there were several in a row.
func (c *children[T]) mustWait(observed T, diff []string) bool {
	version := strconv.FormatInt(observed.GetGeneration(), 10)
	if observed.GetGeneration() == 0 || slices.Contains(diff, partLabels) {
		version = observed.GetResourceVersion() // the generation does not show this change
	}
	wait := c.memory.sawExternalChange(c.ray, childKey{c.resource, observed.GetName()}, version, diff, c.clock.Now())
	c.retryAfter = earliest(c.retryAfter, wait)
	return wait > 0
}

// checkContention returns a problem if another client changes a child again and again.
func (c *children[T]) checkContention(name string) error {
	parts, remaining := c.memory.contention(c.ray, childKey{c.resource, name}, c.clock.Now())
	if remaining == 0 {
		return nil
	}
	c.retryAfter = earliest(c.retryAfter, remaining)
	return blocked(reasonExternalChanges, c.kind, name, "is changed by another client again and again: %s", strings.Join(parts, ", "))
}

// dryRun returns an error if the API server would reject the update of a child.
func (c *children[T]) dryRun(ctx context.Context, observed T, desired desiredChild[T]) error {
	recorded := readLastApplied(observed)
	next, _ := desired.update(observed, &recorded)
	_, err := c.client().Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return c.failed(ctx, reasonFailedUpdate, observed, err)
	}
	return nil
}

// accept records what admission changed of a child that was just written, so that no later sync, in any
// process, reverts it. It returns the child as stored.
func (c *children[T]) accept(ctx context.Context, stored T, desired desiredChild[T]) (T, error) {
	before := readLastApplied(stored)
	recorded := before
	next, overridden := desired.again(stored, &recorded)
	if slices.Contains(overridden, partTemplate) {
		recorded.Stored = resources.Hash(c.part(stored, partTemplate))
		next, overridden = desired.again(stored, &recorded)
	}
	if len(overridden) > 0 && isOwnChange(&recorded, next, overridden) {
		return stored, nil // another version of the operator set what differs, not admission
	}
	if len(overridden) > 0 && !c.isOverridden(&recorded, stored, next) {
		recorded.AdmissionOverride = newOverride(c.managed(stored), c.managed(next))
	}
	if recorded.equals(&before) {
		return stored, nil
	}
	klog.FromContext(ctx).Info("Admission changed what was sent, accepting its values", "kind", c.kind, "name", stored.GetName(), "parts", overridden)
	if recorded.Generation != 0 {
		recorded.Generation = stored.GetGeneration() + 1 // the annotation increments it
	}
	return c.sendRecord(ctx, stored, &recorded)
}

// sendRecord updates the record of a child that was just written, and returns the child as stored. A
// status that was written meanwhile causes a retry: without the record, what admission changed would
// be reverted some day.
func (c *children[T]) sendRecord(ctx context.Context, written T, recorded *lastApplied) (T, error) {
	current := written
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		next := c.deepCopy(current)
		recorded.writeTo(next)
		stored, err := c.send(ctx, current, next)
		if err == nil {
			current = stored
			return nil
		}
		if live, getErr := c.read(ctx, written.GetName()); getErr == nil && live.GetUID() == written.GetUID() && live.GetGeneration() == written.GetGeneration() {
			current = live
		}
		return err
	})
	return current, err
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
	case apierrors.IsNotFound(err), err == nil && !isControlledBy(observed, c.ray):
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
	policy := metav1.DeletePropagationBackground
	if resources.IsSuspended(c.ray) {
		policy = metav1.DeletePropagationForeground // it is not suspended before the Pods of the child are gone
	}
	err = c.client().Delete(ctx, name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: new(observed.GetUID()), ResourceVersion: new(observed.GetResourceVersion())},
		PropagationPolicy: &policy,
	})
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return observed, c.failed(ctx, reasonFailedDelete, observed, err)
	}
	c.consistency.Deleted(cache.MetaObjectToName(c.ray), c.resource, name, observed.GetUID())
	if !gone {
		klog.FromContext(ctx).V(2).Info("Deleted", "kind", c.kind, "name", name)
		c.event(reasonSuccessfullyDelete, messageDelete, name)
		if policy == metav1.DeletePropagationForeground {
			return observed, nil // it exists until its Pods are gone
		}
	}
	return none, nil
}

// findOrCreate returns a child that the cache does not show, and whether it was created now.
func (c *children[T]) findOrCreate(ctx context.Context, desired desiredChild[T]) (child T, created bool, err error) {
	var none T
	isNew := c.memory.isNew(c.ray)
	if !isNew {
		// The Ray may be deleted already, and its cache stale. Or the child exists without its label,
		// or is not controlled by this Ray: a quota would count the attempt to create it.
		if err := c.checkLive(ctx); err != nil {
			return none, false, err
		}
		child, err = c.read(ctx, desired.name)
	}
	if isNew || apierrors.IsNotFound(err) {
		child, err = c.create(ctx, desired)
		if !apierrors.IsAlreadyExists(err) {
			return child, true, err
		}
		child, err = c.read(ctx, desired.name)
	}
	if err != nil {
		return none, false, failed(reasonFailedGet, c.kind, desired.name, err)
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
func (c *children[T]) create(ctx context.Context, desired desiredChild[T]) (T, error) {
	var created T
	child := desired.create()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		created, err = c.client().Create(ctx, child, metav1.CreateOptions{FieldManager: fieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return created, err
	}
	if err != nil {
		var none T
		return none, failed(reasonFailedCreate, c.kind, desired.name, err)
	}
	c.recordVersion(created)
	klog.FromContext(ctx).V(2).Info("Created", "kind", c.kind, "name", desired.name)
	c.event(reasonSuccessfullyCreate, messageCreate, desired.name)
	return c.accept(ctx, created, desired)
}

// send updates a child, and returns it as stored. If the update fails it returns the observed child.
func (c *children[T]) send(ctx context.Context, observed, next T) (T, error) {
	stored, err := c.client().Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return observed, c.failed(ctx, reasonFailedUpdate, observed, err)
	}
	c.recordVersion(stored)
	return stored, nil
}

// failed returns the problem of a write, or errStale if it was based on an old state. A conflict that does
// not end is a problem if the state is not old: a webhook may answer so, too.
func (c *children[T]) failed(ctx context.Context, reason string, observed T, err error) error {
	if apierrors.IsConflict(err) && c.memory.hasConflicts(c.ray) {
		live, getErr := c.client().Get(ctx, observed.GetName(), metav1.GetOptions{})
		if getErr == nil && live.GetResourceVersion() == observed.GetResourceVersion() {
			return rejected(reason, c.kind, observed.GetName(), err)
		}
	}
	return failed(reason, c.kind, observed.GetName(), err)
}

// recordVersion records the version of a child that a sync has used, so that the next sync does not
// read an older one from the cache. A child without the label is never in the cache.
func (c *children[T]) recordVersion(child T) {
	if _, watched := child.GetLabels()[rayv1.LabelName]; !watched {
		if isControlledBy(child, c.ray) {
			c.retryAfter = earliest(c.retryAfter, unwatchedRetryDelay)
		}
		return
	}
	c.consistency.WroteAt(cache.MetaObjectToName(c.ray), c.resource, child.GetResourceVersion())
}

// isOverridden returns whether admission is known to change an update back.
func (c *children[T]) isOverridden(recorded *lastApplied, observed, next T) bool {
	return recorded.AdmissionOverride != nil && recorded.overrides(newOverride(c.managed(observed), c.managed(next)))
}

// reportUpdate records events about an update: that the child was adopted, and which parts changed for a
// new generation of the Ray, or to revert changes by other clients.
func (c *children[T]) reportUpdate(ctx context.Context, name string, parts []string, adopted, revert bool) {
	if adopted {
		klog.FromContext(ctx).V(2).Info("Adopted", "kind", c.kind, "name", name)
		c.event(reasonSuccessfullyAdopt, messageAdopt, name)
		parts = slices.DeleteFunc(parts, func(part string) bool { return part == partOwner || part == partAnnotations || part == partLabels })
	}
	if len(parts) == 0 {
		return
	}
	message := messageUpdate
	if revert {
		message = messageRevert
	}
	klog.FromContext(ctx).V(2).Info("Updated", "kind", c.kind, "name", name, "parts", parts)
	c.event(reasonSuccessfullyUpdate, message, name, strings.Join(parts, ", "))
}

// reportScaled records the event that an autoscaled group was scaled.
func (c *children[T]) reportScaled(ctx context.Context, name, message string) {
	klog.FromContext(ctx).V(2).Info(message, "kind", c.kind, "name", name)
	c.recorder.Event(c.ray, corev1.EventTypeNormal, reasonScaled, message)
}

// event records an event about a child.
func (c *children[T]) event(reason, message, name string, args ...any) {
	c.recorder.Eventf(c.ray, corev1.EventTypeNormal, reason, message, append([]any{strings.ToLower(c.kind), name}, args...)...)
}
