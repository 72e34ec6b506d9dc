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
	"errors"
	"fmt"
	"time"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// heldIdle is how long an operator with a stale cache must make no requests to count as idle.
const heldIdle = 500 * time.Millisecond

// withoutWatchList makes informers start with a list, as older clients do. Unlike the start of a
// watch, the response to a list may be stale.
var withoutWatchList = []string{"KUBE_FEATURE_WatchListClient=false"}

// endings are the ways in which a cache stops being stale.
var endings = []struct {
	name string
	then func(context.Context, *setup, string) error
	env  []string
}{
	{name: "catch-up", then: catchUp},
	{name: "expire", then: expire},
	{name: "expire-list", then: expire, env: withoutWatchList},
	{name: "restart", then: restartStale, env: withoutWatchList},
}

// staleCases hold the watch of every resource, starting at every write of every workload and before
// the first.
func staleCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 0; write <= len(w.writes); write++ {
			for _, resource := range []string{history.Rays, history.Services, history.Deployments} {
				for _, ending := range endings {
					allowance := oracle.Allowance{Rejected: staleRejections}
					if ending.name == "restart" && w.tasksAfter != w.tasksBefore {
						// Until its cache has caught up, the status of the next process is stale, and no new generation shows that.
						allowance.Recoveries = 1
					}
					cases = append(cases, faultCase{
						name:      fmt.Sprintf("stale/%s/write-%d/%s/%s", w.name, write, resource, ending.name),
						workload:  w,
						faults:    []proxy.Fault{{Write: write, Kind: proxy.Hold, Resource: resource}},
						then:      afterHold(resource, ending.then),
						env:       ending.env,
						allowance: allowance,
					})
				}
			}
		}
	}
	return cases
}

// rewindCases kill the operator at every write of every workload, after the commit, and show the
// next process one resource as it was before the workload. So that process finds children of a Ray,
// or of a generation of it, that its cache does not have yet.
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
					// Until its cache has caught up, the status of the next process is stale.
					allowance: oracle.Allowance{Rejected: staleRejections, Recoveries: 1},
				})
			}
		}
	}
	return cases
}

// staleRejections is the number of writes that the server may reject because they are based on a
// stale cache. They are retried at intervals that double from 5 ms: eight times in the second that a
// hold lasts, for each of three children.
const staleRejections = 24

// catchUp resumes the watch.
func catchUp(_ context.Context, s *setup, resource string) error {
	s.operator.proxy.Release(resource)
	return nil
}

// expire ends the watch, so that the operator never receives the events since the hold.
func expire(_ context.Context, s *setup, resource string) error {
	s.operator.proxy.Expire(resource)
	return nil
}

// restartStale restarts the operator with the stale state, and resumes the watch once it is idle.
func restartStale(ctx context.Context, s *setup, resource string) error {
	s.operator.proxy.Kill()
	if err := s.awaitIdle(ctx, 2*heldIdle); err != nil {
		return err
	}
	s.operator.proxy.Release(resource)
	return nil
}

// awaitHeldAndIdle waits until a watch or a write is held and the operator is idle.
func (s *setup) awaitHeldAndIdle(ctx context.Context) error {
	if err := s.awaitHeld(ctx); err != nil {
		return err
	}
	return s.awaitIdle(ctx, heldIdle)
}

// awaitHeld waits until a watch or a write is held.
func (s *setup) awaitHeld(ctx context.Context) error {
	tick := time.NewTicker(unobservedAge)
	defer tick.Stop()
	for {
		select {
		case <-s.operator.proxy.Held():
			return nil
		case <-tick.C:
			// The write may depend on the Deployment controller.
			if state, err := readState(ctx, s.namespace); err == nil {
				touchUnobserved(ctx, state.Deployments)
			}
		case <-ctx.Done():
			return errors.New("no watch or write was held")
		}
	}
}

// afterHold returns a step that waits until the watch of a resource is held and the operator is
// idle, and then calls a function.
func afterHold(resource string, then func(context.Context, *setup, string) error) func(context.Context, *setup, goal) error {
	return func(ctx context.Context, s *setup, _ goal) error {
		if err := s.awaitHeldAndIdle(ctx); err != nil {
			return err
		}
		return then(ctx, s, resource)
	}
}
