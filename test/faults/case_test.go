package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// faultCase is one run of a workload in which something goes wrong.
type faultCase struct {
	name     string
	workload *workload
	faults   []proxy.Fault
	// then is what happens when the workload has begun, before its goal is awaited.
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
	t.Cleanup(func() { fields.close(t) })
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
	for _, c := range cases {
		if !c.selected() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// allCases returns the cases of all families.
func allCases() []testCase {
	var all []testCase
	for _, family := range [][]faultCase{undisturbedCases(), crashCases(), errorCases(), staleCases(), rewindCases(), doubleCases(), takenNameCases(), rejectionCases(), foreignWriterCases()} {
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

// scene is where a case takes place.
type scene struct {
	namespace string
	operator  *operator
	// standby is a second operator, if there is one.
	standby  *operator
	recorder *recorder
}

// operators returns all operators.
func (s *scene) operators() []*operator {
	if s.standby == nil {
		return []*operator{s.operator}
	}
	return []*operator{s.operator, s.standby}
}

// newScene makes a namespace that is watched, and starts an operator in it.
func newScene(t *testing.T, env ...string) *scene {
	t.Helper()
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "faults-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Some Rays' Pods run as it, and it has to be there also where a Ray is deployed afresh.
	if err := createServiceAccount(t.Context(), namespace.Name); err != nil {
		t.Fatal(err)
	}
	s := &scene{namespace: namespace.Name, recorder: record(t, namespace.Name)}
	t.Cleanup(func() {
		// The namespace goes with the cluster: taking it down costs more than leaving it.
		if err := deleteAll(context.Background(), s.namespace); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	s.operator = newOperatorOf(t, "operator", s.namespace)
	s.operator.env = append(s.operator.env, env...)
	if err := s.operator.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a case and judges its history.
func (c *faultCase) run(t *testing.T) {
	want := &oracle.Expectation{Writes: c.workload.writes, Allowance: c.allowance}
	want.Allowance.Recoveries += c.workload.recoveries
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
	t.Logf("repeat it with SEED=%d CASE=%s; it wrote\n%s", *seed, c.name, transcript(h))
}

// arm starts to count writes. The faults are the first operator's.
func (s *scene) arm(ctx context.Context, faults []proxy.Fault) error {
	if s.standby != nil {
		if err := s.standby.proxy.Arm(ctx, nil); err != nil {
			return err
		}
	}
	return s.operator.proxy.Arm(ctx, faults)
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

// restartAfterCrashes starts the operator anew whenever it has ended.
func (o *operator) restartAfterCrashes(t *testing.T, finished <-chan struct{}) {
	for {
		select {
		case <-o.crashed:
			if err := o.start(); err != nil {
				t.Error(err)
			}
		case <-finished:
			return
		}
	}
}

// finish waits until the goal is reached and the operator rests, and returns the history.
func (s *scene) finish(ctx context.Context, t *testing.T, goal goal) *history.History {
	t.Helper()
	h := &history.History{}
	err := s.await(ctx, goal)
	if err == nil {
		h.Converged = time.Now()
		err = s.rest(ctx)
	}
	if err == nil {
		h.Sizes, err = s.measure(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), *patience)
	defer cancel()
	end, err := readState(after, s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	h.End = *end
	// Stopping gives the operator the time to send its events.
	for _, operator := range s.operators() {
		if err := operator.close(h); err != nil {
			t.Error(err)
		}
	}
	if err := readEvents(after, s.namespace, &h.End); err != nil {
		t.Error(err)
	}
	if h.Versions, err = s.recorder.history(); err != nil {
		t.Error(err)
	}
	return h
}

// rest waits until the operator has not done anything for the quiet window.
func (s *scene) rest(ctx context.Context) error {
	return s.quiet(ctx, quietWindow)
}

// quiet waits until the operator has not made a request for some time.
func (s *scene) quiet(ctx context.Context, window time.Duration) error {
	for {
		since := time.Since(s.operator.proxy.LastActive())
		if s.standby != nil {
			since = min(since, time.Since(s.standby.proxy.LastActive()))
		}
		if since >= window {
			return nil
		}
		select {
		case <-time.After(window - since):
		case <-ctx.Done():
			return fmt.Errorf("the operator does not rest: %w", context.Cause(ctx))
		}
	}
}

// goal returns what is missing from a state, or nil.
type goal func(*history.State) error

// like is the goal that all is as in another state.
func like(fresh *history.State) goal {
	return func(state *history.State) error {
		if diff := oracle.Diff(state, fresh); diff != "" {
			return errors.New(diff)
		}
		return nil
	}
}

// gone is the goal that nothing is left.
func gone(state *history.State) error {
	if left := len(state.Rays) + len(state.Services) + len(state.Deployments); left > 0 {
		return fmt.Errorf("%d objects are left", left)
	}
	return nil
}

// orphaned is the goal that the Ray is gone and all its children are left, without an owner.
func orphaned(state *history.State) error {
	if len(state.Rays) > 0 || len(state.Services) != 1 || len(state.Deployments) != 2 {
		return fmt.Errorf("there are %d Rays, %d Services and %d Deployments", len(state.Rays), len(state.Services), len(state.Deployments))
	}
	for i := range state.Deployments {
		if len(state.Deployments[i].OwnerReferences) > 0 {
			return fmt.Errorf("%s has an owner", state.Deployments[i].Name)
		}
	}
	return nil
}

// await waits until all faults have happened and a goal is reached.
func (s *scene) await(ctx context.Context, goal goal) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		state, err := readState(ctx, s.namespace)
		if err == nil {
			err = goal(state)
		}
		if err == nil {
			return nil
		}
		select {
		case <-s.recorder.changed:
			// What follows from this change mostly comes at once.
			time.Sleep(50 * time.Millisecond)
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the Ray does not become as wanted: %w", err)
		}
	}
}

// transcript returns all writes and all statuses of a history, for a human to read.
func transcript(h *history.History) string {
	var text strings.Builder
	for i := range h.Writes {
		fmt.Fprintf(&text, "%s %s\n", h.Writes[i].At.Format("05.000"), h.Writes[i].String())
	}
	for _, size := range h.Sizes {
		fmt.Fprintf(&text, "in the end %d goroutines, %d KiB of heap\n", size.Goroutines, size.HeapBytes>>10)
	}
	return text.String()
}
