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
	"encoding/json"
	"errors"
	"sync"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// freshState is the state of a Ray that is deployed when it is first requested.
type freshState struct {
	once  sync.Once
	state *history.State
	err   error
}

// freshStates are keyed by spec and tasks.
var (
	freshMu     sync.Mutex
	freshStates = map[string]*freshState{}
)

// fresh returns the state after an undisturbed deployment of a Ray, with a number of tasks if it runs.
func fresh(t *testing.T, spec *rayv1.RaySpec, tasks int64) *history.State {
	t.Helper()
	key, err := json.Marshal(map[string]any{"spec": spec, "tasks": tasks})
	if err != nil {
		t.Fatal(err)
	}
	freshMu.Lock()
	f, found := freshStates[string(key)]
	if !found {
		f = &freshState{err: errors.New("the case that deployed it has failed")}
		freshStates[string(key)] = f
	}
	freshMu.Unlock()
	f.once.Do(func() { f.state, f.err = deployFresh(t, spec, tasks) })
	if f.err != nil {
		t.Fatalf("fresh deployment: %v", f.err)
	}
	return f.state
}

func deployFresh(t *testing.T, spec *rayv1.RaySpec, tasks int64) (*history.State, error) {
	ctx, cancel := context.WithTimeout(t.Context(), *stepTimeout)
	defer cancel()
	s := newSetup(t)
	if err := s.deploy(t, spec, tasks); err != nil {
		return nil, err
	}
	reached := healthy
	if runs(spec) {
		reached = hasWorkers(tasks)
	}
	// A mutant that fails even without faults must be attributed to an oracle, too.
	if err := s.await(ctx, reached); err != nil {
		return nil, violation(oracle.EndState, err)
	}
	if err := s.awaitSteadyState(ctx); err != nil {
		return nil, violation(oracle.SteadyState, err)
	}
	return readState(ctx, s.namespace)
}

func violation(name oracle.Name, err error) error {
	return errors.New(oracle.Violation{Oracle: name, Text: err.Error()}.String())
}

// healthy is the goal that there is one Ray, and that it is healthy, or suspended without Pods.
func healthy(state *history.State) error {
	if len(state.Rays) != 1 || !oracle.Healthy(&state.Rays[0]) && !oracle.Suspended(&state.Rays[0]) {
		return errors.New("the Ray is neither healthy nor suspended")
	}
	return nil
}
