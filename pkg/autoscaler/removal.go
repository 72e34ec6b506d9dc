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

package autoscaler

import (
	"cmp"
	"slices"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// Memory is what a decision needs to know of the previous one. It is not changed after it has been returned.
type Memory struct {
	// Session is that of the cluster. All else is void in another session.
	Session string
	// Idle has the IDs of the nodes that were idle, sorted.
	Idle []string
	// Surplus has, by group, the pending nodes that nothing needs.
	Surplus map[string][]Surplus
}

// Surplus is a number of nodes that nothing has needed since a time. In a list, the numbers and the times increase:
// those that have been surplus for longest are included in all numbers.
type Surplus struct {
	Since time.Time
	Count int32
}

// removal removes the nodes that nothing has needed for long enough.
type removal struct {
	*plan
	in       *Input
	decision *Decision
}

// decide sets which nodes of the groups to remove, and what to remember.
func (r removal) decide(alive []*gcs.Node) {
	previous := r.in.Memory
	if previous.Session != r.in.State.Session {
		previous = Memory{}
	}
	memory := &r.decision.Memory
	*memory = Memory{Session: r.in.State.Session, Surplus: map[string][]Surplus{}}
	for _, n := range alive {
		if n.Status == gcs.NodeIdle {
			memory.Idle = append(memory.Idle, n.ID)
		}
	}
	slices.Sort(memory.Idle)

	used := r.usedNodes()
	for i, g := range r.groups {
		if !g.Autoscaled || r.decision.Incomplete {
			continue
		}
		if g.Resources != nil {
			surplus := r.removeSurplus(i, previous.Surplus[g.Name])
			if len(surplus) > 0 {
				memory.Surplus[g.Name] = surplus
			}
		}
		if !g.Rolling {
			r.drain(i, used, previous.Idle)
		}
	}
}

// usedNodes returns the nodes that are alive and have demand on them.
func (r removal) usedNodes() map[*gcs.Node]bool {
	used := map[*gcs.Node]bool{}
	for _, b := range r.bins {
		if b.used && b.alive != nil {
			used[b.alive] = true
		}
	}
	return used
}

// minSurplusTime is for how long nothing must have needed a pending node until it is removed, if the idle timeout is
// shorter. It may be starting: a raylet that is ended between its start and its registration registers all the same,
// takes tasks, and loses those that its drain timeout is too short for. Within this time it is alive, and is drained.
const minSurplusTime = 30 * time.Second

// removeSurplus removes the pending nodes of group i that nothing has needed for the whole idle timeout, and returns
// the rest of the surplus. It removes none, and goes on measuring, while the Deployment replaces Pods, or if a pending
// node may be one that is alive under another name.
func (r removal) removeSurplus(i int, surplus []Surplus) []Surplus {
	g, d := r.groups[i], &r.decision.Groups[i]
	count := min(r.pending[i], int64(d.Replicas)-int64(max(g.Min, 0)))
	surplus = update(surplus, int32(max(count, 0)), r.in.Now)
	if g.Rolling || r.decision.UnknownNodes {
		return surplus
	}

	var expired int32
	rest := surplus[:0]
	for _, s := range surplus {
		if r.in.Now.Sub(s.Since) >= max(g.IdleTimeout, minSurplusTime) {
			expired = s.Count
		} else {
			rest = append(rest, Surplus{s.Since, s.Count - expired})
		}
	}
	if expired > 0 {
		d.Replicas -= expired
		d.Surplus = expired
		d.Pending = g.pending(d.Replicas)
		d.Reason = cmp.Or(d.Reason, reasonSurplus)
	}
	return rest
}

// update returns a surplus after its number has changed. The minimum of the number since a time is what has been
// surplus for all of that time.
func update(surplus []Surplus, count int32, now time.Time) []Surplus {
	var updated []Surplus
	since := now
	for _, s := range surplus {
		if s.Since.After(now) {
			s.Since = now // The clock was set back.
		}
		if s.Count >= count {
			since = s.Since
			break
		}
		updated = append(updated, s)
	}
	if count > 0 {
		updated = append(updated, Surplus{since, count})
	}
	return updated
}

// drain selects idle nodes of group i that nothing has needed for the idle timeout. A group that is being scaled has
// none. With pending nodes the ReplicaSet would delete these first, and with too many nodes it is not known which ones
// will remain.
func (r removal) drain(i int, used map[*gcs.Node]bool, wasIdle []string) {
	g, d := r.groups[i], &r.decision.Groups[i]
	if len(g.alive) != int(d.Replicas) {
		return
	}
	removable := len(g.alive) - int(max(g.Min, 0))
	for _, n := range g.alive {
		if n.Status != gcs.NodeIdle || removable <= 0 {
			return
		}
		if used[n] {
			continue
		}
		removable--
		if n.Idle < g.IdleTimeout {
			return
		}
		if _, seen := slices.BinarySearch(wasIdle, n.ID); seen {
			d.Drain = append(d.Drain, *n)
		}
	}
}
