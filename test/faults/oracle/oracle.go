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

// Package oracle checks the history of a run of the operator. Every oracle is a pure function, and is
// tested on valid and invalid histories.
package oracle

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// Name is the name of an oracle.
type Name string

// The oracles.
const (
	// EndState requires the end state, including the status, to equal that of a fresh deployment.
	EndState Name = "end-state"
	// Counts requires the writes and events of an undisturbed run, plus the allowance.
	Counts Name = "counts"
	// Ownership requires one child per role and Ray, and no writes to objects that no Ray controls.
	Ownership Name = "ownership"
	// Order requires that generations and times never go back.
	Order Name = "order"
	// SteadyState requires that children are not written once the goal is reached.
	SteadyState Name = "steady-state"
	// Deletions requires that only what the workload deletes is deleted.
	Deletions Name = "deletions"
	// ObservedHealth requires that Ready equals Health, and that Health is True only once the
	// Deployments are complete.
	ObservedHealth Name = "observed-health"
	// Processes requires the expected exit codes, no panic, no data race, and a bounded size.
	Processes Name = "processes"
)

// Violation is a violation of an oracle.
type Violation struct {
	Oracle Name
	Text   string
}

// String returns the violation as failures print it.
func (v Violation) String() string { return fmt.Sprintf("oracle %s: %s", v.Oracle, v.Text) }

// Expectation is the expected result of a run.
type Expectation struct {
	// Fresh is the state after a fresh deployment of the same spec. It is nil if the Ray is deleted.
	Fresh *history.State
	// Writes are the writes of an undisturbed run, as history.Write.What returns them.
	Writes []string
	// ObservedHealth means that the operator's view is never stale, so that a Health of True must be
	// correct.
	ObservedHealth bool
	// Allowance is the allowance for the faults.
	Allowance Allowance
}

// Allowance is how much a run may differ from an undisturbed one.
type Allowance struct {
	// LostEvents means that the event of any write may be missing: the API server was down, the rate
	// exceeded that of client-go, or a leader lost its lease and no longer sends events.
	LostEvents bool
	// Unanswered means that the server may have committed writes without answering them.
	Unanswered bool
	// Rejected is the number of writes that the server may reject, in addition to some conflicts.
	Rejected int
	// ProblemStatuses is the number of statuses that may report a problem.
	ProblemStatuses int
	// WarningEvents is the number of events of type Warning, per process of the operator: a new
	// process may report a problem again.
	WarningEvents int
	// NormalEvents is the number of events of type Normal that report a problem, such as
	// ChildTerminating, per process of the operator.
	NormalEvents int
	// Recoveries is how often Health may become True again in one generation of a Ray.
	Recoveries int
	// Reverts is the number of additional updates of a child, by history.Write.What.
	Reverts map[string]int
	// StaleRecords means that changes by other clients, which the operator does not revert, have
	// made the recorded generations stale.
	StaleRecords bool
	// DivergentViews means that two operators are active and one of them has a stale cache, so that
	// each overwrites the status of the other.
	DivergentViews bool
	// LostLease means that an operator may exit because it has lost its lease, or because a fault
	// prevents it from reading the lease.
	LostLease bool
}

// Check returns the violations of all oracles in a history.
func Check(h *history.History, want *Expectation) []Violation {
	var violations []Violation
	for _, oracle := range []struct {
		name  Name
		check func(*history.History, *Expectation) []string
	}{
		{EndState, checkEndState},
		{Counts, checkCounts},
		{Ownership, checkOwnership},
		{Order, checkOrder},
		{SteadyState, checkSteadyState},
		{Deletions, checkDeletions},
		{ObservedHealth, checkObservedHealth},
		{Processes, checkProcesses},
	} {
		for _, text := range oracle.check(h, want) {
			violations = append(violations, Violation{Oracle: oracle.name, Text: text})
		}
	}
	return violations
}

// change is an object before and after a change. Before is nil for its first version.
type change struct {
	before, after *history.Version
}

// changes returns the changes of all objects of a resource. Those of one object are in order. The
// function key identifies an object.
func changes(h *history.History, resource string, key func(metav1.Object) string) []change {
	latest := map[string]*history.Version{}
	var all []change
	for i := range h.Versions {
		version := &h.Versions[i]
		if version.Resource != resource {
			continue
		}
		key := key(version.Object)
		all = append(all, change{before: latest[key], after: version})
		latest[key] = version
	}
	return all
}

func byUID(object metav1.Object) string { return string(object.GetUID()) }

// describe identifies a version in a message.
func describe(v *history.Version) string {
	return fmt.Sprintf("%s/%s at resourceVersion %s", v.Resource, v.Object.GetName(), v.Object.GetResourceVersion())
}

// childWrites returns the committed writes to children.
func childWrites(h *history.History) []history.Write {
	return slices.DeleteFunc(slices.Clone(h.Writes), func(w history.Write) bool {
		return !w.Committed() || w.Resource != history.Services && w.Resource != history.Deployments
	})
}

// rayOf returns the Ray of a version of history.Rays.
func rayOf(v *history.Version) *rayv1.Ray {
	ray, ok := v.Object.(*rayv1.Ray)
	if !ok {
		panic(fmt.Sprintf("a version of %s is a %T", v.Resource, v.Object))
	}
	return ray
}
