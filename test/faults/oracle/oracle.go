// Package oracle judges a run of the operator by its history. Every oracle is a pure
// function, so it is tested on histories made by hand, good ones and bad ones.
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
	// EndState wants the end, status included, to be as after a fresh deployment.
	EndState Name = "end-state"
	// Counts wants exactly the writes and events that an undisturbed run has.
	Counts Name = "counts"
	// Ownership wants one child of a role per Ray, and nobody else's object written.
	Ownership Name = "ownership"
	// Order wants generations and times never to go back.
	Order Name = "order"
	// Rest wants no write once all is as it should be.
	Rest Name = "rest"
	// Deletions wants nothing deleted but what has to go.
	Deletions Name = "deletions"
	// ObservedHealth wants no Ray to be called healthy before its Deployments are.
	ObservedHealth Name = "observed-health"
	// Processes wants no panic, no data race, and the exit codes that were asked for.
	Processes Name = "processes"
)

// Violation is one thing that an oracle does not accept.
type Violation struct {
	Oracle Name
	Text   string
}

// String is for messages of failure.
func (v Violation) String() string { return fmt.Sprintf("oracle %s: %s", v.Oracle, v.Text) }

// Expectation is what a run should have done.
type Expectation struct {
	// Fresh is the end of a run that did nothing but create the Ray as it was in the end.
	// It is nil where there is no such run, since the Ray was deleted.
	Fresh *history.State
	// Writes are the writes of an undisturbed run, in the words of history.Write.What,
	// those that only tell progress aside.
	Writes []string
	// ObservedHealth says that the operator always sees the present, so that Health must be
	// true of it.
	ObservedHealth bool
	// Allowance is what the faults excuse.
	Allowance Allowance
}

// Allowance is by how much a disturbed run may differ from an undisturbed one.
type Allowance struct {
	// LostEvents says that any event of a write may be missing: the API server was away, there were
	// more than client-go sends, or a leader lost its lease, without which it sends none either.
	LostEvents bool
	// Unanswered says that the server may have done writes of which it did not say so.
	Unanswered bool
	// Refused is how many writes the server may refuse, a few conflicts aside.
	Refused int
	// Problems is how many statuses may tell of a problem.
	Problems int
	// Warnings is how many warnings the events may have.
	Warnings int
	// Waits is how many events may tell that the Ray waits for somebody else.
	Waits int
	// Recoveries is how often Health may become True again in one generation of a Ray.
	Recoveries int
	// Undone is how often an update of a child may be needed that an undisturbed run lacks, by
	// the words of history.Write.What.
	Undone map[string]int
	// OldRecords says that somebody else's changes, which the operator leaves as they are,
	// have made the records of generations old.
	OldRecords bool
	// TwoViews says that two operators act of which one sees the past, so that each puts its own
	// status in the place of the other's.
	TwoViews bool
	// LostLease says that an operator may end because its lease is another's, or because a fault
	// keeps it from looking.
	LostLease bool
}

// Check returns everything that any oracle does not accept in a history.
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
		{Rest, checkRest},
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

// step is an object before and after one change. Before is nil for its first version.
type step struct {
	before, after *history.Version
}

// steps returns the changes of the objects of a resource, each object's in order.
// Objects are told apart by key.
func steps(h *history.History, resource string, key func(metav1.Object) string) []step {
	latest := map[string]*history.Version{}
	var all []step
	for i := range h.Versions {
		version := &h.Versions[i]
		if version.Resource != resource {
			continue
		}
		key := key(version.Object)
		all = append(all, step{before: latest[key], after: version})
		latest[key] = version
	}
	return all
}

func byUID(object metav1.Object) string { return string(object.GetUID()) }

// describe names an object for a message.
func describe(v *history.Version) string {
	return fmt.Sprintf("%s/%s at resourceVersion %s", v.Resource, v.Object.GetName(), v.Object.GetResourceVersion())
}

// childWrites returns the writes to children that the server has done.
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
