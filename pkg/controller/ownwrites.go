package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// ownWrites remembers which of a Ray's writes the caches do not show yet, deletions
// included. A sync that read such a cache would repeat work that is done, and call a state
// healthy that is past. The same goes for what was read from the server. It is an optimisation and a
// matter of truth in the status, not of safety: nothing is lost with it when the operator
// restarts.
//
// Kubernetes' own controllers do the same (pkg/controller/util/consistency).
type ownWrites struct {
	// store returns the cache of a resource in a namespace.
	store func(namespace, resource string) versionedStore

	mu      sync.Mutex
	pending map[cache.ObjectName]*pendingWrites
}

// pendingWrites are the writes for one Ray that the caches may not show yet.
type pendingWrites struct {
	// versions has, per resource, the newest resourceVersion that was written.
	versions map[string]string
	// deleted has the objects that were deleted. The server does not tell with which
	// resourceVersion, and one of the same name may follow.
	deleted map[deletedObject]types.UID
}

// deletedObject names an object in the namespace of its Ray.
type deletedObject struct{ resource, name string }

// versionedStore is a cache that tells up to which resourceVersion it has seen the server's
// history.
type versionedStore interface {
	LastStoreSyncResourceVersion() string
	GetByKey(key string) (item any, exists bool, err error)
}

func newOwnWrites(store func(namespace, resource string) versionedStore) *ownWrites {
	return &ownWrites{store: store, pending: map[cache.ObjectName]*pendingWrites{}}
}

// record notes that a write for a Ray gave an object of a resource a resourceVersion.
func (w *ownWrites) record(ray cache.ObjectName, resource, resourceVersion string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	versions := w.of(ray).versions
	if !newer(versions[resource], resourceVersion) {
		versions[resource] = resourceVersion
	}
}

// recordDeletion notes that an object of a resource, in the Ray's namespace, was deleted for it.
func (w *ownWrites) recordDeletion(ray cache.ObjectName, resource, name string, uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of(ray).deleted[deletedObject{resource, name}] = uid
}

// of returns the writes for a Ray, to be added to. The caller holds the lock.
func (w *ownWrites) of(ray cache.ObjectName) *pendingWrites {
	writes, found := w.pending[ray]
	if !found {
		writes = &pendingWrites{versions: map[string]string{}, deleted: map[deletedObject]types.UID{}}
		w.pending[ray] = writes
	}
	return writes
}

// visible tells whether the caches show all that was written for a Ray.
func (w *ownWrites) visible(ray cache.ObjectName) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	writes, found := w.pending[ray]
	if !found {
		return true
	}
	for resource, written := range writes.versions {
		if newer(written, w.store(ray.Namespace, resource).LastStoreSyncResourceVersion()) {
			return false
		}
	}
	for object, uid := range writes.deleted {
		if w.stillShows(ray.Namespace, object, uid) {
			return false
		}
	}
	delete(w.pending, ray)
	return true
}

// stillShows tells whether a cache has an object as if it had not been deleted.
func (w *ownWrites) stillShows(namespace string, object deletedObject, uid types.UID) bool {
	item, exists, err := w.store(namespace, object.resource).GetByKey(cache.NewObjectName(namespace, object.name).String())
	if err != nil || !exists {
		return false
	}
	shown, err := meta.Accessor(item)
	return err == nil && shown.GetUID() == uid && shown.GetDeletionTimestamp() == nil
}

// forget drops what is known of a Ray that is gone.
func (w *ownWrites) forget(ray cache.ObjectName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pending, ray)
}

// newer tells whether one resourceVersion is newer than another. One that cannot be
// compared is not: it must not hold up a Ray.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}
