package faults

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// freshState is the state of a Ray that is deployed the first time that it is asked for.
type freshState struct {
	once  sync.Once
	state *history.State
	err   error
}

// freshStates are by spec.
var (
	freshMu     sync.Mutex
	freshStates = map[string]*freshState{}
)

// fresh returns the state after a Ray with a spec was created, and nothing else happened.
func fresh(t *testing.T, spec *rayv1.RaySpec) *history.State {
	t.Helper()
	key, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	freshMu.Lock()
	f, found := freshStates[string(key)]
	if !found {
		f = &freshState{err: errors.New("another case has ended while it made one")}
		freshStates[string(key)] = f
	}
	freshMu.Unlock()
	f.once.Do(func() { f.state, f.err = deployFresh(t, spec) })
	if f.err != nil {
		t.Fatalf("a fresh deployment: %v", f.err)
	}
	return f.state
}

func deployFresh(t *testing.T, spec *rayv1.RaySpec) (*history.State, error) {
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	s := newScene(t)
	if err := createRay(ctx, s.namespace, spec); err != nil {
		return nil, err
	}
	// A defect that shows also where nothing was made to go wrong has to have an oracle's name, too.
	if err := s.await(ctx, healthy); err != nil {
		return nil, violation(oracle.EndState, err)
	}
	if err := s.rest(ctx); err != nil {
		return nil, violation(oracle.Rest, err)
	}
	return readState(ctx, s.namespace)
}

func violation(name oracle.Name, err error) error {
	return errors.New(oracle.Violation{Oracle: name, Text: err.Error()}.String())
}

// healthy is the goal that a Ray says that all is well.
func healthy(state *history.State) error {
	if len(state.Rays) != 1 || !oracle.Healthy(&state.Rays[0]) {
		return errors.New("there is no healthy Ray")
	}
	return nil
}
