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
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The resources that the controller reads, as ownWrites names them.
const (
	rayResource        = "rays"
	serviceResource    = "services"
	deploymentResource = "deployments"
)

// childKind is how the children of one kind are named, read and written, in the
// namespace of one Ray.
type childKind[T metav1.Object] struct {
	// kind is the kind as messages have it.
	kind     string
	resource string
	cache    interface{ Get(name string) (T, error) }
	// client makes a client, which few syncs need.
	client func() childClient[T]
	// copy returns a deep copy.
	copy func(T) T
	// kept returns what of a child the operator may set, annotations aside.
	kept func(T) T
}

// childClient is what a generated client has for every type.
type childClient[T metav1.Object] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Create(ctx context.Context, child T, options metav1.CreateOptions) (T, error)
	Update(ctx context.Context, child T, options metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

func (c *Controller) servicesOf(ray *rayv1.Ray) childKind[*corev1.Service] {
	return childKind[*corev1.Service]{
		kind:     "service",
		resource: serviceResource,
		cache:    c.cachesOf(ray.Namespace).services.Services(ray.Namespace),
		client:   func() childClient[*corev1.Service] { return c.kube.CoreV1().Services(ray.Namespace) },
		copy:     (*corev1.Service).DeepCopy,
		kept: func(service *corev1.Service) *corev1.Service {
			return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: service.Labels}, Spec: service.Spec}
		},
	}
}

func (c *Controller) deploymentsOf(ray *rayv1.Ray) childKind[*appsv1.Deployment] {
	return childKind[*appsv1.Deployment]{
		kind:     "deployment",
		resource: deploymentResource,
		cache:    c.cachesOf(ray.Namespace).deployments.Deployments(ray.Namespace),
		client:   func() childClient[*appsv1.Deployment] { return c.kube.AppsV1().Deployments(ray.Namespace) },
		copy:     (*appsv1.Deployment).DeepCopy,
		kept: func(deployment *appsv1.Deployment) *appsv1.Deployment {
			return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: deployment.Labels}, Spec: deployment.Spec}
		},
	}
}

// syncDeployment makes the Deployment of a group as the Ray asks. It returns the
// Deployment as it is then, nil if there is none, also beside an error.
func (c *Controller) syncDeployment(ctx context.Context, ray *rayv1.Ray, role rayv1.Role) (*appsv1.Deployment, error) {
	kind := c.deploymentsOf(ray)
	have, err := getOrCreate(ctx, c, ray, kind, resources.DeploymentName(ray, role), func() *appsv1.Deployment {
		return resources.NewDeployment(ray, role)
	})
	if err != nil {
		return have, err
	}
	return mend(ctx, c, ray, kind, have, func(have *appsv1.Deployment) (*appsv1.Deployment, []string) {
		return mendDeployment(ray, role, have)
	})
}

// getOrCreate returns a child, which it creates if there is none. Beside an error it
// returns the child only if it exists and is the Ray's.
func getOrCreate[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], name string, want func() T) (T, error) {
	var none T
	have, err := kind.cache.Get(name)
	if err != nil {
		var created bool
		have, created, err = findOrCreate(ctx, c, ray, kind, name, want)
		if err != nil || created {
			return have, err
		}
	}
	if err := checkOwner(ray, kind.kind, have); err != nil {
		return none, err
	}
	return have, c.checkWritable(ctx, ray, kind.kind, have)
}

// findOrCreate returns a child that the cache does not show, and whether it has just been
// created.
func findOrCreate[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], name string, want func() T) (have T, created bool, err error) {
	var none T
	if ray.Status.StartTime != nil {
		// This is no new Ray, so why is there no child? The Ray may be gone, which its
		// cache does not show yet. Or there is one that the cache does not show: it has
		// lost its label, or is somebody else's; a quota would count an attempt to
		// create it anyway.
		if err := c.checkLive(ctx, ray); err != nil {
			return none, false, err
		}
		have, err = getLive(ctx, c, ray, kind, name)
	}
	if ray.Status.StartTime == nil || apierrors.IsNotFound(err) {
		have, err = create(ctx, c, ray, kind, want())
		if !apierrors.IsAlreadyExists(err) {
			return have, true, err
		}
		have, err = getLive(ctx, c, ray, kind, name)
	}
	if err != nil {
		return none, false, failed(reasonFailedGet, "get", kind.kind, name, err)
	}
	return have, false, nil
}

// getLive reads a child from the server, where the cache does not show it.
func getLive[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], name string) (T, error) {
	have, err := kind.client().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return have, err
	}
	recordVersion(c, ray, kind, have)
	return have, nil
}

// recordVersion notes which version of a child a sync has worked with: the next one waits until
// the cache shows it, or it would go back to an older state. What has no label by which children
// are watched the cache never shows, and nobody tells when it changes, so it is looked at again.
func recordVersion[T metav1.Object](c *Controller, ray *rayv1.Ray, kind childKind[T], child T) {
	key := cache.MetaObjectToName(ray)
	if _, watched := child.GetLabels()[rayv1.LabelName]; !watched {
		c.queue.AddAfter(key, waitDelay)
		return
	}
	c.ownWrites.record(key, kind.resource, child.GetResourceVersion())
}

// mend writes a child if it is not as the Ray asks, and returns it as it is then. What
// admission insists on is yielded to: that is recorded, so that no later sync, also of
// another process, tries the same again.
func mend[T metav1.Object](ctx context.Context, c *Controller, ray *rayv1.Ray, kind childKind[T], have T, compare func(T) (T, []string)) (T, error) {
	next, changed := compare(have)
	if len(changed) == 0 || hasYielded(kind, have, next) {
		return have, nil
	}
	updated, err := update(ctx, c, ray, kind, have, next)
	if err != nil {
		return have, err
	}
	next, insisted := compare(updated)
	c.tellUpdate(ctx, ray, kind.kind, have, slices.DeleteFunc(changed, func(part string) bool { return slices.Contains(insisted, part) }))
	if len(insisted) == 0 || hasYielded(kind, updated, next) {
		return updated, nil
	}

	klog.FromContext(ctx).Info("Admission insists on other values than the operator's, which yields",
		"kind", kind.kind, "name", updated.GetName(), "parts", insisted)
	yielded := kind.copy(updated)
	annotate(yielded, rayv1.AnnotationYielded, difference(kind.kept(updated), kind.kept(next)))
	if _, counted := yielded.GetAnnotations()[rayv1.AnnotationGeneration]; counted {
		stampGeneration(yielded)
	}
	return update(ctx, c, ray, kind, updated, yielded)
}

// hasYielded tells whether admission is known to undo an update.
func hasYielded[T metav1.Object](kind childKind[T], have, next T) bool {
	yielded, found := have.GetAnnotations()[rayv1.AnnotationYielded]
	return found && yielded == difference(kind.kept(have), kind.kept(next))
}

// tellUpdate tells what was changed of a child, if anything was, and for whose sake.
func (c *Controller) tellUpdate(ctx context.Context, ray *rayv1.Ray, kind string, have metav1.Object, changed []string) {
	if len(changed) == 0 {
		return
	}
	message := messageUpdate
	if recordedGeneration(have) >= ray.Generation {
		message = messageRestore
	}
	klog.FromContext(ctx).V(2).Info("Updated", "kind", kind, "name", have.GetName(), "changed", changed)
	c.recorder.Eventf(ray, corev1.EventTypeNormal, reasonSuccessfullyUpdate, message, kind, have.GetName(), strings.Join(changed, ", "))
}

// removeDeployment deletes the Deployment of a group that the Ray no longer asks for, if
// it is the Ray's.
func (c *Controller) removeDeployment(ctx context.Context, ray *rayv1.Ray, role rayv1.Role) error {
	kind := c.deploymentsOf(ray)
	have, err := kind.cache.Get(resources.DeploymentName(ray, role))
	if apierrors.IsNotFound(err) && (ray.Status.Worker != nil || ray.Status.ObservedGeneration < ray.Generation-1) {
		// There was one, or may have been for a generation of which no status was written.
		// The cache does not show it if it has lost its label.
		have, err = getLive(ctx, c, ray, kind, resources.DeploymentName(ray, role))
	}
	if apierrors.IsNotFound(err) || err == nil && !metav1.IsControlledBy(have, ray) {
		return nil
	}
	if err != nil {
		return failed(reasonFailedGet, "get", kind.kind, resources.DeploymentName(ray, role), err)
	}
	if err := c.checkWritable(ctx, ray, kind.kind, have); err != nil {
		return err
	}
	return remove(ctx, c, ray, kind, have)
}

// checkOwner returns a problem if an object that has the name of a child is not the Ray's.
// Ownership is the UID in the controller reference, never a name or a label.
func checkOwner(ray *rayv1.Ray, kind string, have metav1.Object) error {
	ref := metav1.GetControllerOfNoCopy(have)
	switch {
	case ref != nil && ref.UID == ray.UID:
		return nil
	case ref != nil && isRay(ref) && ref.Name == ray.Name:
		return waiting(reasonTerminating, "the %s %s of an earlier Ray of this name is still being deleted", kind, have.GetName())
	case ref != nil:
		return waiting(reasonNameTaken, "the name of the %s %s is taken: it belongs to %s %s; delete it, or give the Ray another name", kind, have.GetName(), ref.Kind, ref.Name)
	default:
		return waiting(reasonNameTaken, "the name of the %s %s is taken: it does not belong to this Ray; delete it, or give the Ray another name", kind, have.GetName())
	}
}

// isRay tells whether an owner is a Ray.
func isRay(owner *metav1.OwnerReference) bool {
	return owner.APIVersion == rayv1.SchemeGroupVersion.String() && owner.Kind == rayv1.SchemeGroupVersionKind.Kind
}

// checkWritable returns an error if a child of the Ray must not be written now.
func (c *Controller) checkWritable(ctx context.Context, ray *rayv1.Ray, kind string, have metav1.Object) error {
	if have.GetDeletionTimestamp() != nil {
		return waiting(reasonTerminating, "the %s %s is being deleted", kind, have.GetName())
	}
	if recordIsValid(ray, have) {
		return nil
	}
	// Either the child was written for a Ray that this cache has yet to see, or somebody
	// changed the record. Only the server knows.
	return c.checkLive(ctx, ray)
}

// checkLive asks the server whether a Ray is still as its cache has it, as far as its
// children go. It returns errBehind if the server has a newer generation of it, another Ray
// of its name, none, or one that is being deleted.
func (c *Controller) checkLive(ctx context.Context, ray *rayv1.Ray) error {
	live, err := c.ray.RayV1().Rays(ray.Namespace).Get(ctx, ray.Name, metav1.GetOptions{})
	if err != nil {
		return failed(reasonFailedGet, "get", "ray", ray.Name, err)
	}
	if live.UID != ray.UID || live.DeletionTimestamp != nil || live.Generation != ray.Generation {
		// Until the cache shows it, there is no use in asking again.
		c.ownWrites.record(cache.MetaObjectToName(ray), rayResource, live.ResourceVersion)
		return fmt.Errorf("ray %q is another one by now: %w", ray.Name, errBehind)
	}
	return nil
}
