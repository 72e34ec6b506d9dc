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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
)

// TestStripChildren has objects with the label by which children are watched, and various names and
// controllers.
func TestStripChildren(t *testing.T) {
	const (
		whole    = "whole"    // a child that updates are based on
		deleted  = "deleted"  // a child that is being deleted, and so is not updated
		identity = "identity" // an object that the operator does not control
	)
	owner := func(apiVersion, kind, name string) *metav1.OwnerReference {
		return &metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: "u", Controller: new(true)}
	}
	ray := owner("ray.kubeflow.org/v1", "Ray", "x")
	tests := []struct {
		name                        string
		object                      string
		owner                       *metav1.OwnerReference
		isDeleted                   bool
		wantService, wantDeployment string
	}{
		{"no controller", "x-head", nil, false, identity, identity},
		{"the head's name", "x-head", ray, false, whole, whole},
		{"the workers' name", "x-worker", ray, false, identity, whole},
		{"the name of a worker group", "x-worker-gpu", ray, false, identity, whole},
		{"the name of a worker group of another Ray", "y-worker-gpu", ray, false, identity, identity},
		{"a worker group that is being deleted", "x-worker-gpu", ray, true, identity, deleted},
		{"a Ray of another API version", "x-head", owner("ray.kubeflow.org/v2", "Ray", "x"), false, whole, whole},
		{"a Ray of another API group", "x-head", owner("example.com/v1", "Ray", "x"), false, identity, identity},
		{"another kind", "x-head", owner("ray.kubeflow.org/v1", "Y", "x"), false, identity, identity},
		{"owned, but not controlled, by a Ray", "x-head", &metav1.OwnerReference{APIVersion: "ray.kubeflow.org/v1", Kind: "Ray", Name: "x"}, false, identity, identity},
		{"the name of another Ray's child", "y-head", ray, false, identity, identity},
		{"a name that no child has", "x-head-2", ray, false, identity, identity},
		{"the Ray's name", "x", ray, false, identity, identity},
		{"a child that is being deleted", "x-head", ray, true, deleted, deleted},
		{"an object that is being deleted", "x-head", nil, true, identity, identity},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			full := metav1.ObjectMeta{
				Namespace: "a", Name: test.object, UID: "v", ResourceVersion: "1", Generation: 2,
				Labels: map[string]string{
					"ray.kubeflow.org/name": "x", "ray.kubeflow.org/role": "head", "app.kubernetes.io/managed-by": "ray-operator",
					"ray.kubeflow.org/other": "x", "team": "a",
				},
				Annotations:   map[string]string{"note": "x", rayv1.AnnotationLastApplied: "{}"},
				Finalizers:    []string{"example.com/x"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
			}
			part := metav1.ObjectMeta{
				Namespace: "a", Name: test.object, UID: "v", ResourceVersion: "1", Generation: 2,
				Labels: map[string]string{"ray.kubeflow.org/name": "x", "ray.kubeflow.org/role": "head"},
			}
			if test.isDeleted {
				full.DeletionTimestamp = new(metav1.Unix(1, 0))
				part.DeletionTimestamp = full.DeletionTimestamp
			}
			if test.owner != nil {
				full.OwnerReferences = []metav1.OwnerReference{{Kind: "Other"}, *test.owner}
			}
			if test.owner != nil && test.owner.Controller != nil {
				part.OwnerReferences = []metav1.OwnerReference{*test.owner}
			}
			deployment := &appsv1.Deployment{
				ObjectMeta: full, Status: appsv1.DeploymentStatus{Replicas: 1},
				Spec: appsv1.DeploymentSpec{Replicas: new(int32(1)), Paused: true, MinReadySeconds: 1},
			}
			service := &corev1.Service{ObjectMeta: full, Spec: corev1.ServiceSpec{Type: "x"}}
			full.ManagedFields = nil
			deployments := map[string]*appsv1.Deployment{
				whole:    {ObjectMeta: full, Spec: deployment.Spec, Status: deployment.Status},
				deleted:  {ObjectMeta: part, Spec: appsv1.DeploymentSpec{Replicas: new(int32(1)), Paused: true}, Status: deployment.Status},
				identity: {ObjectMeta: part},
			}
			services := map[string]*corev1.Service{
				whole:    {ObjectMeta: full, Spec: service.Spec},
				deleted:  {ObjectMeta: part},
				identity: {ObjectMeta: part},
			}
			for range 2 { // the informers may strip an object twice
				for _, o := range []object{deployment, service} {
					if _, err := strip(o); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(deployments[test.wantDeployment], deployment); diff != "" {
					t.Errorf("Deployment (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(services[test.wantService], service); diff != "" {
					t.Errorf("Service (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestStripOwner has a controller reference of a size that the API server accepts. What is left of it
// must still differ from those of Rays.
func TestStripOwner(t *testing.T) {
	long := strings.Repeat("é", 100_000)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Name:            "x-head",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: long, Kind: long, Name: long, UID: types.UID(long), Controller: new(true)}},
	}}
	if _, err := strip(service); err != nil {
		t.Fatal(err)
	}
	if size := service.Size(); size > 2000 {
		t.Errorf("the object still has %d bytes", size)
	}
	if owner := metav1.GetControllerOf(service); owner == nil || !strings.HasPrefix(long, owner.Name) {
		t.Errorf("the controller is %v", owner)
	}
}

// TestStripRay checks that the mark of a Ray that cannot be decoded stays.
func TestStripRay(t *testing.T) {
	ray := readSample(t)
	want := ray.DeepCopy()
	ray.Annotations = map[string]string{"note": "x", corev1.LastAppliedConfigAnnotation: "{}"}
	ray.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	undecodable := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"ray.kubeflow.org/(undecodable)": "x", "note": "x"}}}
	for _, ray := range []*rayv1.Ray{ray, undecodable} {
		if _, err := strip(ray); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, ray); diff != "" {
		t.Errorf("Ray (-want +got):\n%s", diff)
	}
	if reason, marked := rayclient.Undecodable(undecodable); reason != "x" || !marked || len(undecodable.Annotations) != 1 {
		t.Errorf("the annotations are %v", undecodable.Annotations)
	}
}
