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

package podtemplate

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Merge returns the desired template with what other clients added to the observed one: labels,
// annotations, containers and volumes, each in its place, and fields of the Pod that are unset in the
// desired template.
func Merge(observed, desired *corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	merged := *desired.DeepCopy()
	merged.Labels = labels.Merge(observed.Labels, desired.Labels)
	merged.Annotations = labels.Merge(observed.Annotations, desired.Annotations)

	spec := &merged.Spec
	spec.Containers = mergeContainers(observed.Spec.Containers, desired.Spec.Containers)
	spec.InitContainers = mergeContainers(observed.Spec.InitContainers, desired.Spec.InitContainers)
	spec.Volumes = insertAdded(spec.Volumes, observed.Spec.Volumes, func(v *corev1.Volume) string { return v.Name })

	if spec.ServiceAccountName == "" {
		// If both names of the ServiceAccount are set, the API server uses this one.
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	fields, added := reflect.ValueOf(spec).Elem(), reflect.ValueOf(&observed.Spec).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			fields.Field(i).Set(added.Field(i))
		}
	}
	return merged
}

// mergeContainers returns the desired containers, with those that other clients added. A container is
// kept as observed if it contains all that is desired.
func mergeContainers(observed, desired []corev1.Container) []corev1.Container {
	merged := make([]corev1.Container, 0, len(observed))
	for i := range desired {
		container := &desired[i]
		for j := range observed {
			if observed[j].Name == desired[i].Name && Contains(&observed[j], &desired[i]) {
				container = &observed[j]
			}
		}
		merged = append(merged, *container.DeepCopy())
	}
	return insertAdded(merged, observed, func(c *corev1.Container) string { return c.Name })
}

// insertAdded returns the desired items, in their order, with the items that only the observed list has.
// These keep their place: each comes after the desired items that precede it in the observed list, and
// before all others. A native sidecar that comes first starts before the init containers that need it.
func insertAdded[T any](desired, observed []T, name func(*T) string) []T {
	position := make(map[string]int, len(desired))
	for i := range desired {
		position[name(&desired[i])] = i
	}
	merged := make([]T, 0, len(desired)+len(observed))
	next := 0 // the first desired item that is not in merged
	for i := range observed {
		if j, found := position[name(&observed[i])]; !found {
			merged = append(merged, observed[i])
		} else if j >= next {
			merged = append(merged, desired[next:j+1]...)
			next = j + 1
		}
	}
	return append(merged, desired[next:]...)
}
