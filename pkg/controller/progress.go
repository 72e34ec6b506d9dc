package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
)

const (
	// minStatusInterval is the time between two status writes that only tell of progress.
	// Since a status has whole seconds, it is up to a second shorter.
	minStatusInterval = 2 * time.Second
	// maxStatusInterval is the same where many Rays make progress at once.
	maxStatusInterval = 5 * time.Minute
	// progressPerSecond is how many status writes a second tell of progress, over all Rays.
	progressPerSecond = 1
)

// progress knows the Rays whose progress is held back. While one Ray starts, everybody wants
// to see how far it is. While a thousand do, each write delays what they wait for.
type progress struct {
	mu      sync.Mutex
	waiting sets.Set[cache.ObjectName]
}

func newProgress() *progress { return &progress{waiting: sets.New[cache.ObjectName]()} }

// hold notes that a Ray has progress to tell of, and returns the time that has to be between
// its status writes.
func (p *progress) hold(ray cache.ObjectName) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Insert(ray)
	turn := time.Duration(p.waiting.Len()) * time.Second / progressPerSecond
	return min(max(turn, minStatusInterval), maxStatusInterval)
}

// told notes that a Ray has nothing to tell.
func (p *progress) told(ray cache.ObjectName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Delete(ray)
}
