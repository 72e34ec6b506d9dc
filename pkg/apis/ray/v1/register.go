package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// SchemeGroupVersion is the group and version of the types in this package.
	SchemeGroupVersion = schema.GroupVersion{Group: "ray.kubeflow.org", Version: "v1"}

	// SchemeGroupVersionKind is the kind of a Ray, as owner references carry it.
	SchemeGroupVersionKind = SchemeGroupVersion.WithKind("Ray")

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types in this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

// Resource returns the group resource for the plural name of a resource of this group.
// The generated listers use it in their errors.
func Resource(resource string) schema.GroupResource {
	return SchemeGroupVersion.WithResource(resource).GroupResource()
}

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(SchemeGroupVersion, &Ray{}, &RayList{})
	metav1.AddToGroupVersion(scheme, SchemeGroupVersion)
	return nil
}
