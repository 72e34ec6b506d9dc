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
	"fmt"
	"time"

	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// operatorShare returns the operator's share of the time until a new Ray was healthy: from the
// creation of the Ray to that of its last Deployment, and from the completion of both Deployments to
// Health. The rest is due to other controllers, the scheduler and kubelets. The times are those of a
// separate watch.
func (s *setup) operatorShare(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, steadyTime) // The events have happened already.
	defer cancel()
	ray := version{name, 1}
	created, err := s.rayTracker.firstSeen(ray)
	if err != nil {
		return 0, err
	}
	healthy, err := s.rayTracker.wait(ctx, ray)
	if err != nil {
		return 0, err
	}
	childrenCreated, complete := created, created
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		child := version{cache.NewObjectName(name.Namespace, resources.DeploymentName(s.newRay(name.Name), role)), 1}
		seen, err := s.deploymentTracker.firstSeen(child)
		if err != nil {
			return 0, err
		}
		done, err := s.deploymentTracker.wait(ctx, child)
		if err != nil {
			return 0, err
		}
		childrenCreated, complete = latest(childrenCreated, seen), latest(complete, done)
	}
	return share(created, childrenCreated, complete, healthy), nil
}

// share adds both parts of the operator's share. Rays and Deployments have separate watches, so an
// effect can be observed before its cause.
func share(created, childrenCreated, complete, healthy time.Time) time.Duration {
	return max(0, childrenCreated.Sub(created)) + max(0, healthy.Sub(complete))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// operatorShares returns the operator's shares for many Rays.
func (s *setup) operatorShares(ctx context.Context, namespace string, names []string) (*percentiles, error) {
	shares := make([]time.Duration, len(names))
	for i, name := range names {
		var err error
		if shares[i], err = s.operatorShare(ctx, cache.NewObjectName(namespace, name)); err != nil {
			return nil, fmt.Errorf("determining the operator's share for Ray %q: %w", name, err)
		}
	}
	return new(newPercentiles(shares)), nil
}
