package controller

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// ownWrites remembers which of a Ray's writes the caches do not show yet. A sync that
// read such a cache would repeat work that is done, and call a state healthy that is
// past. It is an optimisation and a matter of truth in the status, not of safety:
// nothing is lost with it when the operator restarts.
//
// Kubernetes' own controllers do the same (pkg/controller/util/consistency).
type ownWrites struct {
	stores map[string]versionedStore

	mu   sync.Mutex
	rays map[cache.ObjectName]*rayWrites
}

// rayWrites is what ownWrites remembers of one Ray.
type rayWrites struct {
	// pending has, per resource, the newest resourceVersion that was written.
	pending map[string]string
	// futile has, per child, the resourceVersion at which admission undid an update as a
	// whole. Until the child changes, the same update would be undone again.
	futile map[types.UID]string
}

// versionedStore tells up to which resourceVersion a cache has seen the server's history.
type versionedStore interface {
	LastStoreSyncResourceVersion() string
}

func newOwnWrites(stores map[string]versionedStore) *ownWrites {
	return &ownWrites{stores: stores, rays: map[cache.ObjectName]*rayWrites{}}
}

// record notes that a write for a Ray gave an object of a resource a resourceVersion.
func (w *ownWrites) record(ray cache.ObjectName, resource, resourceVersion string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pending := w.of(ray).pending; !newer(pending[resource], resourceVersion) {
		pending[resource] = resourceVersion
	}
}

// visible tells whether the caches show all that was written for a Ray.
func (w *ownWrites) visible(ray cache.ObjectName) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, found := w.rays[ray]
	if !found {
		return true
	}
	for resource, written := range known.pending {
		if newer(written, w.stores[resource].LastStoreSyncResourceVersion()) {
			return false
		}
	}
	clear(known.pending)
	if len(known.futile) == 0 {
		delete(w.rays, ray)
	}
	return true
}

// recordFutile notes that admission undid an update of a Ray's child as a whole.
func (w *ownWrites) recordFutile(ray cache.ObjectName, child metav1.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of(ray).futile[child.GetUID()] = child.GetResourceVersion()
}

// isFutile tells whether an update of a child, as it is, is known to be undone.
func (w *ownWrites) isFutile(ray cache.ObjectName, child metav1.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, found := w.rays[ray]
	return found && known.futile[child.GetUID()] == child.GetResourceVersion()
}

// forget drops what is known of a Ray that is gone.
func (w *ownWrites) forget(ray cache.ObjectName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rays, ray)
}

// of returns what is remembered of a Ray. The caller holds the lock.
func (w *ownWrites) of(ray cache.ObjectName) *rayWrites {
	known, found := w.rays[ray]
	if !found {
		known = &rayWrites{pending: map[string]string{}, futile: map[types.UID]string{}}
		w.rays[ray] = known
	}
	return known
}

// newer tells whether one resourceVersion is newer than another. One that cannot be
// compared is not: it must not hold up a Ray.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}
