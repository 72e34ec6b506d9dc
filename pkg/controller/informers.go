package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	appsinformers "k8s.io/client-go/informers/apps/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	rayinformers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions"
	rayv1informers "github.com/kubeflow/ray-operator/pkg/client/informers/externalversions/ray/v1"
)

// Informers watch what the controller reads: Rays, and those Services and Deployments
// that carry the operator's label. Nobody else's objects are held in memory.
type Informers struct {
	Rays        rayv1informers.TypedRayInformer
	Services    coreinformers.TypedServiceInformer
	Deployments appsinformers.TypedDeploymentInformer

	rays     rayinformers.SharedInformerFactory
	children informers.SharedInformerFactory
}

// NewInformers returns informers for one namespace, or for all of them if namespace is
// metav1.NamespaceAll. They do not resync: every sync compares with the caches anyway,
// and nothing but an event can change those.
func NewInformers(kube kubernetes.Interface, ray versioned.Interface, namespace string) *Informers {
	rays := rayinformers.NewSharedInformerFactoryWithOptions(ray, 0,
		rayinformers.WithNamespace(namespace),
		rayinformers.WithTransform(strip))
	children := informers.NewSharedInformerFactoryWithOptions(kube, 0,
		informers.WithNamespace(namespace),
		informers.WithTransform(strip),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.LabelSelector = rayv1.LabelName
		}))
	return &Informers{
		Rays:        rays.Ray().V1().Rays(),
		Services:    children.Core().V1().Services(),
		Deployments: children.Apps().V1().Deployments(),
		rays:        rays,
		children:    children,
	}
}

// Start starts the informers. They stop when ctx is done; Shutdown waits for that.
func (i *Informers) Start(ctx context.Context) {
	i.rays.StartWithContext(ctx)
	i.children.StartWithContext(ctx)
}

// HasSynced tells whether the caches hold all that existed when the informers started.
func (i *Informers) HasSynced() bool {
	return i.Rays.Informer().HasSynced() &&
		i.Services.Informer().HasSynced() &&
		i.Deployments.Informer().HasSynced()
}

// Shutdown waits until the informers have stopped.
func (i *Informers) Shutdown() {
	i.rays.Shutdown()
	i.children.Shutdown()
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
	if ray, ok := obj.(*rayv1.Ray); ok {
		delete(ray.Annotations, corev1.LastAppliedConfigAnnotation)
	}
	return obj, nil
}
