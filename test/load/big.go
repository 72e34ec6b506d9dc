package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/kubeflow/ray-operator/test/audit"
)

// workers is how many the big Ray is scaled to.
const workers = 1000

// bigRay has a namespace for itself, by which its writes are told from the others'.
var bigRay = cache.NewObjectName("big", "big")

// measureBig scales one Ray up and back, and creates small ones beside it, one after another.
// How long these take is compared with as many on a cluster that has nothing else to do.
func measureBig(ctx context.Context, s *scene, neighbours int) (*big, error) {
	if err := s.open(ctx, healthy); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Minute, errors.New("it takes more than half an hour"))
	defer cancel()
	result, err := s.measureNeighbours(ctx, neighbours)
	return result, errors.Join(err, s.operator.stop())
}

func (s *scene) measureNeighbours(ctx context.Context, count int) (*big, error) {
	for _, name := range []string{namespace, bigRay.Namespace} {
		if err := s.makeNamespace(ctx, name); err != nil {
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
	if err := s.settle(ctx); err != nil {
		return nil, err
	}

	result := &big{Machine: s.machine, Workers: workers, Quiet: newPercentiles(quiet)}
	mark, err := audit.End(s.auditLog())
	if err != nil {
		return nil, err
	}
	progress("scaling one Ray to %d workers and back, with others created beside it", workers)
	var beside []time.Duration
	result.Cost, err = s.measure(ctx, func(ctx context.Context) error {
		var err error
		beside, err = s.besideOthers(ctx, func(ctx context.Context) error {
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

// scaleBig scales the big Ray, and returns how long it takes until its generation is done.
func (s *scene) scaleBig(ctx context.Context, workers int, generation int64) (seconds float64, err error) {
	start := time.Now()
	if err := s.scale(ctx, bigRay.Namespace, bigRay.Name, workers); err != nil {
		return 0, err
	}
	done, err := s.rayTracker.wait(ctx, version{bigRay, generation})
	return done.Sub(start).Seconds(), err
}

// besideOthers does work, and creates Rays one after another all the while. It returns how long
// each of these took.
func (s *scene) besideOthers(ctx context.Context, work func(context.Context) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	worked := make(chan error, 1)
	go func() { worked <- work(ctx) }()
	var took []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-worked:
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

// createEach creates Rays one after another, and returns how long each took.
func (s *scene) createEach(ctx context.Context, names []string) ([]time.Duration, error) {
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
