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
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// The functions in this file are the writes of other clients: users, the Deployment controller and the
// garbage collector. The fake server neither records nor rejects them.

// put creates an object.
func (f *fixture) put(o object) {
	f.t.Helper()
	id := idOf(o)
	if _, err := f.server.create(id, clone(o)); err != nil {
		f.t.Fatalf("creating %v: %v", id, err)
	}
}

// edit updates an object, which must exist.
func edit[T object](f *fixture, subresource string, o T, change func(T)) {
	f.t.Helper()
	change(o)
	id := idOf(o)
	if _, err := f.server.update(id, o, subresource); err != nil {
		f.t.Fatalf("editing %v: %v", id, err)
	}
}

// drop deletes an object as kubectl does.
func (f *fixture) drop(resource, name string) {
	f.t.Helper()
	id := objectID{resource, namespace, name}
	if _, err := f.server.delete(id, &metav1.DeleteOptions{}); err != nil {
		f.t.Fatalf("deleting %v: %v", id, err)
	}
}

func (f *fixture) editRay(change func(*rayv1.Ray)) {
	f.t.Helper()
	edit(f, "", f.ray(), change)
}

func (f *fixture) editService(change func(*corev1.Service)) {
	f.t.Helper()
	edit(f, "", f.service(), change)
}

func (f *fixture) editDeployment(role rayv1.Role, change func(*appsv1.Deployment)) {
	f.t.Helper()
	edit(f, "", f.deployment(role), change)
}

func (f *fixture) editDeploymentStatus(role rayv1.Role, change func(*appsv1.Deployment)) {
	f.t.Helper()
	edit(f, "status", f.deployment(role), change)
}

// ray, service and deployment return a copy of the stored object, or nil.

func (f *fixture) ray() *rayv1.Ray { return get[*rayv1.Ray](f, rayResource, rayName) }

func (f *fixture) service() *corev1.Service {
	return get[*corev1.Service](f, serviceResource, serviceKey)
}

func (f *fixture) deployment(role rayv1.Role) *appsv1.Deployment {
	return get[*appsv1.Deployment](f, deploymentResource, deploymentName(role))
}

func get[T object](f *fixture, resource, name string) T {
	found, ok := f.server.objects[objectID{resource, namespace, name}].(T)
	if !ok {
		return found
	}
	return clone(found)
}

// childSet has the children of the sample.
type childSet struct {
	Service      *corev1.Service
	Head, Worker *appsv1.Deployment
}

// children returns the children without their status and the fields that every write changes.
func (f *fixture) children() childSet {
	found := childSet{Service: f.service(), Head: f.deployment(rayv1.RoleHead), Worker: f.deployment(rayv1.RoleWorker)}
	if found.Service != nil {
		found.Service.ObjectMeta = withoutRecords(found.Service.ObjectMeta)
	}
	for _, deployment := range []*appsv1.Deployment{found.Head, found.Worker} {
		if deployment != nil {
			deployment.ObjectMeta = withoutRecords(deployment.ObjectMeta)
			deployment.Status = appsv1.DeploymentStatus{}
		}
	}
	return found
}

// withoutRecords returns metadata without the fields that every write changes.
func withoutRecords(meta metav1.ObjectMeta) metav1.ObjectMeta {
	meta.UID, meta.ResourceVersion, meta.Generation = "", "", 0
	for _, key := range []string{rayv1.AnnotationLastApplied, "deployment.kubernetes.io/revision"} {
		delete(meta.Annotations, key)
	}
	return meta
}

// editLastApplied changes the record of a child.
func editLastApplied(child metav1.Object, change func(*lastApplied)) {
	recorded := readLastApplied(child)
	change(&recorded)
	recorded.writeTo(child)
}

// groupOf returns the group of a Ray with a role. The group must exist.
func groupOf(ray *rayv1.Ray, role rayv1.Role) resources.Group {
	for _, group := range resources.Groups(ray) {
		if group.Role == role {
			return group
		}
	}
	panic("the Ray has no group with the role " + role)
}

// rayGeneration returns the generation of the Ray that a child was last written for.
func rayGeneration(child metav1.Object) int64 {
	recorded := readLastApplied(child)
	return recorded.RayGeneration
}

// isRecordValid returns whether the record of a child is valid for a Ray.
func isRecordValid(ray *rayv1.Ray, child metav1.Object) bool {
	recorded := readLastApplied(child)
	return recorded.isValid(ray)
}
