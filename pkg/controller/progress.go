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
	// turns has when each Ray that waits may tell.
	turns map[cache.ObjectName]time.Time
	// last is when a Ray last told.
	last time.Time
}

func newProgress() *progress { return &progress{turns: map[cache.ObjectName]time.Time{}} }

// turn returns after how long a Ray may ask again to tell its progress, or 0 if it may tell now.
// Due is how long it has to wait for its own sake.
func (p *progress) turn(ray cache.ObjectName, now time.Time, due time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := now.Add(maxProgressDelay)
	if p.last.After(now) {
		p.last = now // the clock was put back
	}
	turn, waits := p.turns[ray]
	if !waits {
		// After those that wait already.
		turn = p.last.Add(progressInterval)
		if turn.Before(now) {
			turn = now
		}
		turn = turn.Add(time.Duration(len(p.turns)) * progressInterval)
	}
	if turn.After(latest) {
		turn = latest
	}
	p.turns[ray] = turn
	wait := max(due, turn.Sub(now))
	if wait <= 0 {
		p.last = now
	}
	return max(wait, 0)
}

// done notes that a Ray tells its progress now, or has none to tell.
func (p *progress) done(ray cache.ObjectName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, ray)
}
