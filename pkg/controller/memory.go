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
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// memory is what this process knows about the children of Rays beyond the caches. It only saves
// requests: without it, the API server is asked.
type memory struct {
	mu   sync.Mutex
	rays map[cache.ObjectName]*rayMemory
}

// rayMemory is what is known about the children of one Ray.
type rayMemory struct {
	uid types.UID
	// isNew is set if the watch showed the creation of the Ray, so that nobody created children yet.
	isNew bool
	// generation is the one for which deleted is known.
	generation int64
	// deleted has the names of children that the spec of this generation does not have, and that do
	// not exist.
	deleted sets.Set[string]
}

func newMemory() *memory { return &memory{rays: map[cache.ObjectName]*rayMemory{}} }

// sawCreation records that the watch showed the creation of a Ray.
func (m *memory) sawCreation(ray *rayv1.Ray) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(ray).isNew = true
}

// isNew returns whether no child of a Ray can exist, or can have been removed by its user.
func (m *memory) isNew(ray *rayv1.Ray) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return ray.Generation == 1 && m.of(ray).isNew
}

// sawSync records that a Ray was synced, so that it is no longer new.
func (m *memory) sawSync(ray *rayv1.Ray) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(ray).isNew = false
}

// sawDeleted records that a child which the Ray's spec does not have does not exist.
func (m *memory) sawDeleted(ray *rayv1.Ray, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	if known.generation != ray.Generation {
		known.generation, known.deleted = ray.Generation, sets.New[string]()
	}
	known.deleted.Insert(name)
}

// isDeleted returns whether a child which the Ray's spec does not have is known not to exist. A Ray of
// generation 1 never had another spec.
func (m *memory) isDeleted(ray *rayv1.Ray, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	return ray.Generation == 1 || known.generation == ray.Generation && known.deleted.Has(name)
}

// forget drops what is known of a Ray that no longer exists.
func (m *memory) forget(ray cache.ObjectName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rays, ray)
}

// of returns what is known of a Ray. The caller must hold the lock.
func (m *memory) of(ray *rayv1.Ray) *rayMemory {
	key := cache.MetaObjectToName(ray)
	known := m.rays[key]
	if known == nil || known.uid != ray.UID {
		known = &rayMemory{uid: ray.UID}
		m.rays[key] = known
	}
	return known
}
