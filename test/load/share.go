package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// operatorShare returns for how much of the time until a new Ray was healthy one had to wait for
// the operator: from the Ray to its last Deployment, and from the moment when both of these were
// complete to Health. In between, controllers, scheduler and kubelets were at work.
//
// All of it is as a watch beside the operator has seen it.
func (s *scene) operatorShare(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime) // all of it has happened already
	defer cancel()
	ray := version{name, 1}
	born, err := s.rayTracker.firstSeen(ray)
	if err != nil {
		return 0, err
	}
	healthy, err := s.rayTracker.wait(ctx, ray)
	if err != nil {
		return 0, err
	}
	made, ready := born, born
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		child := version{cache.NewObjectName(name.Namespace, resources.DeploymentName(s.newRay(name.Name), role)), 1}
		seen, err := s.deploymentTracker.firstSeen(child)
		if err != nil {
			return 0, err
		}
		complete, err := s.deploymentTracker.wait(ctx, child)
		if err != nil {
			return 0, err
		}
		made, ready = latest(made, seen), latest(ready, complete)
	}
	return waited(born, made, ready, healthy), nil
}

// waited adds up both parts of the operator's share. Rays and Deployments are watched side by
// side, so that an effect can be seen before its cause.
func waited(born, made, ready, healthy time.Time) time.Duration {
	return max(0, made.Sub(born)) + max(0, healthy.Sub(ready))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// operatorShares returns the operator's share for many Rays.
func (s *scene) operatorShares(ctx context.Context, namespace string, names []string) (*percentiles, error) {
	shares := make([]time.Duration, len(names))
	for i, name := range names {
		var err error
		if shares[i], err = s.operatorShare(ctx, cache.NewObjectName(namespace, name)); err != nil {
			return nil, fmt.Errorf("finding the operator's share for Ray %s: %w", name, err)
		}
	}
	return new(newPercentiles(shares)), nil
}
