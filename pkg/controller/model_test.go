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

// The model is a randomized test. It runs the real sync and queue on an in-memory API server in fake
// time. A schedule is a random sequence of actions of users, other clients and the cluster, with faults.
// Its seed determines all of it, so that a failure can be repeated:
//
//	model_test.go              runs, repeats and shrinks schedules
//	model_environment_test.go  the API server and time
//	model_operator_test.go     a process of the operator, with its caches
//	model_faults_test.go       faults of requests
//	model_actions_test.go      the actions
//	model_edits_test.go        what users and other clients edit
//	model_autoscaler_test.go   the autoscaler, and checks of targets
//	model_controllers_test.go  the Deployment controller and the garbage collector
//	model_checker_test.go      checks of each write
//	model_end_test.go          checks of the final state
var (
	modelSchedules = flag.Uint64("model.schedules", 300, "number of schedules that TestModel runs")
	modelFrom      = flag.Uint64("model.from", 1, "seed of the first schedule of TestModel")
	modelSeed      = flag.Uint64("model.seed", 0, "run only the schedule with this seed, and print its trace")
)

// maxFailures is the number of failed schedules after which a shard of TestModel stops.
const maxFailures = 3

// schedule is a sequence of steps.
type schedule struct {
	seed uint64
	// corruptsRecords: other clients change the operator's record in the annotation of a child. Without the
	// record, what the user has removed from a template looks like what another client has added. Hence the
	// user removes no fields in these schedules.
	corruptsRecords bool
	// isAutoscaled: the Ray is created with autoscaled groups. In schedules with corruptsRecords it always has one, or
	// never, since autoscaling adds fields to the head.
	isAutoscaled bool
	// storesGCS: the GCS of the Ray stores its state. This cannot be changed.
	storesGCS bool
	// injectsSidecars: a mutating webhook adds a container to every Pod template.
	injectsSidecars bool
	steps           []step
}

// step is an action, with two arguments, and the time until the next step.
type step struct {
	action *action
	n, m   int
	pause  time.Duration
}

var pauses = []time.Duration{0, 0, 0, 0, time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 11 * time.Second}

// newSchedule returns the schedule of a seed.
func newSchedule(seed uint64) schedule {
	random := rand.New(rand.NewPCG(seed, 0))
	s := schedule{seed: seed, corruptsRecords: random.IntN(2) == 0, injectsSidecars: random.IntN(4) == 0, isAutoscaled: random.IntN(3) == 0, storesGCS: random.IntN(4) == 0}
	total := 0
	for i := range actions {
		total += actions[i].weight
	}
	for range 10 + random.IntN(50) {
		choice, pick := random.IntN(total), 0
		for ; choice >= actions[pick].weight; pick++ {
			choice -= actions[pick].weight
		}
		s.steps = append(s.steps, step{action: &actions[pick], n: random.IntN(1 << 16), m: random.IntN(1 << 16), pause: pauses[random.IntN(len(pauses))]})
	}
	return s
}

// result is the result of a run of a schedule.
type result struct {
	// trace has all steps, requests, writes and events, in order.
	trace      []string
	violations []string
}

// run runs a schedule. If its final spec was never run without faults, it does that first.
func (r *runner) run(t *testing.T, s schedule) result {
	t.Helper()
	result := r.runOnce(t, s)
	if r.unknown != nil {
		synctest.Test(t, func(*testing.T) { r.deployFresh(r.unknown) })
		r.unknown = nil
		result = r.runOnce(t, s)
	}
	return result
}

func (r *runner) runOnce(t *testing.T, s schedule) result {
	t.Helper()
	var outcome result
	synctest.Test(t, func(*testing.T) {
		e := newEnvironment(r, s)
		for i := range s.steps {
			step := &s.steps[i]
			if done := step.action.do(e, step.n, step.m); done != "" {
				e.logf("%s", done)
			}
			e.advance(step.pause)
		}
		e.checkEnd()
		e.stopOperator()
		outcome = result{trace: e.trace, violations: e.violations}
	})
	return outcome
}

// shrink removes steps from a failing schedule as long as it fails.
func (r *runner) shrink(t *testing.T, s schedule) schedule {
	t.Helper()
	for size := len(s.steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(s.steps); {
			smaller := s
			smaller.steps = slices.Delete(slices.Clone(s.steps), at, at+size)
			if len(r.run(t, smaller).violations) > 0 {
				s = smaller
			} else {
				at += size
			}
		}
	}
	return s
}

// report fails the test with the shortest schedule that still fails.
func (r *runner) report(t *testing.T, s schedule) {
	t.Helper()
	shrunk := r.shrink(t, s)
	result := r.run(t, shrunk)
	t.Errorf("seed %d, shrunk from %d steps to %d:\n%s\nviolations:\n%s\nrepeat the whole schedule with: go test ./pkg/controller -run 'TestModel$' -args -model.seed=%d",
		s.seed, len(s.steps), len(shrunk.steps), strings.Join(result.trace, "\n"), strings.Join(result.violations, "\n"), s.seed)
}

func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of schedules")
	}
	if *modelSeed != 0 {
		r, s := newRunner(t), newSchedule(*modelSeed)
		result := r.run(t, s)
		t.Log("\n" + strings.Join(result.trace, "\n"))
		if len(result.violations) > 0 {
			t.Errorf("violations:\n%s", strings.Join(result.violations, "\n"))
			r.report(t, s)
		}
		return
	}
	shards := uint64(runtime.GOMAXPROCS(0))
	for first := range shards {
		t.Run(fmt.Sprintf("shard %d", first), func(t *testing.T) {
			t.Parallel()
			r, failures := newRunner(t), 0
			for i := first; i < *modelSchedules && failures < maxFailures; i += shards {
				if s := newSchedule(*modelFrom + i); len(r.run(t, s).violations) > 0 {
					r.report(t, s)
					failures++
				}
			}
		})
	}
}

// TestModelIsDeterministic checks that a run depends only on its seed.
func TestModelIsDeterministic(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of schedules")
	}
	for seed := range uint64(20) {
		first, second := newRunner(t).run(t, newSchedule(seed)), newRunner(t).run(t, newSchedule(seed))
		if diff := cmp.Diff(first.trace, second.trace); diff != "" {
			t.Errorf("two runs of seed %d differ (-first +second):\n%s", seed, diff)
		}
	}
}
