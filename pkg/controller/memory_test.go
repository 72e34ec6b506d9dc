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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestMemory(t *testing.T) {
	ray := func(uid types.UID, generation int64) *rayv1.Ray {
		return &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: uid, Generation: generation}}
	}
	other := ray("1", 1)
	other.Name = "other"
	const worker = "sample-cluster-worker"
	tests := []struct {
		name                   string
		steps                  func(*memory)
		ray                    *rayv1.Ray
		wantNew, wantIsDeleted bool
	}{
		{"an unknown Ray is not new", func(*memory) {}, ray("1", 1), false, true},
		{"a Ray is new if the watch showed its creation", func(m *memory) { m.sawCreation(ray("1", 1)) }, ray("1", 1), true, true},
		{"a Ray with a second generation is not new", func(m *memory) { m.sawCreation(ray("1", 1)) }, ray("1", 2), false, false},
		{"a synced Ray is not new", func(m *memory) {
			m.sawCreation(ray("1", 1))
			m.sawSync(ray("1", 1))
		}, ray("1", 1), false, true},
		{"a Ray is not new if the watch showed the creation of another Ray", func(m *memory) { m.sawCreation(other) }, ray("1", 1), false, true},
		{"a Ray is not new if the watch showed the creation of a Ray with another UID", func(m *memory) { m.sawCreation(ray("1", 1)) }, ray("2", 1), false, true},
		{"a Ray is new if it replaces a synced Ray with the same name", func(m *memory) {
			m.sawCreation(ray("1", 1))
			m.sawSync(ray("1", 1))
			m.sawCreation(ray("2", 1))
		}, ray("2", 1), true, true},
		{"a Ray that was forgotten is not new", func(m *memory) {
			m.sawCreation(ray("1", 1))
			m.forget(sampleKey)
		}, ray("1", 1), false, true},
		{"a Ray is new if another Ray was forgotten", func(m *memory) {
			m.sawCreation(other)
			m.sawCreation(ray("1", 1))
			m.forget(sampleKey)
		}, other, true, true},

		{"nothing is known about workers of a second generation", func(*memory) {}, ray("1", 2), false, false},
		{"workers are known to be deleted", func(m *memory) { m.sawDeleted(ray("1", 2), worker) }, ray("1", 2), false, true},
		{"workers are not known to be deleted if another child is", func(m *memory) { m.sawDeleted(ray("1", 2), "sample-cluster-head") }, ray("1", 2), false, false},
		{"workers are known to be deleted with another child", func(m *memory) {
			m.sawDeleted(ray("1", 2), worker)
			m.sawDeleted(ray("1", 2), "sample-cluster-head")
		}, ray("1", 2), false, true},
		{"workers of a newer generation are not known to be deleted", func(m *memory) { m.sawDeleted(ray("1", 2), worker) }, ray("1", 3), false, false},
		{"workers of a newer generation are not known to be deleted if another child is", func(m *memory) {
			m.sawDeleted(ray("1", 2), worker)
			m.sawDeleted(ray("1", 3), "sample-cluster-head")
		}, ray("1", 3), false, false},
		{"workers of a newer generation are known to be deleted", func(m *memory) {
			m.sawDeleted(ray("1", 2), "sample-cluster-head")
			m.sawDeleted(ray("1", 3), worker)
		}, ray("1", 3), false, true},
		{"workers of a Ray with another UID are not known to be deleted", func(m *memory) { m.sawDeleted(ray("1", 2), worker) }, ray("2", 2), false, false},
		{"workers are known to be deleted after a sync", func(m *memory) {
			m.sawDeleted(ray("1", 2), worker)
			m.sawSync(ray("1", 2))
		}, ray("1", 2), false, true},
		{"workers of a Ray that was forgotten are not known to be deleted", func(m *memory) {
			m.sawDeleted(ray("1", 2), worker)
			m.forget(sampleKey)
		}, ray("1", 2), false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMemory()
			test.steps(m)
			if got := m.isNew(test.ray); got != test.wantNew {
				t.Errorf("isNew is %t, want %t", got, test.wantNew)
			}
			if got := m.isDeleted(test.ray, worker); got != test.wantIsDeleted {
				t.Errorf("isDeleted is %t, want %t", got, test.wantIsDeleted)
			}
		})
	}
}
