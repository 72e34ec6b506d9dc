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
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// FuzzRay decodes any bytes as a Ray from the API server, and renders the children and the status of it.
// hack/fuzz.sh runs it.
func FuzzRay(f *testing.F) {
	for _, pattern := range []string{"../../manifests/samples/*-*.yaml", "../resources/testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			// The API server sends JSON.
			if data, err = yaml.YAMLToJSON(data); err == nil {
				f.Add(data)
			}
		}
	}
	for _, seed := range malformedSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := decodeRay(data)
		if err != nil {
			return
		}
		switch object := object.(type) {
		case *rayv1.Ray:
			checkRay(t, object, data)
		case *rayv1.RayList:
			for i := range object.Items {
				checkRay(t, &object.Items[i], data)
			}
		}
	})
}

var malformedSeeds = []string{
	`{"metadata":{"name":"a","namespace":"b","uid":"c","generation":2},"spec":{"head":{"replicas":"two"}}}`,
	`{"metadata":{"name":"a"},"spec":{"head":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}}},"status":[]}`,
	`{"metadata":{"name":"a"},"spec":{"head":[{}],"worker":null},"status":{"conditions":[{"type":"Health","status":"Maybe"},{"type":"Health"}]}}`,
	`{"metadata":{"name":"-head"},"spec":{"head":{"replicas":-1,"template":{"metadata":{"creationTimestamp":"2026-01-02T03:04:05.6Z","labels":{"a":""},"annotations":{}},"spec":{"containers":[{"name":"h","ports":[{"containerPort":99999999},{"name":"gcs","containerPort":-1,"protocol":"X"}],"env":[{"name":"RAY_NODE_IP"},{"name":"a"},{"name":"a"}],"livenessProbe":{"httpGet":{"port":"http"}}},{"name":"h"}],"volumes":[{"name":"v","emptyDir":{}},{"name":"v"}],"securityContext":{},"tolerations":[{}]}}}}}`,
	`{"metadata":{"name":"a"},"spec":{"head":{"template":{"spec":{"containers":[{"args":["1e999"],"resources":{"limits":{"cpu":"-17E777777777777777777"},"requests":{"cpu":1e-99999999999}}}]}}}}}`,
	`{"kind":"RayList","items":[{"spec":7,"status":{"worker":{"replicas":3}}},{"spec":{"head":{}}}]}`,
}

// checkRay checks a child or the status of a Ray. A hash of the bytes that it was decoded from determines
// which: if all were checked, only a fifth of the inputs could run in the same time.
func checkRay(t *testing.T, ray *rayv1.Ray, data []byte) {
	ray.Generation = max(ray.Generation, 1) // as the API server sets it
	before := ray.DeepCopy()
	part := crc32.ChecksumIEEE(data) % 4
	reason, undecodable := rayclient.Undecodable(ray)
	switch {
	case undecodable:
		checkStatus(t, ray, &observation{rayErr: unreadable(reason)})
	case part == 0:
		service := newService(ray)
		checkChild(t, ray, service, newService(ray))
		checkDesired(t, service, func(observed *corev1.Service, recorded *lastApplied) (*corev1.Service, []string) {
			return desiredService(ray, observed, recorded, false)
		})
	case part == 1:
		checkStatus(t, ray, observe(ray, string(data[:min(len(data), 100)])))
	default:
		groups := resources.Groups(ray)
		group := groups[int(part)%len(groups)]
		deployment := newDeployment(ray, group)
		checkChild(t, ray, deployment, newDeployment(ray, group))
		checkDesired(t, deployment, func(observed *appsv1.Deployment, recorded *lastApplied) (*appsv1.Deployment, []string) {
			return desiredDeployment(ray, group, observed, recorded, templateRollout{})
		})
	}
	if !reflect.DeepEqual(before, ray) {
		t.Errorf("the Ray was changed\nfrom %v\nto   %v", before, ray)
	}
}

// observe returns a possible observation of the children of a Ray. The message is that of an error and of
// a condition.
func observe(ray *rayv1.Ray, message string) *observation {
	observed := &observation{serviceErr: failed(reasonFailedCreate, "Service", resources.ServiceName(ray), errors.New(message))}
	for _, group := range resources.Groups(ray) {
		deployment := resources.NewDeployment(ray, group)
		deployment.Status.ObservedGeneration = 1
		deployment.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: message}}
		observed.groups = append(observed.groups, groupObservation{name: group.Name, role: group.Role, desired: new(group.Replicas), deployment: deployment})
	}
	for _, group := range resources.RemovedGroups(ray, nil, nil) {
		observed.groups = append(observed.groups, groupObservation{name: group.Name, role: group.Role})
	}
	return observed
}

// checkChild checks a rendered child, and that it equals one that was rendered again.
func checkChild(t *testing.T, ray *rayv1.Ray, child, again metav1.Object) {
	if !reflect.DeepEqual(child, again) {
		t.Errorf("two renderings differ:\n%v\n%v", child, again)
	}
	want := []metav1.OwnerReference{{
		APIVersion: "ray.kubeflow.org/v1", Kind: "Ray", Name: ray.Name, UID: ray.UID,
		Controller: new(true), BlockOwnerDeletion: new(true),
	}}
	if !reflect.DeepEqual(child.GetOwnerReferences(), want) || child.GetNamespace() != ray.Namespace {
		t.Errorf("%s/%s has the wrong namespace or owner references %v", child.GetNamespace(), child.GetName(), child.GetOwnerReferences())
	}
	if !slices.Contains(resources.ChildNames(ray), child.GetName()) {
		t.Errorf("a change of %s would not enqueue the Ray", child.GetName())
	}
}

// checkDesired checks that a child that was just created is not updated, and that one that another client
// has annotated or emptied is updated at most once.
func checkDesired[T object](t *testing.T, rendered T, desired func(T, *lastApplied) (T, []string)) {
	compare := func(child T) (T, []string) {
		recorded := readLastApplied(child)
		return desired(child, &recorded)
	}
	created := storedAs(t, rendered, rendered)
	if _, diff := compare(created); len(diff) > 0 {
		t.Errorf("%v differ right after the creation:\n%v", diff, created)
	}
	annotated := clone(created)
	annotated.SetGeneration(created.GetGeneration() + 1)
	emptied := newObject(idOf(rendered).resource).(T) //nolint:errcheck,forcetypeassert // of the same resource
	emptied.SetGeneration(1)
	for _, observed := range []T{annotated, emptied} {
		next, diff := compare(observed)
		if len(diff) == 0 {
			continue
		}
		next = storedAs(t, observed, next)
		if _, diff := compare(next); len(diff) > 0 {
			t.Errorf("%v differ again after an update:\n%v", diff, next)
		}
	}
}

// storedAs returns a child as the API server stores it.
func storedAs[T object](t *testing.T, old, next T) T {
	data, err := json.Marshal(next)
	if err != nil {
		t.Fatalf("encoding %v: %v", next, err)
	}
	result := newObject(idOf(next).resource).(T) //nolint:errcheck,forcetypeassert // of the same resource
	if err := json.Unmarshal(data, result); err != nil {
		t.Fatalf("decoding %s: %v", data, err)
	}
	if idOf(next).resource == deploymentResource {
		result.SetGeneration(old.GetGeneration() + 1)
	}
	return result
}

// checkStatus checks the status of a Ray, and that it does not change if nothing else does.
func checkStatus(t *testing.T, ray *rayv1.Ray, observed *observation) {
	status := newStatus(ray, observed, earlier)
	seen := sets.New[rayv1.RayConditionType]()
	for _, condition := range status.Conditions {
		switch {
		case seen.Has(condition.Type):
			t.Errorf("the condition %s exists twice", condition.Type)
		case condition.Status != corev1.ConditionTrue && condition.Status != corev1.ConditionFalse && condition.Status != corev1.ConditionUnknown:
			t.Errorf("the condition %s has the status %q", condition.Type, condition.Status)
		case len(condition.Message) > 4*maxMessage || !utf8.ValidString(condition.Message):
			t.Errorf("the condition %s has the message %q, which is too long or not UTF-8", condition.Type, condition.Message)
		case condition.LastTransitionTime.IsZero() && condition.LastUpdateTime.IsZero():
			t.Errorf("the condition %s has no times", condition.Type)
		}
		seen.Insert(condition.Type)
	}
	if !seen.Has(rayv1.RayHealth) || status.ObservedGeneration != ray.Generation {
		t.Errorf("the status has no condition Health or not the generation %d: %v", ray.Generation, status)
	}

	data, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	next := &rayv1.Ray{ObjectMeta: ray.ObjectMeta, Spec: ray.Spec}
	if err := json.Unmarshal(data, &next.Status); err != nil {
		t.Fatal(err)
	}
	if again := newStatus(next, observed, later); !reflect.DeepEqual(next.Status, again) {
		t.Errorf("the status changes though nothing else does:\n%v\n%v", next.Status, again)
	}
}
