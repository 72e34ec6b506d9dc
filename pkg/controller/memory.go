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
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// memory is what this process knows about the children of Rays beyond the caches. Losing it in a restart costs
// requests, and begins waiting times anew: no write depends on it that the API server does not check.
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
	// groups has the names of the worker groups that the spec has, or had and that may have a child.
	groups sets.Set[string]
	// conflicts is the number of syncs in a row that ended with a conflict.
	conflicts int
	// head is the hash of the head's inputs that workers wait for, and awaited is since when.
	head    string
	awaited time.Time
	// contentions has the children that other clients change.
	contentions map[childKey]*contention
}

// childKey identifies a child of a Ray.
type childKey struct{ resource, name string }

const (
	// maxConflicts is the number of syncs in a row with a conflict after which it may have another cause
	// than a stale cache. With the backoff of a stale cache this takes about ten seconds.
	maxConflicts = 16

	// maxHeadWait is for how long workers wait for the head, as long as the progress deadline of a
	// Deployment.
	maxHeadWait = 10 * time.Minute

	// maxReverts is the number of external changes in a row that are reverted at once. Each further one
	// is reverted minRevertDelay after the last, which doubles up to maxRevertDelay.
	maxReverts     = 3
	minRevertDelay = time.Second
	maxRevertDelay = 8 * time.Second
	// contentionTimeout is the time without an external change after which a contention has ended. It
	// exceeds the interval at which a HorizontalPodAutoscaler acts, 15 s.
	contentionTimeout = 20 * time.Second
)

// contention is what is known of external changes to a child that follow each other.
type contention struct {
	// version is that of the child with the last change, parts are what differed, and changed is when
	// it was noticed.
	version string
	parts   []string
	changed time.Time
	// reverts is the number of reverts, and next is when the next one is allowed.
	reverts int
	next    time.Time
	// persists is set if there was a change after maxReverts.
	persists bool
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

// sawGroups records the worker groups of a Ray, and returns the names of all that may have a child, in a stable
// order.
func (m *memory) sawGroups(ray *rayv1.Ray) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	if known.groups == nil && len(ray.Spec.WorkerGroups) == 0 {
		return nil
	}
	if known.groups == nil {
		known.groups = sets.New[string]()
	}
	for i := range ray.Spec.WorkerGroups {
		known.groups.Insert(ray.Spec.WorkerGroups[i].Name)
	}
	return sets.List(known.groups)
}

// forgetGroup forgets a worker group that the spec does not have, and that has no child.
func (m *memory) forgetGroup(ray *rayv1.Ray, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(ray).groups.Delete(name)
}

// sawConflict records whether a sync ended with a conflict.
func (m *memory) sawConflict(ray *rayv1.Ray, conflict bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	if conflict {
		known.conflicts++
	} else {
		known.conflicts = 0
	}
}

// hasConflicts returns whether many syncs in a row ended with a conflict.
func (m *memory) hasConflicts(ray *rayv1.Ray) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(ray).conflicts >= maxConflicts
}

// sawHead records that workers do not wait for Pods of the head.
func (m *memory) sawHead(ray *rayv1.Ray) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(ray).head = ""
}

// awaitHead returns for how long workers still have to wait for a head with these inputs, or 0.
func (m *memory) awaitHead(ray *rayv1.Ray, inputs string, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	if known.head != inputs {
		known.head, known.awaited = inputs, now
	}
	return max(maxHeadWait-now.Sub(known.awaited), 0)
}

// sawExternalChange records that another client changed parts of a child, and returns how long to wait
// until that is reverted, or 0.
func (m *memory) sawExternalChange(ray *rayv1.Ray, child childKey, version string, parts []string, now time.Time) (wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	c := known.contentions[child]
	if c == nil || now.Sub(c.changed) >= contentionTimeout {
		c = &contention{}
		if known.contentions == nil {
			known.contentions = map[childKey]*contention{}
		}
		known.contentions[child] = c
	}
	if c.version != version {
		c.version, c.parts, c.changed = version, parts, now
		c.persists = c.persists || c.reverts >= maxReverts
	}
	return max(c.next.Sub(now), 0)
}

// sawRevert records that a change by another client was reverted.
func (m *memory) sawRevert(ray *rayv1.Ray, child childKey, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.of(ray).contentions[child]
	if c == nil {
		return
	}
	c.reverts++
	if c.reverts >= maxReverts {
		c.next = now.Add(min(minRevertDelay<<min(c.reverts-maxReverts, 8), maxRevertDelay))
	}
}

// contention returns which parts of a child another client changes again and again, and for how long
// that is to be reported if there is no further change, or 0 if it is not.
func (m *memory) contention(ray *rayv1.Ray, child childKey, now time.Time) (parts []string, remaining time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.of(ray)
	c := known.contentions[child]
	if c == nil {
		return nil, 0
	}
	if remaining = contentionTimeout - now.Sub(c.changed); remaining <= 0 {
		delete(known.contentions, child)
		return nil, 0
	}
	if !c.persists {
		return nil, 0
	}
	return c.parts, remaining
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
