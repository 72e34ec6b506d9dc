package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
)

// ownWrites remembers which of a Ray's writes the caches do not show yet. A sync that
// read such a cache would repeat work that is done, and call a state healthy that is
// past. The same goes for what was read from the server. It is an optimisation and a
// matter of truth in the status, not of safety: nothing is lost with it when the operator
// restarts.
//
// Kubernetes' own controllers do the same (pkg/controller/util/consistency).
type ownWrites struct {
	// store returns the cache of a resource in a namespace.
	store func(namespace, resource string) versionedStore

	mu sync.Mutex
	// pending has, per Ray and resource, the newest resourceVersion that was written.
	pending map[cache.ObjectName]map[string]string
}

// versionedStore tells up to which resourceVersion a cache has seen the server's history.
type versionedStore interface {
	LastStoreSyncResourceVersion() string
}

func newOwnWrites(store func(namespace, resource string) versionedStore) *ownWrites {
	return &ownWrites{store: store, pending: map[cache.ObjectName]map[string]string{}}
}

// record notes that a write for a Ray gave an object of a resource a resourceVersion.
func (w *ownWrites) record(ray cache.ObjectName, resource, resourceVersion string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	versions, found := w.pending[ray]
	if !found {
		versions = map[string]string{}
		w.pending[ray] = versions
	}
	if !newer(versions[resource], resourceVersion) {
		versions[resource] = resourceVersion
	}
}

// visible tells whether the caches show all that was written for a Ray.
func (w *ownWrites) visible(ray cache.ObjectName) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for resource, written := range w.pending[ray] {
		if newer(written, w.store(ray.Namespace, resource).LastStoreSyncResourceVersion()) {
			return false
		}
	}
	delete(w.pending, ray)
	return true
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
