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
	"slices"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// shortfall is demand that has no room: because of limits, or on no node at all. Other demand waits for a node that is
// alive to become free.
type shortfall struct {
	*plan
	Infeasible
	// limited is the demand that a group would be scaled for if it had no Max.
	limited  [][]string
	messages []string
}

// shortfall sets which demand is limited, and which is infeasible. Neither is known if the budget ends.
func (p *plan) shortfall(decision *Decision) {
	s := shortfall{plan: p, limited: make([][]string, len(p.groups))}
	s.addConstraint()
	s.addGangs()
	s.addTasks()
	if s.isExhausted() {
		return
	}
	for i := range s.limited {
		decision.Groups[i].Limited = enumerate(s.limited[i])
	}
	decision.Infeasible = s.Infeasible
	decision.Infeasible.Message = join(s.messages, "; ", "; and ")
}

// addConstraint adds what request_resources asks for. As it is placed on empty nodes, it does not wait for free ones.
func (s *shortfall) addConstraint() {
	for i, shape := range s.demand.constraint {
		if s.waiting.constraint[i] > 0 && s.spendFor(shape) && !s.isLimited(shape) {
			s.Constraint = append(s.Constraint, gcs.Demand{Request: *shape.source, Count: shape.count})
			s.addMessage(s.demand.text(shape), s.explain(shape))
		}
	}
}

func (s *shortfall) addTasks() {
	for i, shape := range s.demand.tasks {
		if s.waiting.tasks[i] > 0 && s.spendFor(shape) && !s.isLimited(shape) && !s.fitsEmptyNode(shape) {
			s.Requests = append(s.Requests, *shape.source)
			s.addMessage(s.demand.text(shape), s.explain(shape))
		}
	}
}

// addGangs adds gangs. A gang can be infeasible although each of its requests fits on a node.
func (s *shortfall) addGangs() {
	type outcome struct {
		limits     []int
		infeasible bool
	}
	known := map[string]outcome{}
	for _, g := range s.waiting.gangs {
		o, found := known[g.key]
		if partly := s.isPartlyPlaced(g); !found || partly {
			o.limits, o.infeasible = s.check(g)
			if !partly {
				known[g.key] = o
			}
		}
		for _, i := range o.limits {
			s.limited[i] = appendNew(s.limited[i], s.demand.gangText(g))
		}
		if o.infeasible {
			s.Gangs = append(s.Gangs, *g.source)
			s.addMessage(s.demand.gangText(g), s.explainGang(g))
		}
	}
}

// spendFor spends the work of finding out why a request has no room.
func (s *shortfall) spendFor(shape *shape) bool {
	return s.spend((shape.needCost + shape.rankCost) * (len(s.bins) + 2*len(s.groups)))
}

// check returns the groups of which a gang needs more nodes than Max allows, or that it would not fit even on empty
// nodes without these limits.
func (s *shortfall) check(g *gang) (limits []int, infeasible bool) {
	trial := s.unlimited()
	if trial.placeAll(g.shapes) {
		for i, group := range s.groups {
			if group.Autoscaled && maxUnits-trial.room[i] > s.room[i] {
				limits = append(limits, i)
			}
		}
		return limits, false
	}
	trial.vacate()
	return nil, !trial.placeAll(g.shapes)
}

// unlimited returns a copy of the packing without limits of the groups.
func (s *shortfall) unlimited() *packing {
	trial := s.clone()
	for i, g := range s.groups {
		if g.Autoscaled {
			trial.room[i] = maxUnits
		}
	}
	return trial
}

// isLimited returns whether a request that has no room fits on a new node of any group, and adds it to these groups:
// they have as many nodes as Max allows.
func (s *shortfall) isLimited(shape *shape) bool {
	limited, text := false, s.demand.text(shape)
	for i, g := range s.groups {
		if g.Autoscaled && s.fitsNewNode(shape, i) {
			s.limited[i] = appendNew(s.limited[i], text)
			limited = true
		}
	}
	return limited
}

// fitsNewNode returns whether a request fits on a new node of group i.
func (s *shortfall) fitsNewNode(shape *shape, i int) bool {
	n := s.empty[i]
	return n != nil && shape.need.fits(n.total, 1) > 0 && shape.rank(n.labels) >= 0
}

// fitsEmptyNode returns whether a request would fit on a node if nothing else was on it.
func (s *shortfall) fitsEmptyNode(shape *shape) bool {
	for _, b := range s.bins {
		if shape.need.fits(b.total, 1) > 0 && shape.rank(b.labels) >= 0 {
			return true
		}
	}
	return false
}

func (s *shortfall) addMessage(text, cause string) {
	s.messages = appendNew(s.messages, text+": "+cause)
}

// explainGang returns why a gang is infeasible.
func (s *shortfall) explainGang(g *gang) string {
	for _, shape := range g.shapes {
		if !s.spendFor(shape) {
			break
		}
		if cause := s.explain(shape); cause != causeCount && !s.fitsEmptyNode(shape) {
			return cause
		}
	}
	return causeCount
}

// Causes of infeasible demand.
const (
	causeLabels      = "no group has nodes with these labels"
	causeCombination = "no group has nodes with all of these resources"
	causeCount       = "there are too few such nodes, and no autoscaled group can add one"
)

// explain returns why no number of nodes has room for a request.
func (s *shortfall) explain(shape *shape) string {
	var selected []int
	for i, n := range s.empty {
		switch {
		case n == nil || !s.groups[i].Autoscaled && s.groups[i].target == 0 || shape.rank(n.labels) < 0:
		case s.fitsNewNode(shape, i):
			return causeCount
		default:
			selected = append(selected, i)
		}
	}
	if len(selected) == 0 && len(shape.selectors) > 0 {
		return causeLabels
	}
	for _, need := range shape.need {
		group, most := -1, int64(0)
		for _, i := range selected {
			if has := s.empty[i].total.of(need.resource); has > most {
				group, most = i, has
			}
		}
		name := s.demand.names[need.resource]
		switch {
		case most >= need.units:
		case group < 0:
			return "no group has nodes with " + plain(name)
		default:
			return "no group has nodes with " + formatAmount(name, need.units) + " " + plain(name) +
				" (" + s.groups[group].Name + " has " + formatAmount(name, most) + ")"
		}
	}
	return causeCombination
}

// isPartlyPlaced returns whether a node that is alive has the label of a gang: part of the gang runs there.
func (p *packing) isPartlyPlaced(g *gang) bool {
	for _, s := range g.shapes {
		if s.anti != (gcs.Label{}) && p.spend(len(p.bins)) && slices.ContainsFunc(p.bins, func(b *bin) bool { return hasLabel(b.labels, s.anti) }) {
			return true
		}
	}
	return false
}
