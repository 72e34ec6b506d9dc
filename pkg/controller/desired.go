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
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/podtemplate"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The functions in this file are pure. They take a child as observed, with the record of what was last
// applied to it, and return the child as desired and which parts of it differ; if none does, nothing is
// to be written. They do not change what the operator does not manage.

// newService returns a Ray's Service, to be created.
func newService(ray *rayv1.Ray) *corev1.Service {
	service := resources.NewService(ray)
	record := &lastApplied{RayGeneration: ray.Generation}
	record.AnnotationKeys, record.LabelKeys = resources.HeadServiceKeys(ray)
	record.writeTo(service)
	return service
}

// desiredService returns the Service of a Ray as desired. With keepPorts it does not change the ports.
func desiredService(ray *rayv1.Ray, observed *corev1.Service, recorded *lastApplied, keepPorts bool) (*corev1.Service, []string) {
	desired := resources.NewService(ray)
	var diff []string
	if !isControlledBy(observed, ray) {
		diff = append(diff, partOwner)
	}
	if !isMetadataCurrent(observed.Labels, desired.Labels, recorded.LabelKeys) {
		diff = append(diff, partLabels)
	}
	if !recorded.isValid(ray) || !isMetadataCurrent(observed.Annotations, desired.Annotations, recorded.AnnotationKeys) {
		diff = append(diff, partAnnotations)
	}
	if observed.Spec.Type != desired.Spec.Type {
		diff = append(diff, partType)
	}
	if observed.Spec.PublishNotReadyAddresses != desired.Spec.PublishNotReadyAddresses {
		diff = append(diff, partPublish)
	}
	if !maps.Equal(observed.Spec.Selector, desired.Spec.Selector) {
		diff = append(diff, partSelector)
	}
	newPorts := !slices.EqualFunc(observed.Spec.Ports, desired.Spec.Ports, equalPort)
	if newPorts && !keepPorts {
		diff = append(diff, partPorts)
	}
	if len(diff) == 0 {
		return observed, nil
	}

	next := observed.DeepCopy()
	adopt(next, ray)
	next.Labels = updatedMetadata(observed.Labels, desired.Labels, recorded.LabelKeys)
	next.Annotations = updatedMetadata(observed.Annotations, desired.Annotations, recorded.AnnotationKeys)
	if observed.Spec.Type != desired.Spec.Type && desired.Spec.Type != corev1.ServiceTypeLoadBalancer {
		// The API server rejects an update in which these are set without type LoadBalancer.
		next.Spec.LoadBalancerSourceRanges = nil
		delete(next.Annotations, corev1.AnnotationLoadBalancerSourceRangesKey)
	}
	next.Spec.Type, next.Spec.Selector = desired.Spec.Type, desired.Spec.Selector
	next.Spec.PublishNotReadyAddresses = desired.Spec.PublishNotReadyAddresses
	if newPorts && !keepPorts {
		next.Spec.Ports = mergePorts(observed.Spec.Ports, desired.Spec.Ports, desired.Spec.Type)
	}
	current := *recorded
	current.AnnotationKeys, current.LabelKeys = resources.HeadServiceKeys(ray)
	if !newPorts || !keepPorts || !recorded.isValid(ray) { // else the new ports are still to be written
		current.RayGeneration = ray.Generation
	}
	current.writeTo(next)
	return next, diff
}

// equalPort compares the fields of a port that the operator sets. Other clients may set the rest.
func equalPort(observed, desired corev1.ServicePort) bool {
	return observed.Name == desired.Name && observed.Protocol == desired.Protocol &&
		observed.Port == desired.Port && observed.TargetPort == desired.TargetPort &&
		(desired.AppProtocol == nil || ptr.Equal(observed.AppProtocol, desired.AppProtocol))
}

// mergePorts returns the desired ports of a Service with what other clients, or the API server, set in the
// observed ones: the node port, and the application protocol unless the user gives one.
func mergePorts(observed, desired []corev1.ServicePort, serviceType corev1.ServiceType) []corev1.ServicePort {
	merged := slices.Clone(desired)
	for i := range merged {
		port := &merged[i]
		for _, other := range observed {
			if other.Port != port.Port || other.Protocol != port.Protocol {
				continue
			}
			if serviceType != corev1.ServiceTypeClusterIP {
				port.NodePort = other.NodePort
			}
			if port.AppProtocol == nil && other.Name == port.Name {
				port.AppProtocol = other.AppProtocol
			}
		}
	}
	return merged
}

// isMetadataCurrent returns whether observed labels or annotations have all desired ones, and none that the user
// has set earlier, which have the recorded keys, and does not any more.
func isMetadataCurrent(observed, desired map[string]string, recordedKeys []string) bool {
	return containsLabels(observed, desired) && !slices.ContainsFunc(recordedKeys, func(key string) bool {
		_, found := observed[key]
		_, set := desired[key]
		return found && !set
	})
}

// updatedMetadata returns labels or annotations that are current. Those of other clients remain.
func updatedMetadata(observed, desired map[string]string, recordedKeys []string) map[string]string {
	remaining := maps.Clone(observed)
	for _, key := range recordedKeys {
		delete(remaining, key)
	}
	return labels.Merge(remaining, desired)
}

// newDeployment returns the Deployment of a group, to be created.
func newDeployment(ray *rayv1.Ray, group resources.Group) *appsv1.Deployment {
	deployment := resources.NewDeployment(ray, group)
	newLastApplied(ray, group, deployment).writeTo(deployment)
	return deployment
}

// newLastApplied returns the record of a Deployment as it is rendered, with the generation of a new object.
func newLastApplied(ray *rayv1.Ray, group resources.Group, rendered *appsv1.Deployment) *lastApplied {
	return &lastApplied{
		RayGeneration:      ray.Generation,
		Generation:         1,
		Inputs:             resources.InputsHash(group),
		Rendering:          resources.RenderingHash(group, rendered),
		TemplateGeneration: ray.Generation,
		Replicas:           newTarget(ray, group),
		LabelKeys:          slices.Sorted(maps.Keys(resources.QueueLabels(group))),
	}
}

// desiredDeployment returns the Deployment of a group as desired.
func desiredDeployment(ray *rayv1.Ray, group resources.Group, observed *appsv1.Deployment, recorded *lastApplied, rollout templateRollout) (*appsv1.Deployment, []string) {
	controlled := isControlledBy(observed, ray)
	changed := recorded.Generation != observed.Generation
	if controlled && !changed && recorded.RayGeneration == ray.Generation && !isRolloutDue(observed, recorded, rollout) {
		// Only labels, which do not change the generation, and the target can differ. Nothing is rendered.
		next, diff := desiredLabels(observed, ray, group.Role)
		return desiredScale(next, diff, recorded, group.Replicas, newTarget(ray, group))
	}

	desired := resources.NewDeployment(ray, group)
	current := newLastApplied(ray, group, desired)
	current.AdmissionOverride = recorded.AdmissionOverride
	decision := decideTemplate(ray, group, recorded, current, observed, desired)
	setRollout(ray, group, observed, desired, decision == replaceTemplate && !rollout.hold, recorded, current, rollout)
	next := observed.DeepCopy()
	var diff []string
	adopt(next, ray)
	if !controlled {
		diff = append(diff, partOwner)
	}
	if !isMetadataCurrent(observed.Labels, desired.Labels, recorded.LabelKeys) {
		next.Labels = updatedMetadata(observed.Labels, desired.Labels, recorded.LabelKeys)
		diff = append(diff, partLabels)
	}
	if observed.Spec.Replicas == nil || *observed.Spec.Replicas != group.Replicas {
		next.Spec.Replicas = desired.Spec.Replicas
		diff = append(diff, partReplicas)
	}
	diff = append(diff, setTemplate(group, next, desired, decision, recorded, current, rollout.hold)...)
	newRecord := recorded.Generation == 0 || !recorded.isValid(ray) || len(diff) == 0 && current.differsInRollout(recorded)
	if newRecord && !slices.Contains(diff, partAnnotations) {
		diff = append(diff, partAnnotations)
	}
	if len(diff) == 0 {
		return observed, nil
	}
	current.Generation = observed.Generation + 1 // the record is an annotation, so the write increments it
	if current.TemplatePending && changed {
		current.Generation = -1 // another client may have changed the template, which stays for now
	}
	current.writeTo(next)
	return next, diff
}

// setTemplate sets the Pod template of a Deployment as decided, with what depends on it, and the record of
// this write. It returns which parts differ.
func setTemplate(group resources.Group, next, desired *appsv1.Deployment, decision templateDecision, recorded, current *lastApplied, hold bool) (diff []string) {
	rendering := current.Rendering
	if decision == replaceTemplate && hold {
		decision, current.TemplatePending = keepTemplate, true
	}
	switch decision {
	case keepTemplate:
		current.Inputs, current.Rendering, current.Stored = recorded.Inputs, recorded.Rendering, recorded.Stored
		if recorded.TemplatePending && !current.TemplatePending {
			diff = append(diff, partAnnotations) // the user wants the old template again
		}
	case recordTemplate:
		diff = append(diff, partAnnotations)
	case revertTemplate:
		next.Spec.Template = podtemplate.Merge(&next.Spec.Template, &desired.Spec.Template)
		diff = append(diff, partTemplate)
	case replaceTemplate:
		next.Spec.Template = desired.Spec.Template
		diff = append(diff, partTemplate)
	}
	// The defaults belong to the rendering, which may be that of another version of the operator.
	hasDefaults := current.Rendering == rendering
	ownStrategy := group.Strategy != nil || recorded.WithHead != current.WithHead
	if (hasDefaults || ownStrategy) && !equality.Semantic.DeepEqual(next.Spec.Strategy, desired.Spec.Strategy) {
		next.Spec.Strategy = desired.Spec.Strategy
		diff = append(diff, partStrategy)
	}
	if hasDefaults && next.Spec.MinReadySeconds != desired.Spec.MinReadySeconds {
		next.Spec.MinReadySeconds = desired.Spec.MinReadySeconds
		diff = append(diff, partMinReadySeconds)
	}
	return diff
}

// desiredLabels is desiredDeployment for a Deployment of which only the labels can differ.
func desiredLabels(observed *appsv1.Deployment, ray *rayv1.Ray, role rayv1.Role) (*appsv1.Deployment, []string) {
	desired := resources.Labels(ray, role)
	if containsLabels(observed.Labels, desired) {
		return observed, nil
	}
	next := observed.DeepCopy()
	next.Labels = labels.Merge(observed.Labels, desired)
	return next, []string{partLabels}
}

// desiredScale adds the target of an autoscaled group to a Deployment as desired, of which nothing else than these
// parts differs. Values that admission has set remain, and are not sent again.
func desiredScale(next *appsv1.Deployment, diff []string, recorded *lastApplied, replicas int32, target *int32) (*appsv1.Deployment, []string) {
	if ptr.Equal(recorded.Replicas, target) {
		return next, diff
	}
	part := partAnnotations
	if replicasOf(next) != replicas {
		part = partReplicas
	}
	scaled := next.DeepCopy()
	scaled.Spec.Replicas = &replicas
	current := *recorded
	current.Generation, current.Replicas = next.Generation+1, target
	current.writeTo(scaled)
	return scaled, append(diff, part)
}

// adopt makes a Ray the controller of a child, if it is not.
func adopt(child metav1.Object, ray *rayv1.Ray) {
	if isControlledBy(child, ray) {
		return
	}
	owners := slices.DeleteFunc(slices.Clone(child.GetOwnerReferences()), func(owner metav1.OwnerReference) bool {
		return owner.UID == ray.UID
	})
	child.SetOwnerReferences(append(owners, *metav1.NewControllerRef(ray, rayv1.SchemeGroupVersionKind)))
}

// templateDecision is what to do with the Pod template of a Deployment.
type templateDecision int

const (
	// keepTemplate keeps the observed template.
	keepTemplate templateDecision = iota
	// recordTemplate keeps it as well, and corrects its record.
	recordTemplate
	// revertTemplate reverts changes by other clients, and keeps what they added.
	revertTemplate
	// replaceTemplate replaces it by a new rendering.
	replaceTemplate
)

// decideTemplate decides what to do with the Pod template of a Deployment. The records are those of the
// last write and of a write now. A template is replaced only if the user changed its inputs: anything
// else must not restart Pods.
func decideTemplate(ray *rayv1.Ray, group resources.Group, recorded, current *lastApplied, observed, desired *appsv1.Deployment) templateDecision {
	known := isTemplateKnown(ray, observed, recorded)
	switch {
	case known && isTemplateOld(ray, recorded) && recorded.Inputs != current.Inputs:
		return replaceTemplate
	case known && recorded.Generation == observed.Generation && recorded.isValid(ray):
		// As the operator wrote it, or as admission stored it.
		return keepTemplate
	case known && recorded.Stored != "" && recorded.Stored == resources.Hash(&observed.Spec.Template):
		// As admission stored it. Another client changed something else.
		return keepTemplate
	case podtemplate.Contains(&observed.Spec.Template, &desired.Spec.Template):
		if known && recorded.Inputs == current.Inputs && recorded.Rendering == current.Rendering {
			return keepTemplate
		}
		return recordTemplate
	case known && recorded.Rendering != current.Rendering && podtemplate.Contains(&observed.Spec.Template, resources.UserTemplate(ray, group)):
		// Another version of the operator rendered it, and no other client changed what the user wrote.
		// This version does not know what else that one set, and keeps it.
		return keepTemplate
	default:
		return revertTemplate
	}
}

// replacesTemplate returns whether a Deployment needs a new Pod template, since the user changed its inputs.
func replacesTemplate(ray *rayv1.Ray, group resources.Group, observed *appsv1.Deployment) bool {
	recorded := readLastApplied(observed)
	if !isControlledBy(observed, ray) {
		recorded.RayGeneration = 0 // it is that of another Ray
	}
	return isTemplateKnown(ray, observed, &recorded) && isTemplateOld(ray, &recorded) && recorded.Inputs != resources.InputsHash(group)
}

// isTemplateKnown returns whether the record says which inputs the Pod template was made from. An
// orphan's record is about an earlier Ray: its generations have no meaning for this one.
func isTemplateKnown(ray *rayv1.Ray, observed *appsv1.Deployment, recorded *lastApplied) bool {
	return recorded.Inputs != "" && recorded.Rendering != "" && (recorded.isValid(ray) || !isControlledBy(observed, ray))
}

// isTemplateOld returns whether the Pod template was written for an earlier spec of the Ray. If not, inputs
// with another hash have another cause, such as a new default in the schema.
func isTemplateOld(ray *rayv1.Ray, recorded *lastApplied) bool {
	return recorded.RayGeneration < ray.Generation || recorded.TemplatePending
}

// containsLabels returns whether an object has all desired labels.
func containsLabels(observed, desired map[string]string) bool {
	for key, value := range desired {
		if got, found := observed[key]; !found || got != value {
			return false
		}
	}
	return true
}
