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

// faultCase is one run of a workload in which something goes wrong.
type faultCase struct {
	name     string
	workload *workload
	faults   []proxy.Fault
	// then is what happens when the workload has begun, before its goal is awaited. Without it
	// the operator sees the present at any time.
	then func(context.Context, *scene, goal) error
	env  []string
	// prepare adds to the scene before the Ray is made.
	prepare   func(*testing.T, *scene)
	allowance oracle.Allowance
	// patience is how long the Ray may take, if that is not as long as most do.
	patience time.Duration
	// always says that the fixed tenth has the case.
	always bool
}

// testCase is a case of any family. Whatever it does, it does in a namespace where nobody
// else does anything.
type testCase struct {
	name string
	// always says that the fixed tenth has the case.
	always bool
	// long says that the case takes minutes, so that it had better begin early.
	long bool
	run  func(*testing.T)
}

// inTenth tells whether the fixed tenth of all cases has this one.
func (c *testCase) inTenth() bool { return c.always || hash(c.name)%10 == 0 }

// selected tells whether the flags ask for the case.
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
		t.Skip("needs a cluster: run make test-faults")
	}
	t.Cleanup(func() {
		malformed.close(t)
		fields.close(t)
	})
	cases := allCases()
	// The order decides which cases meet on the machine.
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
		t.Fatalf("there is no case %q", *only)
	}
	progress := &progress{total: len(cases), start: time.Now()}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer progress.add(t)
			defer sayHowToRepeat(t, c.name)
			c.run(t)
		})
	}
}

// sayHowToRepeat tells of a case that has failed, wherever that was, how it is run again.
func sayHowToRepeat(t *testing.T, name string) {
	t.Helper()
	if t.Failed() {
		t.Logf("repeat it with SEED=%d CASE=%s", *seed, name)
	}
}

// progress tells how far the suite has come.
type progress struct {
	total int
	start time.Time

	mu           sync.Mutex
	done, failed int
}

// progressEvery is how many cases there are from one line to the next.
const progressEvery = 50

// add counts a case that has ended.
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
	for _, family := range [][]faultCase{undisturbedCases(), crashCases(), errorCases(), staleCases(), rewindCases(), doubleCases(), rivalCases(), takenNameCases(), rejectionCases(), foreignWriterCases()} {
		for i := range family {
			c := &family[i]
			all = append(all, testCase{name: c.name, always: c.always, long: c.patience > 0, run: c.run})
		}
	}
	all = append(all, malformedCases()...)
	return append(all, fieldsCases()...)
}

// undisturbedCases are the workloads without any fault. All others are compared with them.
func undisturbedCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		cases = append(cases, faultCase{name: "undisturbed/" + workloads[i].name, workload: &workloads[i], always: true})
	}
	return cases
}

// run runs a case and judges its history.
func (c *faultCase) run(t *testing.T) {
	want := &oracle.Expectation{Writes: c.workload.writes, Allowance: c.workload.allow(c.allowance, len(c.faults)), ObservedHealth: c.then == nil}
	if c.workload.to != nil {
		want.Fresh = fresh(t, c.workload.to)
	}
	var base *history.State
	if c.workload.from != nil {
		base = fresh(t, c.workload.from)
	}

	s := newScene(t, c.env...)
	if c.prepare != nil {
		c.prepare(t, s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), max(c.patience, *patience))
	defer cancel()
	if c.workload.from != nil {
		if err := createRay(ctx, s.namespace, c.workload.from); err != nil {
			t.Fatal(err)
		}
		if err := s.await(ctx, like(base)); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
		// A sync that is still to come would heal what the operator fails to do in time.
		if err := s.rest(ctx); err != nil {
			t.Fatalf("before any fault: %v", err)
		}
	}
	if err := s.arm(ctx, c.faults); err != nil {
		t.Fatal(err)
	}
	if err := c.workload.do(ctx, s.namespace); err != nil {
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
		t.Errorf("%s: there was no write %d for it to hit", fault, fault.Write)
	}
	for _, violation := range oracle.Check(h, want) {
		t.Error(violation)
	}
	t.Logf("it wrote\n%s", transcript(h))
}

// goal returns what is to be reached.
func (c *faultCase) goal(fresh *history.State) goal {
	switch {
	case fresh != nil:
		return like(fresh)
	case c.workload.orphans:
		return orphaned
	default:
		return gone
	}
}

// transcript returns all writes of a history and what there was in the end, for a human to read.
func transcript(h *history.History) string {
	var text strings.Builder
	for i := range h.Writes {
		fmt.Fprintf(&text, "%s %s\n", h.Writes[i].At.Format("05.000"), h.Writes[i].String())
	}
	for i := range h.End.Deployments {
		d := &h.End.Deployments[i]
		fmt.Fprintf(&text, "in the end %s (UID %s) has generation %d, and %+v\n", d.Name, d.UID, d.Generation, d.Status)
	}
	for line := range strings.Lines(h.Log) {
		if strings.HasPrefix(line, "ray-operator: ") { // why it ended
			text.WriteString(line)
		}
	}
	for _, size := range h.Sizes {
		fmt.Fprintf(&text, "in the end %d goroutines, %d KiB of heap\n", size.Goroutines, size.HeapBytes>>10)
	}
	return text.String()
}
