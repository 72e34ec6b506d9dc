package controller

import (
	"maps"
	"reflect"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// A mend function compares a child of a Ray with what the Ray asks. It returns the child
// as it should be and names the parts that differ; if none does, nothing is to be written.
// What the operator did not set is left as it is.

// mendService is the mend function of the head's Service.
func mendService(ray *rayv1.Ray, have *corev1.Service) (*corev1.Service, []string) {
	want := resources.NewService(ray)
	next := have.DeepCopy()
	changed := mendMetadata(&next.ObjectMeta, &want.ObjectMeta)
	if have.Spec.Type != want.Spec.Type {
		next.Spec.Type = want.Spec.Type
		changed = append(changed, "type")
	}
	if !maps.Equal(have.Spec.Selector, want.Spec.Selector) {
		next.Spec.Selector = want.Spec.Selector
		changed = append(changed, "selector")
	}
	if !equalPorts(have.Spec.Ports, want.Spec.Ports) {
		next.Spec.Ports = want.Spec.Ports
		changed = append(changed, "ports")
	}
	if len(changed) > 0 {
		stamp(next, want, rayv1.AnnotationRayGeneration)
	}
	return next, changed
}

// equalPorts compares what the operator sets of a port. A port that somebody added is a
// difference: the Service has the head's ports, and no others.
func equalPorts(have, want []corev1.ServicePort) bool {
	return slices.EqualFunc(have, want, func(a, b corev1.ServicePort) bool { return contains(&a, &b) })
}

// mendDeployment is the mend function of the Deployment of a group.
//
// Where admission rewrites what the operator writes, that must not be taken for a change
// by somebody else, or each sync would write anew. The annotation AnnotationGeneration
// tells them apart: it has the generation that the operator's last write resulted in,
// admission included. The API server raises it with every change of spec or annotations.
func mendDeployment(ray *rayv1.Ray, role rayv1.Role, have *appsv1.Deployment) (*appsv1.Deployment, []string) {
	touched := have.Annotations[rayv1.AnnotationGeneration] != strconv.FormatInt(have.Generation, 10)
	if !touched && recordedGeneration(have) == ray.Generation {
		// Nothing but labels can differ, so there is no need to render anything.
		return mendOnlyLabels(have, resources.Labels(ray, role))
	}

	want := resources.NewDeployment(ray, role)
	next := have.DeepCopy()
	changed := mendMetadata(&next.ObjectMeta, &want.ObjectMeta)
	if !equality.Semantic.DeepEqual(have.Spec.Replicas, want.Spec.Replicas) {
		next.Spec.Replicas = want.Spec.Replicas
		changed = append(changed, "replicas")
	}
	if have.Spec.Strategy.Type != want.Spec.Strategy.Type {
		next.Spec.Strategy = want.Spec.Strategy
		changed = append(changed, "strategy")
	}
	changed = append(changed, mendTemplate(next, want, touched)...)
	if len(changed) > 0 {
		stamp(next, want, rayv1.AnnotationRayGeneration)
		next.Annotations[rayv1.AnnotationGeneration] = strconv.FormatInt(have.Generation+1, 10)
	}
	return next, changed
}

// mendOnlyLabels is mendDeployment where nothing but labels can differ. It records nothing,
// so that the update changes nothing at all if admission insists on other labels.
func mendOnlyLabels(have *appsv1.Deployment, want map[string]string) (*appsv1.Deployment, []string) {
	if containsLabels(have.Labels, want) {
		return nil, nil
	}
	next := have.DeepCopy()
	return next, mendLabels(&next.ObjectMeta, want)
}

// mendTemplate mends the Pod template of next, which is as it was found. A template is
// rendered anew only if the user changed what it is made from: everything else would
// restart Pods for a reason that is not the user's.
func mendTemplate(next, want *appsv1.Deployment, touched bool) []string {
	sameInputs := next.Annotations[rayv1.AnnotationInputs] == want.Annotations[rayv1.AnnotationInputs]
	sameRendering := next.Annotations[rayv1.AnnotationRendering] == want.Annotations[rayv1.AnnotationRendering]
	switch {
	case !sameInputs:
		next.Spec.Template = want.Spec.Template
		stamp(next, want, rayv1.AnnotationInputs, rayv1.AnnotationRendering)
		return []string{"template"}
	case !touched:
		return nil
	case contains(&next.Spec.Template, &want.Spec.Template):
		if sameRendering {
			return nil
		}
		stamp(next, want, rayv1.AnnotationRendering)
		return []string{"annotations"}
	case !sameRendering:
		// Another version of the operator rendered it. What that one set is not known
		// here, and its rendering stays until the user changes the template.
		return nil
	default:
		next.Spec.Template = restore(&next.Spec.Template, &want.Spec.Template)
		return []string{"template"}
	}
}

// restore returns the wanted template with what others had added to it as a whole:
// labels, annotations, containers, volumes, and fields of the Pod that are not wanted
// otherwise.
func restore(have, want *corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	restored := *want.DeepCopy()
	restored.Labels = union(have.Labels, want.Labels)
	restored.Annotations = union(have.Annotations, want.Annotations)

	containerName := func(c corev1.Container) string { return c.Name }
	spec := &restored.Spec
	spec.Containers = appendOthers(spec.Containers, have.Spec.Containers, containerName)
	spec.InitContainers = appendOthers(spec.InitContainers, have.Spec.InitContainers, containerName)
	spec.Volumes = appendOthers(spec.Volumes, have.Spec.Volumes, func(v corev1.Volume) string { return v.Name })

	fields, others := reflect.ValueOf(spec).Elem(), reflect.ValueOf(&have.Spec).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			fields.Field(i).Set(others.Field(i))
		}
	}
	return restored
}

// union returns the entries of two maps. Where both have a key, the second one counts.
func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		return b
	}
	maps.Copy(all, b)
	return all
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

// mendMetadata puts back labels, and annotations that are missing. An annotation that
// differs is the record of an earlier write, and right, unless it is about a generation
// of the Ray that does not exist.
func mendMetadata(next, want *metav1.ObjectMeta) []string {
	changed := mendLabels(next, want.Labels)
	missing := map[string]string{}
	for key, value := range want.Annotations {
		if _, found := next.Annotations[key]; !found {
			missing[key] = value
		}
	}
	if recorded := recordedGeneration(next); recorded < 1 || recorded > recordedGeneration(want) {
		missing[rayv1.AnnotationRayGeneration] = want.Annotations[rayv1.AnnotationRayGeneration]
	}
	for key, value := range missing {
		metav1.SetMetaDataAnnotation(next, key, value)
	}
	if len(missing) > 0 {
		changed = append(changed, "annotations")
	}
	return changed
}

// mendLabels puts back labels.
func mendLabels(next *metav1.ObjectMeta, want map[string]string) []string {
	if containsLabels(next.Labels, want) {
		return nil
	}
	for key, value := range want {
		metav1.SetMetaDataLabel(next, key, value)
	}
	return []string{"labels"}
}

func containsLabels(have, want map[string]string) bool {
	return labels.SelectorFromSet(want).Matches(labels.Set(have))
}

// stamp copies annotations from the wanted child.
func stamp(next, want metav1.Object, keys ...string) {
	annotations := next.GetAnnotations()
	for _, key := range keys {
		annotations[key] = want.GetAnnotations()[key]
	}
}

// recordedGeneration returns the generation of the Ray that a child was last written for,
// or 0 if the child does not say.
func recordedGeneration(child metav1.Object) int64 {
	generation, err := strconv.ParseInt(child.GetAnnotations()[rayv1.AnnotationRayGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return generation
}
