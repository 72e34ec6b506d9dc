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

// Package podtemplate compares and merges Pod templates that several clients write. All of its
// functions are pure.
package podtemplate

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Contains returns whether an observed object still has everything that the desired one sets. Other
// clients may set what the desired object leaves unset: defaults of the API server, injected sidecars
// or annotations.
//
// equality.Semantic.DeepDerivative is not suitable: to it a pointer to false or to 0 is unset, and so
// is an item that was added to a list of arguments.
func Contains[T any](observed, desired *T) bool {
	return valueContains(reflect.ValueOf(observed), reflect.ValueOf(desired), false)
}

// valueContains is Contains for any two values of one type. To a list that is merged, other clients
// may add items; any other list is compared as a whole.
func valueContains(observed, desired reflect.Value, merged bool) bool {
	switch desired := desired.Interface().(type) {
	case resource.Quantity, metav1.Time, intstr.IntOrString:
		return equality.Semantic.DeepEqual(observed.Interface(), desired) || reflect.ValueOf(desired).IsZero()
	case []corev1.EnvVar:
		if variables, ok := reflect.TypeAssert[[]corev1.EnvVar](observed); !ok || shadows(variables, desired) {
			return false
		}
	case corev1.EnvVar:
		// An empty value is a value.
		if variable, ok := reflect.TypeAssert[corev1.EnvVar](observed); !ok || variable.Value != desired.Value {
			return false
		}
	}
	return partsContain(observed, desired, merged)
}

// partsContain is valueContains for values that are compared part by part.
func partsContain(observed, desired reflect.Value, merged bool) bool {
	switch desired.Kind() {
	case reflect.Pointer:
		return desired.IsNil() || !observed.IsNil() && pointeeContains(observed.Elem(), desired.Elem())
	case reflect.Struct:
		for i := range desired.NumField() {
			mergedField := strings.Contains(desired.Type().Field(i).Tag.Get("patchStrategy"), "merge")
			if !valueContains(observed.Field(i), desired.Field(i), mergedField) {
				return false
			}
		}
		return true
	case reflect.Map:
		for _, key := range desired.MapKeys() {
			value := observed.MapIndex(key)
			if !value.IsValid() || !pointeeContains(value, desired.MapIndex(key)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return desired.Len() == 0 || listContains(observed, desired, merged)
	default:
		return desired.IsZero() || observed.Equal(desired)
	}
}

// pointeeContains is valueContains for the target of a pointer and for an item of a map or a list,
// where a zero value is a value.
func pointeeContains(observed, desired reflect.Value) bool {
	if desired.Comparable() && desired.IsZero() && desired.Kind() != reflect.Struct {
		return observed.IsZero()
	}
	return valueContains(observed, desired, false)
}

// listContains returns whether all desired items are in the observed list, in the same order. A list
// that is not merged must not have other items.
func listContains(observed, desired reflect.Value, merged bool) bool {
	if !merged && observed.Len() != desired.Len() {
		return false
	}
	found := 0
	for i := 0; i < observed.Len() && found < desired.Len(); i++ {
		if pointeeContains(observed.Index(i), desired.Index(found)) {
			found++
		}
	}
	return found == desired.Len()
}

// shadows returns whether another client added a variable with the name of a desired one: of several
// variables with one name, the last one takes effect.
func shadows(observed, desired []corev1.EnvVar) bool {
	count := map[string]int{}
	for i := range desired {
		count[desired[i].Name]++
	}
	for i := range observed {
		if expected, found := count[observed[i].Name]; found && expected == 0 {
			return true
		} else if found {
			count[observed[i].Name]--
		}
	}
	return false
}
