package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// A mend function compares a child of a Ray with what the Ray asks. It returns the child
// as it should be and names the parts that differ; if none does, nothing is to be written.
// What the operator did not set is left as it is.

// mendService is the mend function of the head's Service. It leaves the ports alone if
// keepPorts is set.
func mendService(ray *rayv1.Ray, have *corev1.Service, keepPorts bool) (*corev1.Service, []string) {
	want := resources.NewService(ray)
	var changed []string
	if !containsLabels(have.Labels, want.Labels) {
		changed = append(changed, "labels")
	}
	if !recordIsValid(ray, have) {
		changed = append(changed, "annotations")
	}
	if have.Spec.Type != want.Spec.Type {
		changed = append(changed, "type")
	}
	if !maps.Equal(have.Spec.Selector, want.Spec.Selector) {
		changed = append(changed, "selector")
	}
	mendPorts := !keepPorts && !slices.EqualFunc(have.Spec.Ports, want.Spec.Ports, equalPort)
	if mendPorts {
		changed = append(changed, "ports")
	}
	if len(changed) == 0 {
		return have, nil
	}

	next := have.DeepCopy()
	next.Labels = union(have.Labels, want.Labels)
	if have.Spec.Type != want.Spec.Type {
		// These are invalid beside another type than LoadBalancer, and with them the update.
		next.Spec.LoadBalancerSourceRanges = nil
		delete(next.Annotations, corev1.AnnotationLoadBalancerSourceRangesKey)
	}
	next.Spec.Type, next.Spec.Selector = want.Spec.Type, want.Spec.Selector
	if mendPorts {
		next.Spec.Ports = want.Spec.Ports
	}
	stamp(next, want, rayv1.AnnotationRayGeneration)
	return next, changed
}

// equalPort compares what the operator sets of a port. Others may have set the rest.
func equalPort(have, want corev1.ServicePort) bool {
	return have.Name == want.Name && have.Protocol == want.Protocol && have.Port == want.Port && have.TargetPort == want.TargetPort
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
	changed := mendLabels(next, want.Labels)
	if !equality.Semantic.DeepEqual(have.Spec.Replicas, want.Spec.Replicas) {
		next.Spec.Replicas = want.Spec.Replicas
		changed = append(changed, "replicas")
	}
	if have.Spec.Strategy.Type != want.Spec.Strategy.Type {
		next.Spec.Strategy = want.Spec.Strategy
		changed = append(changed, "strategy")
	}
	_, counted := have.Annotations[rayv1.AnnotationGeneration]
	recorded := counted && recordIsValid(ray, have)
	switch decideTemplate(ray, have, want, touched) {
	case leaveTemplate:
	case recordTemplate:
		stamp(next, want, rayv1.AnnotationInputs, rayv1.AnnotationRendering)
		recorded = false
	case restoreTemplate:
		next.Spec.Template = restore(&have.Spec.Template, &want.Spec.Template)
		stamp(next, want, rayv1.AnnotationInputs, rayv1.AnnotationRendering)
		changed = append(changed, "template")
	case replaceTemplate:
		next.Spec.Template = want.Spec.Template
		stamp(next, want, rayv1.AnnotationInputs, rayv1.AnnotationRendering)
		changed = append(changed, "template")
	}
	if !recorded {
		changed = append(changed, "annotations")
	}
	if len(changed) > 0 {
		stamp(next, want, rayv1.AnnotationRayGeneration)
		stampGeneration(next)
	}
	return next, changed
}

// mendOnlyLabels is mendDeployment where nothing but labels can differ.
func mendOnlyLabels(have *appsv1.Deployment, want map[string]string) (*appsv1.Deployment, []string) {
	if containsLabels(have.Labels, want) {
		return have, nil
	}
	next := have.DeepCopy()
	return next, mendLabels(next, want)
}

// mendLabels puts back labels.
func mendLabels(next metav1.Object, want map[string]string) []string {
	if containsLabels(next.GetLabels(), want) {
		return nil
	}
	next.SetLabels(union(next.GetLabels(), want))
	return []string{"labels"}
}

func containsLabels(have, want map[string]string) bool {
	for key, value := range want {
		if got, found := have[key]; !found || got != value {
			return false
		}
	}
	return true
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

// stamp copies annotations from the wanted child.
func stamp(next, want metav1.Object, keys ...string) {
	for _, key := range keys {
		annotate(next, key, want.GetAnnotations()[key])
	}
}

// stampGeneration records in a Deployment, as it is about to be updated, the generation
// that the update will result in. The annotation itself is a change, so it is the next.
func stampGeneration(next metav1.Object) {
	annotate(next, rayv1.AnnotationGeneration, strconv.FormatInt(next.GetGeneration()+1, 10))
}

func annotate(object metav1.Object, key, value string) {
	object.SetAnnotations(union(object.GetAnnotations(), map[string]string{key: value}))
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

// recordIsValid tells whether a child was last written for a generation that its Ray has
// had. Otherwise somebody has changed the record.
func recordIsValid(ray *rayv1.Ray, child metav1.Object) bool {
	recorded := recordedGeneration(child)
	return 0 < recorded && recorded <= ray.Generation
}

// difference identifies in what a child is not as it should be: what it has there, and what it
// should have. The rest of it does not count, such as what admission sets anew at each write.
func difference[T any](have, next T) string {
	return resources.Hash([]json.RawMessage{mergePatch(next, have), mergePatch(have, next)})
}

// mergePatch returns the JSON merge patch that makes one object of another.
func mergePatch[T any](from, to T) []byte {
	original, err := json.Marshal(from)
	modified, otherErr := json.Marshal(to)
	if err := errors.Join(err, otherErr); err != nil {
		panic(fmt.Sprintf("encoding an object to compare: %v", err)) // as in resources.Hash
	}
	patch, err := jsonpatch.CreateMergePatch(original, modified)
	if err != nil {
		panic(fmt.Sprintf("comparing two JSON objects: %v", err))
	}
	return patch
}
