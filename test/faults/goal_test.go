package faults

import (
	"errors"
	"fmt"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// goal returns what is missing from a state, or nil.
type goal func(*history.State) error

// like is the goal that all is as in another state.
func like(fresh *history.State) goal {
	return func(state *history.State) error {
		if diff := oracle.Diff(state, fresh); diff != "" {
			return errors.New(diff)
		}
		return nil
	}
}

// gone is the goal that nothing is left.
func gone(state *history.State) error {
	if left := len(state.Rays) + len(state.Services) + len(state.Deployments); left > 0 {
		return fmt.Errorf("%d objects are left", left)
	}
	return nil
}

// orphaned is the goal that the Ray is gone and all its children are left, without an owner.
func orphaned(state *history.State) error {
	if len(state.Rays) > 0 || len(state.Services) != 1 || len(state.Deployments) != 2 {
		return fmt.Errorf("there are %d Rays, %d Services and %d Deployments", len(state.Rays), len(state.Services), len(state.Deployments))
	}
	for i := range state.Deployments {
		if len(state.Deployments[i].OwnerReferences) > 0 {
			return fmt.Errorf("%s has an owner", state.Deployments[i].Name)
		}
	}
	return nil
}
