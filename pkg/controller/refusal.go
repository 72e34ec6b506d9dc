package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// refusalTime is how long no status of a Ray is tried after the API server has refused one as
// invalid, unless the Ray changes.
const refusalTime = 5 * time.Minute

// refusals remembers the Rays of which the API server accepts no status. Either the Ray was
// stored under another schema, of which rules fail on its spec now; then that is so until it
// changes. Or admission wants no status at this time.
type refusals struct {
	mu    sync.Mutex
	byRay map[cache.ObjectName]*refusal
}

// refusal is what is remembered of one Ray, of which one sync runs at a time.
type refusal struct {
	// resourceVersion is the Ray's.
	resourceVersion string
	until           time.Time
	// told are the subjects of the problems that events have told, in place of a status.
	told sets.Set[string]
}

func newRefusals() *refusals { return &refusals{byRay: map[cache.ObjectName]*refusal{}} }

// of returns the refusal that holds for a Ray now, or nil.
func (r *refusals) of(ray *rayv1.Ray, now time.Time) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.byRay[cache.MetaObjectToName(ray)]
	if last == nil || last.resourceVersion != ray.ResourceVersion || !now.Before(last.until) {
		return nil
	}
	return last
}

// record notes that the API server has refused a status of the Ray just now.
func (r *refusals) record(ray *rayv1.Ray, now time.Time) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &refusal{resourceVersion: ray.ResourceVersion, until: now.Add(refusalTime), told: sets.New[string]()}
	if last := r.byRay[cache.MetaObjectToName(ray)]; last != nil && last.resourceVersion == next.resourceVersion {
		next.told = last.told
	}
	r.byRay[cache.MetaObjectToName(ray)] = next
	return next
}

// forget drops what is known of a Ray that is gone, or of which a status was accepted.
func (r *refusals) forget(ray cache.ObjectName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byRay, ray)
}

// untold returns those problems that were not told yet, which they are then.
func (r *refusal) untold(problems []error) []error {
	var news []error
	for _, err := range problems {
		if about := subject(err); !r.told.Has(about) {
			r.told.Insert(about)
			news = append(news, err)
		}
	}
	return news
}
