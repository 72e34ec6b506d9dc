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

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/tools/cache"
)

// namespace is the namespace of the measured Rays.
const namespace = "bench"

// load is what an operator is measured with.
type load struct {
	rays int
	pods bool
	rest time.Duration
}

// timeout returns the timeout of a phase.
func (l load) timeout() time.Duration {
	return 10*time.Minute + time.Duration(l.rays)*500*time.Millisecond
}

// measure measures each phase of many Rays.
func measure(ctx context.Context, s *setup, load load) (*result, error) {
	done := healthy
	if !load.pods {
		done = observed
	}
	if err := s.open(ctx, done); err != nil {
		return nil, err
	}
	result, err := s.measurePhases(ctx, load)
	return result, errors.Join(err, s.operator.stop())
}

// measurePhases runs and measures all phases.
func (s *setup) measurePhases(ctx context.Context, load load) (*result, error) {
	if err := s.createNamespace(ctx, namespace); err != nil {
		return nil, err
	}
	if err := s.waitSteady(ctx); err != nil {
		return nil, err
	}
	names := rayNames("ray", load.rays)
	result := &result{Machine: s.machine, Rays: load.rays, Pods: load.pods}
	for _, step := range []struct {
		doing   string
		phase   **phase
		measure func(context.Context) (*phase, error)
	}{
		{"creating", &result.Create, func(ctx context.Context) (*phase, error) { return s.measureCreate(ctx, names, load.pods) }},
		{"observing", &result.Rest, func(ctx context.Context) (*phase, error) { return s.measureRest(ctx, load.rest) }},
		{"restarting the operator with", &result.Restart, s.measureRestart},
		{"changing the image of", &result.Image, func(ctx context.Context) (*phase, error) { return s.measureImage(ctx, names) }},
		{"deleting", &result.Delete, func(ctx context.Context) (*phase, error) { return s.measureDelete(ctx, names) }},
	} {
		progress("%s %d Rays", step.doing, load.rays)
		ctx, cancel := context.WithTimeoutCause(ctx, load.rest+load.timeout(), fmt.Errorf("timeout of %s", load.timeout()))
		var err error
		*step.phase, err = step.measure(ctx)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s %d Rays: %w", step.doing, load.rays, err)
		}
	}
	return result, nil
}

// measureCreate creates Rays and waits until all are done.
func (s *setup) measureCreate(ctx context.Context, names []string, pods bool) (*phase, error) {
	phase, err := s.measureEach(ctx, names, 1, func(ctx context.Context, name string) error {
		return s.create(ctx, namespace, name)
	})
	if err == nil && pods {
		phase.Share, err = s.operatorShares(ctx, namespace, names)
	}
	return phase, err
}

// measureImage changes the image of both groups of all Rays, and waits until all are done.
func (s *setup) measureImage(ctx context.Context, names []string) (*phase, error) {
	return s.measureEach(ctx, names, 2, func(ctx context.Context, name string) error {
		return s.setImage(ctx, namespace, name, "rayproject/examples:2")
	})
}

// measureEach changes all Rays, and waits until all are done with a generation.
func (s *setup) measureEach(ctx context.Context, names []string, generation int64, change func(context.Context, string) error) (*phase, error) {
	latencies := make([]time.Duration, len(names))
	phase, err := s.measure(ctx, func(ctx context.Context) error {
		started := make([]time.Time, len(names))
		if err := inParallel(ctx, len(names), func(ctx context.Context, i int) error {
			started[i] = time.Now()
			return change(ctx, names[i])
		}); err != nil {
			return err
		}
		for i, name := range names {
			done, err := s.rayTracker.wait(ctx, version{cache.NewObjectName(namespace, name), generation})
			if err != nil {
				return err
			}
			latencies[i] = done.Sub(started[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	phase.Latency = new(newPercentiles(latencies))
	return phase, nil
}

// measureRest measures the steady state.
func (s *setup) measureRest(ctx context.Context, rest time.Duration) (*phase, error) {
	meter, err := s.meter()
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, rest); err != nil {
		return nil, err
	}
	phase, err := meter.read()
	if err != nil {
		return nil, err
	}
	return phase, meter.readOperator(phase)
}

// measureRestart restarts the operator. It measures the time until it is ready, and its usage until
// the steady state.
func (s *setup) measureRestart(ctx context.Context) (*phase, error) {
	if err := s.operator.stop(); err != nil {
		return nil, err
	}
	return s.measure(ctx, s.operator.start)
}

// measureDelete deletes all Rays and waits until the garbage collector has deleted their children.
func (s *setup) measureDelete(ctx context.Context, names []string) (*phase, error) {
	return s.measure(ctx, func(ctx context.Context) error {
		if err := inParallel(ctx, len(names), func(ctx context.Context, i int) error {
			return s.delete(ctx, namespace, names[i])
		}); err != nil {
			return err
		}
		return s.waitDeleted(ctx, namespace)
	})
}
