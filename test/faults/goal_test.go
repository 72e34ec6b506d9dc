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
	"errors"
	"fmt"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// goal returns why a state is not the desired one, or nil if it is.
type goal func(*history.State) error

// equalTo is the goal that the state equals that of a fresh deployment.
func equalTo(fresh *history.State) goal {
	return func(state *history.State) error {
		if diff := oracle.Diff(state, fresh); diff != "" {
			return errors.New(diff)
		}
		return nil
	}
}

// gone is the goal that no objects are left.
func gone(state *history.State) error {
	if left := len(state.Rays) + len(state.Services) + len(state.Deployments); left > 0 {
		return fmt.Errorf("%d objects are left", left)
	}
	return nil
}

// orphaned is the goal that the Ray is gone and its children are left without an owner.
func orphaned(state *history.State) error {
	if len(state.Rays) > 0 || len(state.Services) != 1 || len(state.Deployments) != 2 {
		return fmt.Errorf("there are %d Rays, %d Services and %d Deployments, want 0, 1 and 2", len(state.Rays), len(state.Services), len(state.Deployments))
	}
	for i := range state.Deployments {
		if len(state.Deployments[i].OwnerReferences) > 0 {
			return fmt.Errorf("Deployment %q has an owner", state.Deployments[i].Name)
		}
	}
	return nil
}
