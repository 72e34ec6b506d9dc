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

package faults

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// faultCase is a run of a workload with faults.
type faultCase struct {
	name     string
	workload *workload
	faults   []proxy.Fault
	// then runs once the workload has started, before its goal is awaited. It is nil if the
	// operator's view is never stale.
	then func(context.Context, *setup, goal) error
	env  []string
	// prepare adds to the setup before the Ray is created.
	prepare   func(*testing.T, *setup)
	allowance oracle.Allowance
	// timeout replaces -step-timeout if it is longer.
	timeout time.Duration
	// always includes the case in the fixed tenth.
	always bool
}

// testCase is a case of any family. It has a namespace of its own, or a Ray in a shared one.
type testCase struct {
	name string
	// always includes the case in the fixed tenth.
	always bool
	// long cases take minutes, so they start first.
	long bool
	run  func(*testing.T)
}

// inTenth reports whether the case is in the fixed tenth of all cases.
func (c *testCase) inTenth() bool { return c.always || hash(c.name)%10 == 0 }

// selected reports whether the flags select the case.
func (c *testCase) selected() bool {
	return (*only == "" || c.name == *only) && (!*tenth || c.inTenth()) && regexp.MustCompile(*matching).MatchString(c.name)
}

func hash(text string) uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(text))
	return sum.Sum64()
}

func TestFaults(t *testing.T) {
	if *kubeconfig == "" {
		t.Skip("requires a cluster: run make test-faults")
	}
	t.Cleanup(func() { malformed.close(t) })
	cases := allCases()
	// The order decides which cases run at the same time.
	rand.New(rand.NewPCG(*seed, 0)).Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	slices.SortStableFunc(cases, func(a, b testCase) int {
		switch {
		case a.long == b.long:
			return 0
		case a.long:
			return -1
		default:
			return 1
		}
	})
	cases = slices.DeleteFunc(cases, func(c testCase) bool { return !c.selected() })
	if len(cases) == 0 {
		t.Fatalf("no case is selected: -case is %q, -cases is %q", *only, *matching)
	}
	progress := &progress{total: len(cases), start: time.Now()}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer progress.add(t)
			defer logRepeatCommand(t, c.name)
			c.run(t)
		})
	}
}

// logRepeatCommand logs how to repeat a failed case.
func logRepeatCommand(t *testing.T, name string) {
	t.Helper()
	if t.Failed() {
		t.Logf("to repeat this case: make test-faults SEED=%d CASE=%s", *seed, name)
	}
}

// progress reports the progress of the suite.
type progress struct {
	total int
	start time.Time

	mu           sync.Mutex
	done, failed int
}

// progressEvery is the number of cases per line of progress.
const progressEvery = 50

// add counts a finished case.
func (p *progress) add(t *testing.T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if t.Failed() {
		p.failed++
		fmt.Fprintf(os.Stderr, "failed: %s\n", t.Name())
	}
	if p.done%progressEvery == 0 || p.done == p.total {
		fmt.Fprintf(os.Stderr, "%d of %d cases, %d failed, %s\n", p.done, p.total, p.failed, time.Since(p.start).Round(time.Second))
	}
}

// allCases returns the cases of all families.
func allCases() []testCase {
	var all []testCase
	for _, family := range [][]faultCase{
		undisturbedCases(), crashCases(), errorCases(), staleCases(), rewindCases(), doubleCases(), bothActiveCases(),
		alreadyExistsCases(), rejectionCases(), externalWriterCases(),
	} {
		for i := range family {
			c := &family[i]
			all = append(all, testCase{name: c.name, always: c.always, long: c.timeout > 0, run: c.run})
		}
	}
	return append(all, malformedCases()...)
}

// undisturbedCases are the workloads without faults.
func undisturbedCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		cases = append(cases, faultCase{name: "undisturbed/" + workloads[i].name, workload: &workloads[i], always: true})
	}
	return cases
}

// run runs a case and checks its history.
func (c *faultCase) run(t *testing.T) {
	want := &oracle.Expectation{Writes: c.workload.writes, Allowance: c.workload.allow(c.allowance, c.faults), ObservedHealth: c.then == nil}
	if c.workload.to != nil {
		want.Fresh = fresh(t, c.workload.to, c.workload.tasksAfter)
	}
	var base *history.State
	if c.workload.from != nil {
		base = fresh(t, c.workload.from, c.workload.tasksBefore)
	}

	s := newSetup(t, c.env...)
	if c.prepare != nil {
		c.prepare(t, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), max(c.timeout, *stepTimeout))
	defer cancel()
	if c.workload.from != nil {
		if err := s.deploy(t, c.workload.from, c.workload.tasksBefore); err != nil {
			t.Fatal(err)
		}
		if err := s.await(ctx, equalTo(base)); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
		// A pending sync would hide that the operator misses a change.
		if err := s.awaitSteadyState(ctx); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
	}
	if err := s.arm(ctx, c.faults); err != nil {
		t.Fatal(err)
	}
	if err := c.workload.do(ctx, s); err != nil {
		t.Fatal(err)
	}

	finished := make(chan struct{})
	defer close(finished)
	for _, operator := range s.operators() {
		go operator.restartAfterCrashes(t, finished)
	}
	if c.then != nil {
		if err := c.then(ctx, s, c.goal(want.Fresh)); err != nil {
			t.Error(err)
		}
	}
	h := s.finish(ctx, t, c.goal(want.Fresh))
	for _, fault := range s.operator.proxy.Pending() {
		t.Errorf("fault %q was not injected: there was no write %d", fault, fault.Write)
	}
	s.checkTasks(t)
	for _, violation := range oracle.Check(h, want) {
		t.Error(violation)
	}
	t.Logf("history:\n%s", transcript(h))
	if t.Failed() {
		t.Logf("end of the log:\n%s", end(h.Log, 100))
	}
}

// end returns the last lines of a text.
func end(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// goal returns the goal of the workload.
func (c *faultCase) goal(fresh *history.State) goal {
	switch {
	case fresh != nil:
		return equalTo(fresh)
	case c.workload.orphans:
		return orphaned
	default:
		return gone
	}
}

// transcript returns the writes and the end state of a history for humans.
func transcript(h *history.History) string {
	var text strings.Builder
	for i := range h.Writes {
		fmt.Fprintf(&text, "%s %s\n", h.Writes[i].At.Format("05.000"), h.Writes[i].String())
	}
	for i := range h.End.Deployments {
		d := &h.End.Deployments[i]
		fmt.Fprintf(&text, "end: %s (UID %s), generation %d, status %+v\n", d.Name, d.UID, d.Generation, d.Status)
	}
	for line := range strings.Lines(h.Log) {
		if strings.HasPrefix(line, "ray-operator: ") { // why the process exited
			text.WriteString(line)
		}
	}
	for _, size := range h.Sizes {
		fmt.Fprintf(&text, "end: %d goroutines, %d KiB of heap\n", size.Goroutines, size.HeapBytes>>10)
	}
	return text.String()
}
