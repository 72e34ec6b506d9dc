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
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestStripChildren has objects with the label by which children are watched, and various controllers.
func TestStripChildren(t *testing.T) {
	tests := []struct {
		name     string
		owner    *metav1.OwnerReference
		wantSpec bool
	}{
		{"no controller", nil, false},
		{"controlled by a Ray", metav1.NewControllerRef(&rayv1.Ray{}, rayv1.SchemeGroupVersionKind), true},
		{"controlled by a Ray of another API version", &metav1.OwnerReference{APIVersion: "ray.kubeflow.org/v2", Kind: "Ray", Controller: new(true)}, true},
		{"controlled by a Ray of another API group", &metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Ray", Controller: new(true)}, false},
		{"owned, but not controlled, by a Ray", &metav1.OwnerReference{APIVersion: "ray.kubeflow.org/v1", Kind: "Ray"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			meta := metav1.ObjectMeta{Name: "x", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}
			want := metav1.ObjectMeta{Name: "x"}
			if test.owner != nil {
				meta.OwnerReferences = []metav1.OwnerReference{*test.owner}
				want.OwnerReferences = meta.OwnerReferences
			}
			deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Paused: true}, Status: appsv1.DeploymentStatus{Replicas: 1}}
			service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: "x"}}
			wantDeployment, wantService := &appsv1.Deployment{ObjectMeta: want}, &corev1.Service{ObjectMeta: want}
			if test.wantSpec {
				wantDeployment.Spec, wantDeployment.Status, wantService.Spec = deployment.Spec, deployment.Status, service.Spec
			}
			for _, o := range []object{deployment, service} {
				if _, err := strip(o); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(wantDeployment, deployment); diff != "" {
				t.Errorf("Deployment (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantService, service); diff != "" {
				t.Errorf("Service (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStripRay(t *testing.T) {
	ray := readSample(t)
	want := ray.DeepCopy()
	want.Annotations = map[string]string{"note": "x"}
	ray.Annotations = map[string]string{"note": "x", corev1.LastAppliedConfigAnnotation: "{}"}
	ray.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	if _, err := strip(ray); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ray); diff != "" {
		t.Errorf("Ray (-want +got):\n%s", diff)
	}
}
