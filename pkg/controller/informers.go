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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	appsinformers "k8s.io/client-go/informers/apps/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
	rayv1informers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions/ray/v1"
	raylisters "github.com/kubeflow/ray-operator/pkg/client/listers/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The resources that the controller reads.
const (
	rayResource        = "rays"
	serviceResource    = "services"
	deploymentResource = "deployments"
)

const (
	// childNameIndex is the index of Rays by the names of their children, as NAMESPACE/NAME.
	childNameIndex = "childName"
	// rayUIDIndex is the index of the Deployments of worker groups by the UID of their Ray.
	rayUIDIndex = "rayUID"
)

// Informers watch Rays, and the Services and Deployments that have the operator's label. Of an object
// that cannot be a child of a Ray, only its identity is kept in memory.
type Informers struct {
	// scopes and caches are by namespace. Those of metav1.NamespaceAll have all namespaces.
	scopes map[string]*scope
	caches map[string]*caches
}

// scope has the informers of one namespace, or of all.
type scope struct {
	rays        rayv1informers.TypedRayInformer
	services    coreinformers.TypedServiceInformer
	deployments appsinformers.TypedDeploymentInformer
	factories   []factory
}

// factory has the common methods of the generated informer factories.
type factory interface {
	StartWithContext(ctx context.Context)
}

// NewInformers returns informers for some namespaces, or for metav1.NamespaceAll. They do not resync:
// each sync compares with the caches, and only an event can change those.
func NewInformers(kubeClient kubernetes.Interface, rayClient versioned.Interface, namespaces []string) *Informers {
	i := &Informers{scopes: map[string]*scope{}, caches: map[string]*caches{}}
	for _, namespace := range namespaces {
		scope := newScope(kubeClient, rayClient, namespace)
		i.scopes[namespace], i.caches[namespace] = scope, newCaches(scope)
	}
	return i
}

func newScope(kubeClient kubernetes.Interface, rayClient versioned.Interface, namespace string) *scope {
	// Metrics identify the informers by this name. An informer with a name in use has no metrics.
	name, _ := cache.NewInformerName(strings.TrimSuffix("ray-operator/"+namespace, "/"))
	rayFactory := rayinformers.NewSharedInformerFactoryWithOptions(rayClient, 0,
		rayinformers.WithInformerName(name),
		rayinformers.WithNamespace(namespace),
		rayinformers.WithTransform(strip))
	childFactory := informers.NewSharedInformerFactoryWithOptions(kubeClient, 0,
		informers.WithInformerName(name),
		informers.WithNamespace(namespace),
		informers.WithTransform(strip),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.LabelSelector = rayv1.LabelName
		}))
	return &scope{
		rays:        rayFactory.Ray().V1().Rays(),
		services:    childFactory.Core().V1().Services(),
		deployments: childFactory.Apps().V1().Deployments(),
		factories:   []factory{rayFactory, childFactory},
	}
}

// indexChildNames is the function of childNameIndex.
func indexChildNames(ray *rayv1.Ray) ([]string, error) {
	names := resources.ChildNames(ray)
	for i, name := range names {
		names[i] = cache.NewObjectName(ray.Namespace, name).String()
	}
	return names, nil
}

// indexRayUID is the function of rayUIDIndex.
func indexRayUID(deployment *appsv1.Deployment) ([]string, error) {
	owner := metav1.GetControllerOfNoCopy(deployment)
	if owner == nil || !isRay(owner) || !resources.IsWorkerGroupName(owner.Name, deployment.Name) {
		return nil, nil
	}
	return []string{string(owner.UID)}, nil
}

// Start starts the informers. They stop when ctx is done.
func (i *Informers) Start(ctx context.Context) {
	for _, scope := range i.scopes {
		for _, factory := range scope.factories {
			factory.StartWithContext(ctx)
		}
	}
}

// HasSynced returns whether the caches have all objects that existed when the informers started.
func (i *Informers) HasSynced() bool {
	for _, s := range i.scopes {
		if !s.rays.Informer().HasSynced() || !s.services.Informer().HasSynced() || !s.deployments.Informer().HasSynced() {
			return false
		}
	}
	return true
}

// Ray returns a Ray from the cache. It must not be changed, nor must what the other methods return.
func (i *Informers) Ray(key cache.ObjectName) (*rayv1.Ray, error) {
	ray, err := cachesFor(i.caches, key.Namespace).rays.Rays(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, fmt.Errorf("getting Ray %q from the cache: %w", key, err)
	}
	return ray, nil
}

// Service returns a Service from the cache.
func (i *Informers) Service(key cache.ObjectName) (*corev1.Service, error) {
	service, err := cachesFor(i.caches, key.Namespace).services.Services(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, fmt.Errorf("getting Service %q from the cache: %w", key, err)
	}
	return service, nil
}

// Deployment returns a Deployment from the cache.
func (i *Informers) Deployment(key cache.ObjectName) (*appsv1.Deployment, error) {
	deployment, err := cachesFor(i.caches, key.Namespace).deployments.Deployments(key.Namespace).Get(key.Name)
	if err != nil {
		return nil, fmt.Errorf("getting Deployment %q from the cache: %w", key, err)
	}
	return deployment, nil
}

// caches are the caches of a scope.
type caches struct {
	rays        raylisters.RayLister
	services    corelisters.ServiceLister
	deployments appslisters.DeploymentLister
	// stores are the same caches, by resource.
	stores map[string]cache.Indexer
}

func newCaches(s *scope) *caches {
	return &caches{
		rays:        s.rays.Lister(),
		services:    s.services.Lister(),
		deployments: s.deployments.Lister(),
		stores: map[string]cache.Indexer{
			rayResource:        s.rays.Informer().GetIndexer(),
			serviceResource:    s.services.Informer().GetIndexer(),
			deploymentResource: s.deployments.Informer().GetIndexer(),
		},
	}
}

// cachesFor returns the caches that have the objects of a namespace.
func cachesFor(byNamespace map[string]*caches, namespace string) *caches {
	if all, found := byNamespace[metav1.NamespaceAll]; found {
		return all
	}
	return byNamespace[namespace]
}

// allRays returns the Rays of all caches. Beside an error it returns those that it could list.
func allRays(byNamespace map[string]*caches) ([]*rayv1.Ray, error) {
	var all []*rayv1.Ray
	var errs []error
	for _, caches := range byNamespace {
		rays, err := caches.rays.List(labels.Everything())
		if err != nil {
			errs = append(errs, fmt.Errorf("listing Rays: %w", err))
		}
		all = append(all, rays...)
	}
	return all, errors.Join(errs...)
}

// raysWithChild returns the Rays with a spec that has a child with a name.
func raysWithChild(byNamespace map[string]*caches, child cache.ObjectName) []cache.ObjectName {
	keys, err := cachesFor(byNamespace, child.Namespace).stores[rayResource].IndexKeys(childNameIndex, child.String())
	if err != nil {
		panic(err) // New has added the index
	}
	rays := make([]cache.ObjectName, 0, len(keys))
	for _, key := range keys {
		if ray, err := cache.ParseObjectName(key); err == nil {
			rays = append(rays, ray)
		}
	}
	return rays
}

// workerGroupDeployments returns the names of the Deployments that a Ray controls, and that can be those of
// worker groups, in a stable order.
func (c *caches) workerGroupDeployments(ray *rayv1.Ray) []string {
	found, err := c.stores[deploymentResource].ByIndex(rayUIDIndex, string(ray.UID))
	if err != nil {
		panic(err) // New has added the index
	}
	names := make([]string, 0, len(found))
	for _, object := range found {
		if deployment, ok := object.(*appsv1.Deployment); ok && deployment.Namespace == ray.Namespace {
			names = append(names, deployment.Name)
		}
	}
	slices.Sort(names)
	return names
}

// strip drops what the controller never reads, about half of an object. It is a pure function of the
// object, and idempotent.
//
// A client that may create objects in one namespace must not exhaust the memory of the operator: all of
// an object is kept only if it can be a child, of which a Ray has few: the controller deletes those with the
// name of a worker group that the spec does not have. Of these, fields that an update sends must stay, even
// annotations, since an update without them would delete them; managedFields may go, since the API server
// keeps them if an update has none. The operator never updates a Ray except for its status, and then the API
// server ignores all but the status.
func strip(obj any) (any, error) {
	object, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("stripping an object for the cache: %w", err)
	}
	switch object := obj.(type) {
	case *rayv1.Ray:
		object.Annotations = ownAnnotations(object.Annotations)
		if isOwnedByHPA(object.ManagedFields) {
			metav1.SetMetaDataAnnotation(&object.ObjectMeta, annotationScaledByHPA, "")
		}
	case *corev1.Service:
		switch {
		case !canBeChild(object, resources.IsServiceName):
			*object = corev1.Service{ObjectMeta: identity(object)}
		case object.DeletionTimestamp != nil:
			*object = corev1.Service{ObjectMeta: identity(object)}
		}
	case *appsv1.Deployment:
		switch {
		case !canBeChild(object, resources.IsDeploymentName):
			*object = appsv1.Deployment{ObjectMeta: identity(object)}
		case object.DeletionTimestamp != nil:
			spec := appsv1.DeploymentSpec{Replicas: object.Spec.Replicas, Paused: object.Spec.Paused}
			*object = appsv1.Deployment{ObjectMeta: identity(object), Spec: spec, Status: object.Status}
		}
	}
	object.SetManagedFields(nil)
	return obj, nil
}

// annotationScaledByHPA marks, in memory, a Ray that a HorizontalPodAutoscaler has scaled. The API server rejects an
// annotation with such a name, so no client can set it.
const annotationScaledByHPA = "ray.kubeflow.org/(scaled-by-hpa)"

// isScaledByHPA returns whether a HorizontalPodAutoscaler has set spec.worker.replicas of a Ray.
func isScaledByHPA(ray *rayv1.Ray) bool {
	_, marked := ray.Annotations[annotationScaledByHPA]
	return marked
}

// isOwnedByHPA returns whether a HorizontalPodAutoscaler owns the field of an object that the scale subresource sets. It
// does until another client sets another number, even if it is deleted. The API server stores no time with this manager
// of a custom resource, so an earlier change is not distinguished from a recent one.
func isOwnedByHPA(managers []metav1.ManagedFieldsEntry) bool {
	return slices.ContainsFunc(managers, func(manager metav1.ManagedFieldsEntry) bool {
		return manager.Subresource == "scale" && manager.Manager == "kube-controller-manager"
	})
}

// canBeChild returns whether a Ray controls an object, and can have a child with the object's name. Any
// object can have the operator's label and refer to a Ray as its owner.
func canBeChild(object metav1.Object, isName func(ray, name string) bool) bool {
	owner := metav1.GetControllerOfNoCopy(object)
	return owner != nil && isRay(owner) && isName(owner.Name, object.GetName())
}

// identity returns the metadata that the controller reads of an object that it does not write: one that
// it does not control, or that is being deleted, which a finalizer may delay for ever.
func identity(object metav1.Object) metav1.ObjectMeta {
	metadata := metav1.ObjectMeta{
		Namespace:         object.GetNamespace(),
		Name:              object.GetName(),
		UID:               object.GetUID(),
		ResourceVersion:   object.GetResourceVersion(),
		Generation:        object.GetGeneration(),
		CreationTimestamp: object.GetCreationTimestamp(),
		DeletionTimestamp: object.GetDeletionTimestamp(),
	}
	for _, key := range []string{rayv1.LabelName, rayv1.LabelRole} {
		if value, found := object.GetLabels()[key]; found {
			metav1.SetMetaDataLabel(&metadata, key, value)
		}
	}
	if owner := metav1.GetControllerOf(object); owner != nil {
		// The API server does not limit the length of these.
		owner.APIVersion, owner.Kind, owner.Name = shorten(owner.APIVersion), shorten(owner.Kind), shorten(owner.Name)
		owner.UID = types.UID(shorten(string(owner.UID)))
		metadata.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return metadata
}

// isRay returns whether an owner is a Ray, of any version of the API.
func isRay(owner *metav1.OwnerReference) bool {
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	return group == rayv1.SchemeGroupVersion.Group && owner.Kind == rayv1.SchemeGroupVersionKind.Kind
}

// isControlledBy returns whether a Ray controls an object. The UID decides, but an object that another
// kind or name claims to control is not kept in the cache as a whole.
func isControlledBy(object metav1.Object, ray *rayv1.Ray) bool {
	owner := metav1.GetControllerOfNoCopy(object)
	return owner != nil && owner.UID == ray.UID && isRay(owner) && owner.Name == ray.Name
}

// ownAnnotations returns those annotations that are the operator's own, such as the mark of a Ray that
// cannot be decoded.
func ownAnnotations(annotations map[string]string) map[string]string {
	var own metav1.ObjectMeta
	for key, value := range annotations {
		if strings.HasPrefix(key, rayv1.SchemeGroupVersion.Group+"/") {
			metav1.SetMetaDataAnnotation(&own, key, value)
		}
	}
	return own.Annotations
}

// maxNameLength is the length limit of names in Kubernetes, and of API versions.
const maxNameLength = 253 + len("/") + 63

// shorten returns at most the start of a name that no object can have.
func shorten(name string) string {
	if len(name) <= maxNameLength {
		return name
	}
	return strings.Clone(strings.ToValidUTF8(name[:maxNameLength], ""))
}
