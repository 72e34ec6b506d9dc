package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// holdQuiet is how long an operator whose view is held must not have made a request, to be
// taken for one that waits.
const holdQuiet = 500 * time.Millisecond

// withoutWatchList makes informers begin with a list, as those of older clients do. That
// may be answered with a state that is past; the beginning of a watch may not.
var withoutWatchList = []string{"KUBE_FEATURE_WatchListClient=false"}

// endings are how a time of blindness ends.
var endings = []struct {
	name string
	then func(context.Context, *scene, string) error
	env  []string
}{
	{name: "catch-up", then: catchUp},
	{name: "expire", then: expire},
	{name: "expire-list", then: expire, env: withoutWatchList},
	{name: "restart", then: restartBlind, env: withoutWatchList},
}

// staleCases hold the watch of every resource from every write of every workload on, and
// from before the first.
func staleCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 0; write <= len(w.writes); write++ {
			for _, resource := range []string{history.Rays, history.Services, history.Deployments} {
				for _, ending := range endings {
					cases = append(cases, faultCase{
						name:      fmt.Sprintf("stale/%s/write-%d/%s/%s", w.name, write, resource, ending.name),
						workload:  w,
						faults:    []proxy.Fault{{Write: write, Kind: proxy.Hold, Resource: resource}},
						then:      afterHold(resource, ending.then),
						env:       ending.env,
						allowance: oracle.Allowance{Refused: staleRefusals},
					})
				}
			}
		}
	}
	return cases
}

// rewindCases kill the operator at every write of every workload, once the server has done
// it, and show its successor one resource as it was before the workload began. So the
// successor meets children that were made for a Ray, or a generation of it, that it cannot
// see yet.
func rewindCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 1; write <= len(w.writes); write++ {
			for _, resource := range []string{history.Rays, history.Services, history.Deployments} {
				cases = append(cases, faultCase{
					name:     fmt.Sprintf("rewind/%s/write-%d/%s", w.name, write, resource),
					workload: w,
					faults:   []proxy.Fault{{Write: write, Kind: proxy.Rewind, Phase: proxy.AfterCommit, Resource: resource}},
					then:     afterHold(resource, catchUp),
					env:      withoutWatchList,
					// Until it has caught up, the successor's status is that of a past state.
					allowance: oracle.Allowance{Refused: staleRefusals, Recoveries: 1},
				})
			}
		}
	}
	return cases
}

// staleRefusals is how many writes the server may refuse because they are based on a past state.
// They are tried again at intervals that double, from 5 ms on: eight times in the second that a
// hold lasts, for each of three children.
const staleRefusals = 24

// catchUp lets the watch go on.
func catchUp(_ context.Context, s *scene, resource string) error {
	s.operator.proxy.Release(resource)
	return nil
}

// expire ends the watch, so that what happened meanwhile is never seen.
func expire(_ context.Context, s *scene, resource string) error {
	s.operator.proxy.Expire(resource)
	return nil
}

// restartBlind starts the operator anew at the state where it was held, and lets it go on
// once it has done what it can.
func restartBlind(ctx context.Context, s *scene, resource string) error {
	s.operator.proxy.Kill()
	if err := s.quiet(ctx, 2*holdQuiet); err != nil {
		return err
	}
	s.operator.proxy.Release(resource)
	return nil
}

// awaitHold waits until a watch or a write is held and the operator has done what it can.
func (s *scene) awaitHold(ctx context.Context) error {
	if err := s.awaitHeld(ctx); err != nil {
		return err
	}
	return s.quiet(ctx, holdQuiet)
}

// awaitHeld waits until a watch or a write is held.
func (s *scene) awaitHeld(ctx context.Context) error {
	tick := time.NewTicker(overlooked)
	defer tick.Stop()
	for {
		select {
		case <-s.operator.proxy.Held():
			return nil
		case <-tick.C:
			// The write may be one that tells what the Deployment controller has done.
			if state, err := readState(ctx, s.namespace); err == nil {
				remind(ctx, state.Deployments)
			}
		case <-ctx.Done():
			return errors.New("nothing was held")
		}
	}
}

// afterHold does something to a resource whose watch is held.
func afterHold(resource string, then func(context.Context, *scene, string) error) func(context.Context, *scene, goal) error {
	return func(ctx context.Context, s *scene, _ goal) error {
		if err := s.awaitHold(ctx); err != nil {
			return err
		}
		return then(ctx, s, resource)
	}
}
