package controller

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The model runs the controller, with its real queue, on a server in memory and on fake
// time, through schedules of what users, others, the cluster and faults do, all of them
// made from seeds. A schedule that fails once fails always, and in the same way:
//
//	model_test.go           runs, repeats and shrinks schedules
//	model_world_test.go     the server, its caches and time
//	model_operator_test.go  one process of the operator
//	model_faults_test.go    what goes wrong between that and the server
//	model_acts_test.go      the acts that schedules are made of
//	model_cluster_test.go   the Deployment controller and the garbage collector
//	model_end_test.go       what must be so in the end
//	model_judge_test.go     what must hold for every write
var (
	modelSchedules = flag.Uint64("model.schedules", 300, "how many schedules TestModel runs")
	modelFrom      = flag.Uint64("model.from", 1, "the seed of the first schedule of TestModel")
	modelSeed      = flag.Uint64("model.seed", 0, "run the schedule of this seed alone, and tell all that happens")
)

// maxFailures is after how many failures TestModel gives up.
const maxFailures = 3

// schedule is what happens in one run of the model.
type schedule struct {
	seed uint64
	// tampers says that others change what the operator has recorded. Where a record is
	// missing, what the user has taken out of a template is as if others had added it, so
	// then the user only changes things.
	tampers bool
	// injects says that a webhook adds a container to every Pod template.
	injects bool
	steps   []step
}

// step is one act, and how long nothing else happens after it. Two numbers say what about.
type step struct {
	act   *act
	n, m  int
	pause time.Duration
}

var pauses = []time.Duration{0, 0, 0, 0, time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 11 * time.Second}

// newSchedule returns the schedule of a seed.
func newSchedule(seed uint64) schedule {
	random := rand.New(rand.NewPCG(seed, 0))
	s := schedule{seed: seed, tampers: random.IntN(2) == 0, injects: random.IntN(4) == 0}
	total := 0
	for i := range acts {
		total += acts[i].weight
	}
	for range 10 + random.IntN(50) {
		choice, pick := random.IntN(total), 0
		for ; choice >= acts[pick].weight; pick++ {
			choice -= acts[pick].weight
		}
		s.steps = append(s.steps, step{act: &acts[pick], n: random.IntN(1 << 16), m: random.IntN(1 << 16), pause: pauses[random.IntN(len(pauses))]})
	}
	return s
}

// outcome is what a run of a schedule came to.
type outcome struct {
	// trace has all that happened, in order.
	trace      []string
	violations []string
}

// run runs a schedule in a bubble of its own.
func (l *lane) run(t *testing.T, s schedule) outcome {
	t.Helper()
	result := l.try(t, s)
	if l.unknown != nil {
		synctest.Test(t, func(*testing.T) { l.deployFresh(l.unknown) })
		l.unknown = nil
		result = l.try(t, s)
	}
	return result
}

func (l *lane) try(t *testing.T, s schedule) outcome {
	t.Helper()
	var result outcome
	synctest.Test(t, func(*testing.T) {
		w := newWorld(l, s)
		for i := range s.steps {
			step := &s.steps[i]
			if what := step.act.do(w, step.n, step.m); what != "" {
				w.tell("%s", what)
			}
			w.pass(step.pause)
		}
		w.end()
		w.stopOperator()
		result = outcome{trace: w.trace, violations: w.violations}
	})
	return result
}

// shrink returns a schedule that fails like another, with as few steps as it can find.
func (l *lane) shrink(t *testing.T, s schedule) schedule {
	t.Helper()
	for size := len(s.steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(s.steps); {
			smaller := s
			smaller.steps = slices.Delete(slices.Clone(s.steps), at, at+size)
			if len(l.run(t, smaller).violations) > 0 {
				s = smaller
			} else {
				at += size
			}
		}
	}
	return s
}

// report fails the test with the shortest schedule that fails as this one does.
func (l *lane) report(t *testing.T, s schedule) {
	t.Helper()
	shrunk := l.shrink(t, s)
	result := l.run(t, shrunk)
	t.Errorf("seed %d, shrunk from %d steps to %d:\n%s\nviolations:\n%s\nrepeat all of it with: go test ./pkg/controller -run 'TestModel$' -args -model.seed=%d",
		s.seed, len(s.steps), len(shrunk.steps), strings.Join(result.trace, "\n"), strings.Join(result.violations, "\n"), s.seed)
}

func TestModel(t *testing.T) {
	if *modelSeed != 0 {
		l, s := newLane(t), newSchedule(*modelSeed)
		result := l.run(t, s)
		t.Log("\n" + strings.Join(result.trace, "\n"))
		if len(result.violations) > 0 {
			t.Errorf("violations:\n%s", strings.Join(result.violations, "\n"))
			l.report(t, s)
		}
		return
	}
	lanes := uint64(runtime.GOMAXPROCS(0))
	for first := range lanes {
		t.Run(fmt.Sprintf("lane %d", first), func(t *testing.T) {
			t.Parallel()
			l, failures := newLane(t), 0
			for i := first; i < *modelSchedules && failures < maxFailures; i += lanes {
				if s := newSchedule(*modelFrom + i); len(l.run(t, s).violations) > 0 {
					l.report(t, s)
					failures++
				}
			}
		})
	}
}

// TestModelRepeats checks that a seed is all that a run depends on.
func TestModelRepeats(t *testing.T) {
	for seed := range uint64(20) {
		first, second := newLane(t).run(t, newSchedule(seed)), newLane(t).run(t, newSchedule(seed))
		if diff := cmp.Diff(first.trace, second.trace); diff != "" {
			t.Errorf("two runs of seed %d differ (-first +second):\n%s", seed, diff)
		}
	}
}
