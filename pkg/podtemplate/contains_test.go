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
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestContains(t *testing.T) {
	limits := func(cpu string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}
	}
	env := func(names ...string) []corev1.EnvVar {
		var variables []corev1.EnvVar
		for _, name := range names {
			variables = append(variables, corev1.EnvVar{Name: name, Value: "1"})
		}
		return variables
	}
	probe := func(handler corev1.ProbeHandler) *corev1.Probe { return &corev1.Probe{ProbeHandler: handler} }
	httpGet := func(port intstr.IntOrString) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port}}
	}
	tests := []struct {
		name              string
		observed, desired corev1.Container
		contains          bool
	}{
		{"an empty desired value", corev1.Container{Image: "a"}, corev1.Container{}, true},
		{"another string", corev1.Container{Image: "a"}, corev1.Container{Image: "b"}, false},
		{"a missing string", corev1.Container{}, corev1.Container{Image: "b"}, false},

		{"an equal quantity in another format", corev1.Container{Resources: limits("1000m")}, corev1.Container{Resources: limits("1")}, true},
		{"another quantity", corev1.Container{Resources: limits("2")}, corev1.Container{Resources: limits("1")}, false},
		{"a quantity for a quantity of 0", corev1.Container{Resources: limits("1")}, corev1.Container{Resources: limits("0")}, false},
		{"a missing quantity of 0", corev1.Container{}, corev1.Container{Resources: limits("0")}, false},

		{"an empty list for a nil one", corev1.Container{Args: []string{}}, corev1.Container{}, true},
		{"a nil list for an empty one", corev1.Container{}, corev1.Container{Args: []string{}}, true},
		{"an added argument", corev1.Container{Args: []string{"a", "b"}}, corev1.Container{Args: []string{"a"}}, false},
		{"a removed argument", corev1.Container{Args: []string{"a"}}, corev1.Container{Args: []string{"a", "b"}}, false},
		{"a changed argument", corev1.Container{Args: []string{"b"}}, corev1.Container{Args: []string{"a"}}, false},

		{"a value for a variable with an empty value", corev1.Container{Env: []corev1.EnvVar{{Name: "PROXY", Value: "x"}}}, corev1.Container{Env: []corev1.EnvVar{{Name: "PROXY"}}}, false},
		{"a variable with an empty value", corev1.Container{Env: []corev1.EnvVar{{Name: "PROXY"}}}, corev1.Container{Env: []corev1.EnvVar{{Name: "PROXY"}}}, true},
		{"a later variable with the same name", corev1.Container{Env: env("a", "b", "a")}, corev1.Container{Env: env("a", "b")}, false},
		{"a value for an empty argument", corev1.Container{Args: []string{"a", "b"}}, corev1.Container{Args: []string{"a", ""}}, false},
		{"an empty argument", corev1.Container{Args: []string{"a", ""}}, corev1.Container{Args: []string{"a", ""}}, true},
		{"an appended variable", corev1.Container{Env: env("a", "b", "x")}, corev1.Container{Env: env("a", "b")}, true},
		{"a prepended variable", corev1.Container{Env: env("x", "a", "b")}, corev1.Container{Env: env("a", "b")}, true},
		{"an inserted variable", corev1.Container{Env: env("a", "x", "b")}, corev1.Container{Env: env("a", "b")}, true},
		{"variables in another order", corev1.Container{Env: env("b", "a")}, corev1.Container{Env: env("a", "b")}, false},
		{"a removed variable", corev1.Container{Env: env("a")}, corev1.Container{Env: env("a", "b")}, false},
		{"a variable once that is desired twice", corev1.Container{Env: env("a")}, corev1.Container{Env: env("a", "a")}, false},

		{"a pointer to 0 for one to 0", corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}}, corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}}, true},
		{"a pointer to 1 for one to 0", corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(1))}}, corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}}, false},
		{"nil for a pointer to 0", corev1.Container{SecurityContext: &corev1.SecurityContext{}}, corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))}}, false},
		{"nil for a pointer to a struct", corev1.Container{}, corev1.Container{SecurityContext: &corev1.SecurityContext{}}, false},
		{"a pointer to a struct for nil", corev1.Container{SecurityContext: &corev1.SecurityContext{}}, corev1.Container{}, true},

		{"the same probe with a default", corev1.Container{LivenessProbe: &corev1.Probe{PeriodSeconds: 10, ProbeHandler: httpGet(intstr.FromInt32(1))}}, corev1.Container{LivenessProbe: probe(httpGet(intstr.FromInt32(1)))}, true},
		{"a probe of another port", corev1.Container{LivenessProbe: probe(httpGet(intstr.FromInt32(2)))}, corev1.Container{LivenessProbe: probe(httpGet(intstr.FromInt32(1)))}, false},
		{"a probe of a named port", corev1.Container{LivenessProbe: probe(httpGet(intstr.FromString("1")))}, corev1.Container{LivenessProbe: probe(httpGet(intstr.FromInt32(1)))}, false},
		{"a probe with a command", corev1.Container{LivenessProbe: probe(corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"a"}}})}, corev1.Container{LivenessProbe: probe(httpGet(intstr.FromInt32(1)))}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Contains(&test.observed, &test.desired); got != test.contains {
				t.Errorf("got %t, want %t", got, test.contains)
			}
		})
	}
}

func TestContainsLabels(t *testing.T) {
	tests := []struct {
		name              string
		observed, desired map[string]string
		contains          bool
	}{
		{"an added label", map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "1"}, true},
		{"a changed value", map[string]string{"a": "2"}, map[string]string{"a": "1"}, false},
		{"an empty value", map[string]string{"a": ""}, map[string]string{"a": ""}, true},
		{"a value for an empty value", map[string]string{"a": "1"}, map[string]string{"a": ""}, false},
		{"a missing label with an empty value", nil, map[string]string{"a": ""}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			observed, desired := metav1.ObjectMeta{Annotations: test.observed}, metav1.ObjectMeta{Annotations: test.desired}
			if got := Contains(&observed, &desired); got != test.contains {
				t.Errorf("got %t, want %t", got, test.contains)
			}
		})
	}
}

// TestContainsSeesEveryField removes each field of a template in which all are set: a field that a later
// version of Kubernetes adds must be compared, and must not panic.
func TestContainsSeesEveryField(t *testing.T) {
	var full corev1.PodTemplateSpec
	fill(reflect.ValueOf(&full).Elem())
	if !Contains(&full, &full) {
		t.Fatal("a template does not contain itself")
	}
	cleared := 0
	forEachField(reflect.ValueOf(&full).Elem(), "template", func(value reflect.Value, path string) {
		desired := full.DeepCopy()
		set := reflect.New(value.Type()).Elem()
		set.Set(value)
		value.SetZero()
		if Contains(&full, desired) {
			t.Errorf("the template without %s still contains the full one", path)
		}
		value.Set(set)
		cleared++
	})
	if cleared < 500 {
		t.Errorf("only %d fields were removed, want at least 500", cleared)
	}
}

// fill sets all fields of a value.
func fill(value reflect.Value) {
	switch value.Interface().(type) {
	case resource.Quantity:
		value.Set(reflect.ValueOf(resource.MustParse("1")))
		return
	case metav1.Time:
		value.Set(reflect.ValueOf(metav1.Unix(1, 0)))
		return
	case intstr.IntOrString:
		value.Set(reflect.ValueOf(intstr.FromInt32(1)))
		return
	case metav1.ObjectMeta:
		value.Set(reflect.ValueOf(metav1.ObjectMeta{Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}}))
		return
	}
	switch value.Kind() {
	case reflect.Bool:
		value.SetBool(true)
	case reflect.String:
		value.SetString("x")
	case reflect.Int32, reflect.Int64:
		value.SetInt(1)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem())
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0))
	case reflect.Map:
		item := reflect.New(value.Type().Elem()).Elem()
		fill(item)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.ValueOf("x").Convert(value.Type().Key()), item)
	case reflect.Struct:
		for _, field := range value.Fields() {
			fill(field)
		}
	default:
		panic("no test value for the kind " + value.Kind().String())
	}
}

// forEachField visits every field of a value that is set, at any depth, except for the fields of types
// that are compared as a whole.
func forEachField(value reflect.Value, path string, visit func(reflect.Value, string)) {
	switch value.Interface().(type) {
	case resource.Quantity, metav1.Time, intstr.IntOrString:
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		forEachField(value.Elem(), path, visit)
	case reflect.Slice:
		for i := range value.Len() {
			forEachField(value.Index(i), path+"[]", visit)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if field, path := value.Field(i), path+"."+value.Type().Field(i).Name; !field.IsZero() {
				visit(field, path)
				forEachField(field, path, visit)
			}
		}
	default:
		// A scalar has no fields.
	}
}
