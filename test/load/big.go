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
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/kubeflow/ray-operator/test/audit"
)

// workers is the number of workers that the big Ray is scaled to.
const workers = 1000

// bigRay has a namespace of its own, so that its requests can be counted separately.
var bigRay = cache.NewObjectName("big", "big")

// measureBig scales one Ray up and back, and creates small ones meanwhile, one after another. They
// are compared with small Rays that are created on a quiet cluster.
func measureBig(ctx context.Context, s *setup, quiet int) (*big, error) {
	if err := s.open(ctx, healthy); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Minute, errors.New("timeout of 30 minutes"))
	defer cancel()
	result, err := s.measureBeside(ctx, quiet)
	return result, errors.Join(err, s.operator.stop())
}

// measureBeside runs the measurement with a number of Rays on a quiet cluster.
func (s *setup) measureBeside(ctx context.Context, count int) (*big, error) {
	for _, name := range []string{namespace, bigRay.Namespace} {
		if err := s.createNamespace(ctx, name); err != nil {
			return nil, err
		}
	}
	progress("creating %d Rays one after another", count)
	quiet, err := s.createEach(ctx, rayNames("quiet", count))
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, bigRay.Namespace, bigRay.Name); err != nil {
		return nil, err
	}
	if _, err := s.rayTracker.wait(ctx, version{bigRay, 1}); err != nil {
		return nil, err
	}
	if err := s.waitSteady(ctx); err != nil {
		return nil, err
	}

	result := &big{Machine: s.machine, Workers: workers, Quiet: newPercentiles(quiet)}
	mark, err := audit.End(s.auditLog())
	if err != nil {
		return nil, err
	}
	progress("scaling one Ray to %d workers and back while creating others", workers)
	var beside []time.Duration
	result.Cost, err = s.measure(ctx, func(ctx context.Context) error {
		var err error
		beside, err = s.createDuring(ctx, func(ctx context.Context) error {
			var err error
			if result.UpSeconds, err = s.scaleBig(ctx, workers, 2); err != nil {
				return err
			}
			result.DownSeconds, err = s.scaleBig(ctx, int(*s.sample.Spec.Worker.Replicas), 3)
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	result.Beside = newPercentiles(beside)
	share, err := s.operatorShares(ctx, namespace, rayNames("beside", len(beside)))
	if err != nil {
		return nil, err
	}
	result.Share = *share
	counted := tally{}
	for request, err := range audit.Since(s.auditLog(), mark, userAgent) {
		if err != nil {
			return nil, err
		}
		if request.ObjectRef != nil && request.ObjectRef.Namespace == bigRay.Namespace {
			counted.add(request)
		}
	}
	result.Requests = counted.sorted()
	return result, nil
}

// scaleBig scales the big Ray, and returns the time until its new generation is done.
func (s *setup) scaleBig(ctx context.Context, workers int, generation int64) (seconds float64, err error) {
	start := time.Now()
	if err := s.scale(ctx, bigRay.Namespace, bigRay.Name, workers); err != nil {
		return 0, err
	}
	done, err := s.rayTracker.wait(ctx, version{bigRay, generation})
	return done.Sub(start).Seconds(), err
}

// createDuring creates Rays one after another during work. It returns the time that each of them
// took.
func (s *setup) createDuring(ctx context.Context, work func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- work(ctx) }()
	var took []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-finished:
			return took, err
		default:
		}
		each, err := s.createEach(ctx, []string{rayName("beside", i)})
		if err != nil {
			return nil, err
		}
		took = append(took, each...)
	}
}

// createEach creates Rays one after another, and returns the time that each of them took.
func (s *setup) createEach(ctx context.Context, names []string) ([]time.Duration, error) {
	var took []time.Duration
	for _, name := range names {
		start := time.Now()
		if err := s.create(ctx, namespace, name); err != nil {
			return nil, err
		}
		done, err := s.rayTracker.wait(ctx, version{cache.NewObjectName(namespace, name), 1})
		if err != nil {
			return nil, err
		}
		took = append(took, done.Sub(start))
	}
	return took, nil
}
