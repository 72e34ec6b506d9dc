package controller

import (
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// templateDecision is what is to be done with the Pod template of a Deployment.
type templateDecision int

const (
	// leaveTemplate leaves it as it is.
	leaveTemplate templateDecision = iota
	// recordTemplate leaves it, too, but the record of it has to be put right.
	recordTemplate
	// restoreTemplate puts back what somebody changed, and keeps what others added.
	restoreTemplate
	// replaceTemplate replaces it by what the user wants now.
	replaceTemplate
)

// decideTemplate decides what is to be done with the Pod template of a Deployment. Touched
// tells that somebody else has changed the Deployment. It goes by what have records alone:
// a template is replaced only if the user changed what it is made from, since everything
// else would restart Pods for a reason that is not the user's.
func decideTemplate(ray *rayv1.Ray, have, want *appsv1.Deployment, touched bool) templateDecision {
	inputs, rendering := have.Annotations[rayv1.AnnotationInputs], have.Annotations[rayv1.AnnotationRendering]
	sameInputs, sameRendering := inputs == want.Annotations[rayv1.AnnotationInputs], rendering == want.Annotations[rayv1.AnnotationRendering]
	known := inputs != "" && rendering != "" && recordIsValid(ray, have)

	switch {
	case known && !sameInputs && recordedGeneration(have) < ray.Generation:
		return replaceTemplate
	case known && !touched:
		// As the operator wrote it, or admission made of that.
		return leaveTemplate
	case contains(&have.Spec.Template, &want.Spec.Template):
		if known && sameInputs && sameRendering {
			return leaveTemplate
		}
		return recordTemplate
	case known && !sameRendering:
		// Another version of the operator rendered it. What that one set is not known
		// here, and its rendering stays until the user changes the template.
		return leaveTemplate
	default:
		return restoreTemplate
	}
}

// restore returns the wanted template with what others had added to it as a whole:
// labels, annotations, containers, volumes, and fields of the Pod that are not wanted
// otherwise.
func restore(have, want *corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	restored := *want.DeepCopy()
	restored.Labels = union(have.Labels, want.Labels)
	restored.Annotations = union(have.Annotations, want.Annotations)

	spec := &restored.Spec
	spec.Containers = restoreContainers(have.Spec.Containers, want.Spec.Containers)
	spec.InitContainers = restoreContainers(have.Spec.InitContainers, want.Spec.InitContainers)
	spec.Volumes = appendOthers(spec.Volumes, have.Spec.Volumes, func(v corev1.Volume) string { return v.Name })

	if spec.ServiceAccountName == "" {
		// Of the two names of the ServiceAccount the API server prefers this one.
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	fields, others := reflect.ValueOf(spec).Elem(), reflect.ValueOf(&have.Spec).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			fields.Field(i).Set(others.Field(i))
		}
	}
	return restored
}

// restoreContainers returns the wanted containers, each as it is if nothing that the
// operator set has changed in it, and after them those of others.
func restoreContainers(have, want []corev1.Container) []corev1.Container {
	restored := make([]corev1.Container, 0, len(have))
	for i := range want {
		container := &want[i]
		for j := range have {
			if have[j].Name == want[i].Name && contains(&have[j], &want[i]) {
				container = &have[j]
			}
		}
		restored = append(restored, *container.DeepCopy())
	}
	return appendOthers(restored, have, func(c corev1.Container) string { return c.Name })
}

// appendOthers appends to items those of another list whose names it lacks.
func appendOthers[T any](items, others []T, name func(T) string) []T {
	names := sets.New[string]()
	for _, item := range items {
		names.Insert(name(item))
	}
	for _, other := range others {
		if !names.Has(name(other)) {
			items = append(items, other)
		}
	}
	return items
}
