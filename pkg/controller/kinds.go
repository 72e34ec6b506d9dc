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
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/consistency"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The parts of children that messages name.
const (
	partAnnotations     = "annotations"
	partLabels          = "labels"
	partMinReadySeconds = "minReadySeconds"
	partOwner           = "ownerReferences" // only an adoption changes it
	partPorts           = "ports"
	partPublish         = "publishNotReadyAddresses"
	partReplicas        = "replicas"
	partSelector        = "selector"
	partStrategy        = "strategy"
	partTemplate        = "template"
	partType            = "type"
)

// childWriter writes the children of Rays. Updates and deletions fail if they are based on an old state.
type childWriter struct {
	kubeClient  kubernetes.Interface
	rayClient   versioned.Interface
	consistency *consistency.Store
	memory      *memory
	recorder    record.EventRecorder
	clock       clock.PassiveClock
}

// children are a Ray's children of one kind.
type children[T childObject] struct {
	*childWriter
	childKind[T]
	ray   *rayv1.Ray
	cache interface{ Get(name string) (T, error) }
	// client returns a client. Most syncs need none.
	client func() childClient[T]

	// retryAfter is after how long to sync again since no watch will enqueue the Ray, or 0.
	retryAfter time.Duration
}

// desiredChild says what a child is to be.
type desiredChild[T childObject] struct {
	name string
	// create returns the child to be created.
	create func() T
	// update returns an observed child as desired, and which of its parts differ.
	update func(observed T, recorded *lastApplied) (desired T, diff []string)
	// scaled returns the message of the event for an update that changed nothing but the replicas of an autoscaled
	// group. It is nil for all other children.
	scaled func(observed, stored T) string
	// beforeUpdate is called before an update with these differences, and prevents it by an error. It may
	// be nil.
	beforeUpdate func(diff []string) error
}

// again returns a child that was just written as desired, and which parts differ. It compares also what
// the generation in the record says to be unchanged.
func (d *desiredChild[T]) again(stored T, recorded *lastApplied) (desired T, diff []string) {
	compared := *recorded
	if compared.Generation != 0 {
		compared.Generation = -1
	}
	return d.update(stored, &compared)
}

func (w *childWriter) services(ray *rayv1.Ray, caches *caches) *children[*corev1.Service] {
	return &children[*corev1.Service]{
		childWriter: w, childKind: serviceKind, ray: ray,
		cache:  caches.services.Services(ray.Namespace),
		client: func() childClient[*corev1.Service] { return w.kubeClient.CoreV1().Services(ray.Namespace) },
	}
}

func (w *childWriter) deployments(ray *rayv1.Ray, caches *caches) *children[*appsv1.Deployment] {
	return &children[*appsv1.Deployment]{
		childWriter: w, childKind: deploymentKind, ray: ray,
		cache:  caches.deployments.Deployments(ray.Namespace),
		client: func() childClient[*appsv1.Deployment] { return w.kubeClient.AppsV1().Deployments(ray.Namespace) },
	}
}

// childObject is a Service or a Deployment.
type childObject interface {
	cache.Object
	metav1.Object
}

// childClient has the methods of all generated clients.
type childClient[T childObject] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Create(ctx context.Context, child T, options metav1.CreateOptions) (T, error)
	Update(ctx context.Context, child T, options metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// childKind is what differs between the kinds of children.
type childKind[T childObject] struct {
	// kind is the kind as messages have it.
	kind     string
	resource string
	// deepCopy returns a copy.
	deepCopy func(T) T
	// managed returns those fields of a child that the operator may set, other than the record.
	managed func(T) T
	// part returns the value of a part.
	part func(child T, part string) any
	// canAdopt returns whether an orphan can become the desired child. The selector of a Deployment is
	// immutable.
	canAdopt func(orphan, desired T) bool
}

var serviceKind = childKind[*corev1.Service]{
	kind:     "Service",
	resource: serviceResource,
	deepCopy: (*corev1.Service).DeepCopy,
	managed: func(service *corev1.Service) *corev1.Service {
		metadata := metav1.ObjectMeta{Labels: service.Labels, Annotations: withoutRecord(service.Annotations)}
		return &corev1.Service{ObjectMeta: metadata, Spec: service.Spec}
	},
	part: func(service *corev1.Service, part string) any {
		switch part {
		case partPorts:
			return service.Spec.Ports
		case partPublish:
			return service.Spec.PublishNotReadyAddresses
		case partSelector:
			return service.Spec.Selector
		case partType:
			return service.Spec.Type
		default:
			return metadataPart(service, part)
		}
	},
	canAdopt: func(orphan, desired *corev1.Service) bool { return hasSameRole(orphan, desired) },
}

var deploymentKind = childKind[*appsv1.Deployment]{
	kind:     "Deployment",
	resource: deploymentResource,
	deepCopy: (*appsv1.Deployment).DeepCopy,
	managed: func(deployment *appsv1.Deployment) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: deployment.Labels}, Spec: deployment.Spec}
	},
	part: func(deployment *appsv1.Deployment, part string) any {
		switch part {
		case partReplicas:
			return deployment.Spec.Replicas
		case partMinReadySeconds:
			return deployment.Spec.MinReadySeconds
		case partStrategy:
			return deployment.Spec.Strategy
		case partTemplate:
			return deployment.Spec.Template
		default:
			return metadataPart(deployment, part)
		}
	},
	canAdopt: func(orphan, desired *appsv1.Deployment) bool {
		return hasSameRole(orphan, desired) && equality.Semantic.DeepEqual(orphan.Spec.Selector, desired.Spec.Selector)
	},
}

func hasSameRole(a, b metav1.Object) bool {
	return a.GetLabels()[rayv1.LabelRole] == b.GetLabels()[rayv1.LabelRole]
}

// metadataPart returns the value of a part that all kinds have. Of the labels and annotations, it has
// only those that the operator sets.
func metadataPart(child metav1.Object, part string) any {
	recorded := readLastApplied(child)
	switch part {
	case partLabels:
		own := map[string]string{}
		for key := range resources.Labels(&rayv1.Ray{}, "") {
			own[key] = child.GetLabels()[key]
		}
		for _, key := range recorded.LabelKeys {
			own[key] = child.GetLabels()[key]
		}
		return own
	case partAnnotations:
		own := map[string]string{rayv1.AnnotationLastApplied: child.GetAnnotations()[rayv1.AnnotationLastApplied]}
		for _, key := range recorded.AnnotationKeys {
			own[key] = child.GetAnnotations()[key]
		}
		return own
	default:
		return child.GetOwnerReferences()
	}
}

// isPartEqual returns whether two versions of a child have the same value of a part.
func (k *childKind[T]) isPartEqual(a, b T, part string) bool {
	return equality.Semantic.DeepEqual(k.part(a, part), k.part(b, part))
}

// replicasOf returns the replicas of a Deployment, of which 1 is the default.
func replicasOf(deployment *appsv1.Deployment) int32 {
	if deployment.Spec.Replicas == nil {
		return 1
	}
	return *deployment.Spec.Replicas
}
