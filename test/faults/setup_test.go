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
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
	"github.com/kubeflow/ray-operator/test/internal/fakeray"
)

// setup is the namespace of a case, with its operators and their recorder.
type setup struct {
	namespace string
	operator  *operator
	// standby is a second operator, if any. standbyFaults are its faults.
	standby       *operator
	standbyFaults []proxy.Fault
	// leader is the identity of the leader in the lease.
	leader   string
	recorder *recorder
	// ray is nil if Ray does not run.
	ray *fakeray.Ray
}

// operators returns all operators.
func (s *setup) operators() []*operator {
	if s.standby == nil {
		return []*operator{s.operator}
	}
	return []*operator{s.operator, s.standby}
}

// newSetup creates a namespace, records its objects, and starts an operator for it.
func newSetup(t *testing.T, env ...string) *setup {
	t.Helper()
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "faults-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Some specs require it, and their fresh deployments do, too.
	if err := createServiceAccount(t.Context(), namespace.Name); err != nil {
		t.Fatal(err)
	}
	s := &setup{namespace: namespace.Name, recorder: record(t, namespace.Name)}
	t.Cleanup(func() {
		// The namespace is deleted with the cluster: deleting it now costs more.
		if err := deleteAll(context.Background(), s.namespace); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	s.operator = newOperatorOf(t, "operator", s.namespace)
	s.operator.env = append(s.operator.env, env...)
	if err := s.operator.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// arm starts counting writes, and arms the faults of the first operator and of the second.
func (s *setup) arm(ctx context.Context, faults []proxy.Fault) error {
	if s.standby != nil {
		if err := s.standby.proxy.Arm(ctx, s.standbyFaults); err != nil {
			return err
		}
	}
	return s.operator.proxy.Arm(ctx, faults)
}

// finish waits for the goal and the steady state, stops the operators, and returns the history.
func (s *setup) finish(ctx context.Context, t *testing.T, goal goal) *history.History {
	t.Helper()
	h := &history.History{}
	var err error
	if h.Converged, err = s.converge(ctx, goal); err == nil {
		h.Sizes, err = s.measure(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), *stepTimeout)
	defer cancel()
	end, err := readState(after, s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	h.End = *end
	// During its shutdown the operator sends the remaining events.
	for _, operator := range s.operators() {
		if err := operator.close(h); err != nil {
			t.Error(err)
		}
	}
	if err := readEvents(after, s.namespace, &h.End); err != nil {
		t.Error(err)
	}
	if h.Versions, err = s.recorder.history(); err != nil {
		t.Error(err)
	}
	return h
}

// converge waits for the goal and the steady state, and returns when the goal was reached. The goal
// may be reached only temporarily: after a child was created again and before the status reports
// it, everything but the Pods equals the end state.
func (s *setup) converge(ctx context.Context, goal goal) (time.Time, error) {
	for {
		if err := s.await(ctx, goal); err != nil {
			return time.Time{}, err
		}
		reached := time.Now()
		if err := s.awaitSteadyState(ctx); err != nil {
			return reached, err
		}
		state, err := readState(ctx, s.namespace)
		if err != nil || goal(state) == nil {
			return reached, err
		}
	}
}

// awaitSteadyState waits until the operator has been idle for the idle window.
func (s *setup) awaitSteadyState(ctx context.Context) error {
	return s.awaitIdle(ctx, idleWindow)
}

// awaitIdle waits until the operator has made no request for a duration.
func (s *setup) awaitIdle(ctx context.Context, window time.Duration) error {
	for {
		since := time.Since(s.operator.proxy.LastActive())
		if s.standby != nil {
			since = min(since, time.Since(s.standby.proxy.LastActive()))
		}
		if since >= window {
			return nil
		}
		select {
		case <-time.After(window - since):
		case <-ctx.Done():
			return fmt.Errorf("the operator does not reach a steady state: %w", context.Cause(ctx))
		}
	}
}

// await waits until the namespace has reached a goal.
func (s *setup) await(ctx context.Context, goal goal) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last error
	for {
		state, err := readState(ctx, s.namespace)
		if err == nil {
			err = goal(state)
			touchUnobserved(ctx, state.Deployments)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // not that of a request that the timeout has ended
		}
		select {
		case <-s.recorder.changed:
			// More changes usually follow at once.
			time.Sleep(50 * time.Millisecond)
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the goal is not reached: %w", last)
		}
	}
}

// unobservedAge is the age at which a Deployment without a status counts as missed by the Deployment
// controller. Meanwhile, an operator with a cache that is held retries once per second, so the age is
// far below what the limits of rejected writes allow.
const unobservedAge = 10 * time.Second

// touchUnobserved makes the Deployment controller sync Deployments that it has missed: it never
// syncs some of those that are created under the name of one that was just deleted. A label is
// added and removed, so that nothing remains.
func touchUnobserved(ctx context.Context, deployments []appsv1.Deployment) {
	for i := range deployments {
		d := &deployments[i]
		if d.Status.ObservedGeneration > 0 || time.Since(d.CreationTimestamp.Time) < unobservedAge {
			continue
		}
		fmt.Fprintf(os.Stderr, "the Deployment controller has missed Deployment %s/%s\n", d.Namespace, d.Name)
		for _, value := range []string{`""`, "null"} {
			err := patch(ctx, d.Namespace, history.Deployments, d.Name, fmt.Sprintf(`{"metadata":{"labels":{"example.com/touch":%s}}}`, value))
			if err != nil {
				fmt.Fprintf(os.Stderr, "patching Deployment %s/%s: %v\n", d.Namespace, d.Name, err)
			}
		}
	}
}
