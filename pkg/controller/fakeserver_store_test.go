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
	"errors"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// complete applies defaults and admission to an object.
func (s *fakeServer) complete(next object) {
	setDefaults(next)
	if s.admit != nil {
		s.admit(next)
	}
}

// store stores an object. The caller must not change it afterwards.
func (s *fakeServer) store(id objectID, next object) object {
	s.revision++
	next.SetResourceVersion(strconv.FormatInt(s.revision, 10))
	s.objects[id] = next
	s.history = append(s.history, watchEvent{resource: id.resource, object: next})
	return next
}

func (s *fakeServer) remove(id objectID, last object) object {
	s.store(id, last)
	delete(s.objects, id)
	s.history[len(s.history)-1].deleted = true
	return last
}

// incrementsGeneration returns whether an update increments metadata.generation, as on a real API
// server. A changed annotation of a Deployment does, since its ReplicaSets get it too.
func incrementsGeneration(old, next object) bool {
	switch old.(type) {
	case *corev1.Service:
		return false
	case *appsv1.Deployment:
		if !equality.Semantic.DeepEqual(old.GetAnnotations(), next.GetAnnotations()) {
			return true
		}
	}
	return !equality.Semantic.DeepEqual(field(old, "Spec").Interface(), field(next, "Spec").Interface())
}

// withStatus returns an object with another status. A status update of a Deployment may also change
// annotations: the Deployment controller sets the revision in this way.
func withStatus(old, status object) object {
	next := clone(old)
	field(next, "Status").Set(field(status, "Status"))
	if _, ok := old.(*appsv1.Deployment); ok {
		next.SetAnnotations(status.GetAnnotations())
	}
	return next
}

// selector returns the selector of a Deployment, which is immutable.
func selector(o object) *metav1.LabelSelector {
	if deployment, ok := o.(*appsv1.Deployment); ok {
		return deployment.Spec.Selector
	}
	return nil
}

func groupResource(id objectID) schema.GroupResource {
	return schema.GroupResource{Resource: id.resource}
}

func notFound(id objectID) *apierrors.StatusError {
	return apierrors.NewNotFound(groupResource(id), id.name)
}

func conflict(id objectID, why string) *apierrors.StatusError {
	return apierrors.NewConflict(groupResource(id), id.name, errors.New(why))
}
