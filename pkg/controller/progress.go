package controller

import (
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

const (
	// minStatusInterval is the time between two status writes that only tell of progress.
	// Since a status has whole seconds, it is up to a second shorter.
	minStatusInterval = 2 * time.Second
	// progressInterval is the time between two such writes over all Rays.
	progressInterval = time.Second
	// maxProgressDelay is how long progress waits at most, however many Rays make it.
	maxProgressDelay = 5 * time.Minute
)

// progress knows the Rays whose progress is held back. While one Ray starts, everybody wants
// to see how far it is. While a thousand do, each write delays what they wait for.
type progress struct {
	mu sync.Mutex
	// waiting has since when each Ray has progress to tell.
	waiting map[cache.ObjectName]time.Time
	// next is when the next Ray may tell.
	next time.Time
}

func newProgress() *progress { return &progress{waiting: map[cache.ObjectName]time.Time{}} }

// turn returns after how long a Ray may ask again to tell its progress, or 0 if it may tell now.
// Due is how long it has to wait for its own sake.
func (p *progress) turn(ray cache.ObjectName, now time.Time, due time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, found := p.waiting[ray]
	if !found {
		since = now
		p.waiting[ray] = now
	}
	if due <= 0 && (!now.Before(p.next) || now.Sub(since) >= maxProgressDelay) {
		p.next = now.Add(progressInterval)
		return 0
	}
	return max(due, min(time.Duration(len(p.waiting))*progressInterval, maxProgressDelay))
}

// told notes that a Ray has nothing to tell.
func (p *progress) told(ray cache.ObjectName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, ray)
}
