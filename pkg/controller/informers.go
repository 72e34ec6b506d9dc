package controller

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
)

// Informers watch what the controller reads: Rays, and those Services and Deployments
// that carry the operator's label. Of those that belong to no Ray nothing but the metadata is
// held in memory.
type Informers struct {
	// scopes has the informers by namespace. Those of metav1.NamespaceAll are for all.
	scopes map[string]*scope
}

// scope has the informers of one namespace, or those of all namespaces.
type scope struct {
	rays        rayv1informers.TypedRayInformer
	services    coreinformers.TypedServiceInformer
	deployments appsinformers.TypedDeploymentInformer
	factories   []factory
}

// factory is what the generated factories of informers have in common.
type factory interface {
	StartWithContext(ctx context.Context)
}

// NewInformers returns informers for some namespaces, or for metav1.NamespaceAll. They do not
// resync: every sync compares with the caches anyway, and nothing but an event can change those.
func NewInformers(kube kubernetes.Interface, ray versioned.Interface, namespaces []string) *Informers {
	i := &Informers{scopes: map[string]*scope{}}
	for _, namespace := range namespaces {
		i.scopes[namespace] = newScope(kube, ray, namespace)
	}
	return i
}

func newScope(kube kubernetes.Interface, ray versioned.Interface, namespace string) *scope {
	// By this name the informers are told apart in metrics. One that is in use gives none.
	name, _ := cache.NewInformerName(strings.TrimSuffix("ray-operator/"+namespace, "/"))
	rays := rayinformers.NewSharedInformerFactoryWithOptions(ray, 0,
		rayinformers.WithInformerName(name),
		rayinformers.WithNamespace(namespace),
		rayinformers.WithTransform(strip))
	children := informers.NewSharedInformerFactoryWithOptions(kube, 0,
		informers.WithInformerName(name),
		informers.WithNamespace(namespace),
		informers.WithTransform(strip),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.LabelSelector = rayv1.LabelName
		}))
	return &scope{
		rays:        rays.Ray().V1().Rays(),
		services:    children.Core().V1().Services(),
		deployments: children.Apps().V1().Deployments(),
		factories:   []factory{rays, children},
	}
}

// Start starts the informers. They stop when ctx is done.
func (i *Informers) Start(ctx context.Context) {
	for _, scope := range i.scopes {
		for _, factory := range scope.factories {
			factory.StartWithContext(ctx)
		}
	}
}

// HasSynced tells whether the caches hold all that existed when the informers started.
func (i *Informers) HasSynced() bool {
	for _, s := range i.scopes {
		if !s.rays.Informer().HasSynced() || !s.services.Informer().HasSynced() || !s.deployments.Informer().HasSynced() {
			return false
		}
	}
	return true
}

// caches are what a scope's informers fill.
type caches struct {
	rays        raylisters.RayLister
	services    corelisters.ServiceLister
	deployments appslisters.DeploymentLister
	// stores has them once more, by resource.
	stores map[string]cache.Indexer
}

func (s *scope) caches() *caches {
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

// strip drops what the controller never reads, which is about half of an object. It
// must not touch what an update would then delete on the server: managedFields that
// are absent from an update are kept there, and a Ray is only ever updated in its status.
func strip(obj any) (any, error) {
	object, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("stripping an object for the cache: %w", err)
	}
	object.SetManagedFields(nil)
	switch object := obj.(type) {
	case *rayv1.Ray:
		delete(object.Annotations, corev1.LastAppliedConfigAnnotation)
	case *corev1.Service:
		if !isRays(object) {
			object.Spec, object.Status = corev1.ServiceSpec{}, corev1.ServiceStatus{}
		}
	case *appsv1.Deployment:
		if !isRays(object) {
			object.Spec, object.Status = appsv1.DeploymentSpec{}, appsv1.DeploymentStatus{}
		}
	}
	return obj, nil
}

// isRays tells whether an object belongs to some Ray. Anybody can give any other one the label.
func isRays(object metav1.Object) bool {
	owner := metav1.GetControllerOfNoCopy(object)
	return owner != nil && isRay(owner)
}
