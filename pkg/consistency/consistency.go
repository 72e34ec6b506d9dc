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

// Package consistency ensures that a controller reads its own writes: after a write the cache is
// stale for some milliseconds. A sync that reads a stale cache would repeat the write, and would
// compute a status from a state that is over.
//
// It does what k8s.io/kubernetes/pkg/controller/util/consistency does for Kubernetes' own
// controllers, and also covers deletions. It is an optimization and keeps statuses true; nothing
// depends on it for safety, so it need not survive a restart.
package consistency

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// Reader is a cache that knows up to which resourceVersion it has observed the API server.
type Reader interface {
	LastStoreSyncResourceVersion() string
	GetByKey(key string) (item any, exists bool, err error)
}

// Store records, per owner, what was written and may be missing in the caches.
type Store struct {
	// reader returns the cache of a resource in a namespace.
	reader func(namespace, resource string) Reader

	mu     sync.Mutex
	writes map[cache.ObjectName]*writes
}

// writes are the writes for one owner.
type writes struct {
	// versions has the newest resourceVersion that was written, by resource.
	versions map[string]string
	// deleted has the objects that were deleted. The API server does not return the
	// resourceVersion of a deletion.
	deleted map[objectKey]types.UID
}

// objectKey identifies an object in the namespace of its owner.
type objectKey struct{ resource, name string }

// New returns a Store that compares with the caches that reader returns.
func New(reader func(namespace, resource string) Reader) *Store {
	return &Store{reader: reader, writes: map[cache.ObjectName]*writes{}}
}

// WroteAt records the resourceVersion that a write for an owner resulted in. What was read from the
// API server instead of the cache may be recorded as well.
func (s *Store) WroteAt(owner cache.ObjectName, resource, resourceVersion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.of(owner).versions
	if !newer(versions[resource], resourceVersion) {
		versions[resource] = resourceVersion
	}
}

// Deleted records that an object in the owner's namespace was deleted for the owner.
func (s *Store) Deleted(owner cache.ObjectName, resource, name string, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(owner).deleted[objectKey{resource, name}] = uid
}

// EnsureReady returns an error if a cache is older than what was recorded for an owner.
func (s *Store) EnsureReady(owner cache.ObjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	recorded, found := s.writes[owner]
	if !found {
		return nil
	}
	for resource, written := range recorded.versions {
		if read := s.reader(owner.Namespace, resource).LastStoreSyncResourceVersion(); newer(written, read) {
			return fmt.Errorf("the cache of %s is at resourceVersion %s, older than %s", resource, read, written)
		}
	}
	for object, uid := range recorded.deleted {
		if s.shows(owner.Namespace, object, uid) {
			return fmt.Errorf("the cache of %s still has %q, which was deleted", object.resource, object.name)
		}
	}
	delete(s.writes, owner)
	return nil
}

// Clear drops what was recorded for an owner.
func (s *Store) Clear(owner cache.ObjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writes, owner)
}

// of returns the writes for an owner. The caller must hold the lock.
func (s *Store) of(owner cache.ObjectName) *writes {
	recorded, found := s.writes[owner]
	if !found {
		recorded = &writes{versions: map[string]string{}, deleted: map[objectKey]types.UID{}}
		s.writes[owner] = recorded
	}
	return recorded
}

// shows returns whether a cache has an object without a sign of its deletion.
func (s *Store) shows(namespace string, object objectKey, uid types.UID) bool {
	item, exists, err := s.reader(namespace, object.resource).GetByKey(cache.NewObjectName(namespace, object.name).String())
	if err != nil || !exists {
		return false
	}
	cached, err := meta.Accessor(item)
	return err == nil && cached.GetUID() == uid && cached.GetDeletionTimestamp() == nil
}

// newer returns whether resourceVersion a is newer than b. A version that cannot be compared is not
// newer, so that it cannot block its owner.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}
