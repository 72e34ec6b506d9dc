package controller

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// contains tells whether have still has everything that want sets. What want leaves
// unset, others may have set: the API server's defaults, and sidecars or annotations
// that somebody injected.
//
// equality.Semantic.DeepDerivative is not used, since a pointer to false or to 0 counts
// as unset for it, and so does what was added to a list of arguments.
func contains[T any](have, want *T) bool {
	return valueContains(reflect.ValueOf(have), reflect.ValueOf(want), false)
}

// valueContains is contains for any two values of one type. In a list that is merged,
// others may have added items; any other list is set as a whole.
func valueContains(have, want reflect.Value, merged bool) bool {
	switch want := want.Interface().(type) {
	case resource.Quantity, metav1.Time, intstr.IntOrString:
		return equality.Semantic.DeepEqual(have.Interface(), want) || reflect.ValueOf(want).IsZero()
	case []corev1.EnvVar:
		if variables, ok := reflect.TypeAssert[[]corev1.EnvVar](have); !ok || shadows(variables, want) {
			return false
		}
	case corev1.EnvVar:
		// A variable without a value is set all the same: to nothing.
		if variable, ok := reflect.TypeAssert[corev1.EnvVar](have); !ok || variable.Value != want.Value {
			return false
		}
	}
	return partsContain(have, want, merged)
}

// partsContain is valueContains for values that are what their parts are.
func partsContain(have, want reflect.Value, merged bool) bool {
	switch want.Kind() {
	case reflect.Pointer:
		return want.IsNil() || !have.IsNil() && pointeeContains(have.Elem(), want.Elem())
	case reflect.Struct:
		for i := range want.NumField() {
			mergedField := strings.Contains(want.Type().Field(i).Tag.Get("patchStrategy"), "merge")
			if !valueContains(have.Field(i), want.Field(i), mergedField) {
				return false
			}
		}
		return true
	case reflect.Map:
		for _, key := range want.MapKeys() {
			value := have.MapIndex(key)
			if !value.IsValid() || !pointeeContains(value, want.MapIndex(key)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return want.Len() == 0 || listContains(have, want, merged)
	default:
		return want.IsZero() || have.Equal(want)
	}
}

// pointeeContains is valueContains for what a pointer points to, or a map or a list
// holds. There a zero value was set on purpose.
func pointeeContains(have, want reflect.Value) bool {
	if want.Comparable() && want.IsZero() && want.Kind() != reflect.Struct {
		return have.IsZero()
	}
	return valueContains(have, want, false)
}

// listContains tells whether every item of want is in have, and in the same order. A
// list that is not merged must have nothing else.
func listContains(have, want reflect.Value, merged bool) bool {
	if !merged && have.Len() != want.Len() {
		return false
	}
	found := 0
	for i := 0; i < have.Len() && found < want.Len(); i++ {
		if pointeeContains(have.Index(i), want.Index(found)) {
			found++
		}
	}
	return found == want.Len()
}

// shadows tells whether others have added a variable of a name that is wanted: the last
// one of a name counts.
func shadows(have, want []corev1.EnvVar) bool {
	count := map[string]int{}
	for i := range want {
		count[want[i].Name]++
	}
	for i := range have {
		if wanted, found := count[have[i].Name]; found && wanted == 0 {
			return true
		} else if found {
			count[have[i].Name]--
		}
	}
	return false
}
