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
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// object is a Ray, a Service or a Deployment. The fake server stores no other kinds.
type object interface {
	runtime.Object
	metav1.Object
}

func newObject(resource string) object {
	switch resource {
	case rayResource:
		return &rayv1.Ray{}
	case serviceResource:
		return &corev1.Service{}
	case deploymentResource:
		return &appsv1.Deployment{}
	}
	panic("the fake server has no resource " + resource)
}

func idOf(o object) objectID {
	id := objectID{namespace: o.GetNamespace(), name: o.GetName()}
	switch o.(type) {
	case *rayv1.Ray:
		id.resource = rayResource
	case *corev1.Service:
		id.resource = serviceResource
	case *appsv1.Deployment:
		id.resource = deploymentResource
	}
	return id
}

// field returns a field of an object, which can be set.
func field(o object, name string) reflect.Value { return reflect.ValueOf(o).Elem().FieldByName(name) }

// clone returns a deep copy of an object.
func clone[T runtime.Object](o T) T { return o.DeepCopyObject().(T) } //nolint:errcheck,forcetypeassert // a copy has the type of what is copied
