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
)

// scene is where a case takes place.
type scene struct {
	namespace string
	operator  *operator
	// standby is a second operator, if there is one, and standbyFaults what happens to it.
	standby       *operator
	standbyFaults []proxy.Fault
	// leader is who of the two leads, as the lease names it.
	leader   string
	recorder *recorder
}

// operators returns all operators.
func (s *scene) operators() []*operator {
	if s.standby == nil {
		return []*operator{s.operator}
	}
	return []*operator{s.operator, s.standby}
}

// newScene makes a namespace that is watched, and starts an operator in it.
func newScene(t *testing.T, env ...string) *scene {
	t.Helper()
	namespace, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "faults-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Some Rays' Pods run as it, and it has to be there also where a Ray is deployed afresh.
	if err := createServiceAccount(t.Context(), namespace.Name); err != nil {
		t.Fatal(err)
	}
	s := &scene{namespace: namespace.Name, recorder: record(t, namespace.Name)}
	t.Cleanup(func() {
		// The namespace goes with the cluster: taking it down costs more than leaving it.
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

// arm starts to count writes. The faults are the first operator's; the second one has its own.
func (s *scene) arm(ctx context.Context, faults []proxy.Fault) error {
	if s.standby != nil {
		if err := s.standby.proxy.Arm(ctx, s.standbyFaults); err != nil {
			return err
		}
	}
	return s.operator.proxy.Arm(ctx, faults)
}

// finish waits until the goal is reached and the operator rests, and returns the history.
func (s *scene) finish(ctx context.Context, t *testing.T, goal goal) *history.History {
	t.Helper()
	h := &history.History{}
	var err error
	if h.Converged, err = s.converge(ctx, goal); err == nil {
		h.Sizes, err = s.measure(ctx)
	}
	if err != nil {
		t.Error(err)
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), *patience)
	defer cancel()
	end, err := readState(after, s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	h.End = *end
	// Stopping gives the operator the time to send its events.
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

// converge waits until the goal is reached and the operator rests, and returns when it was
// reached. It may have looked so for a moment only: between a child that was made again and
// the status that tells of it, all is as in the end, but for the Pods.
func (s *scene) converge(ctx context.Context, goal goal) (time.Time, error) {
	for {
		if err := s.await(ctx, goal); err != nil {
			return time.Time{}, err
		}
		reached := time.Now()
		if err := s.rest(ctx); err != nil {
			return reached, err
		}
		state, err := readState(ctx, s.namespace)
		if err != nil || goal(state) == nil {
			return reached, err
		}
	}
}

// rest waits until the operator has not done anything for the quiet window.
func (s *scene) rest(ctx context.Context) error {
	return s.quiet(ctx, quietWindow)
}

// quiet waits until the operator has not made a request for some time.
func (s *scene) quiet(ctx context.Context, window time.Duration) error {
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
			return fmt.Errorf("the operator does not rest: %w", context.Cause(ctx))
		}
	}
}

// await waits until all faults have happened and a goal is reached.
func (s *scene) await(ctx context.Context, goal goal) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		state, err := readState(ctx, s.namespace)
		if err == nil {
			err = goal(state)
			remind(ctx, state.Deployments)
		}
		if err == nil {
			return nil
		}
		select {
		case <-s.recorder.changed:
			// What follows from this change mostly comes at once.
			time.Sleep(50 * time.Millisecond)
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the Ray does not become as wanted: %w", err)
		}
	}
}

// overlooked is how old a Deployment is that the Deployment controller has overlooked.
const overlooked = 30 * time.Second

// remind makes the Deployment controller look at what it has overlooked. Some of those that
// are made again under the name of one that was just deleted it never looks at by itself,
// which is not the operator's affair. A label comes and goes, so that nothing stays.
func remind(ctx context.Context, deployments []appsv1.Deployment) {
	for i := range deployments {
		d := &deployments[i]
		if d.Status.ObservedGeneration > 0 || time.Since(d.CreationTimestamp.Time) < overlooked {
			continue
		}
		fmt.Fprintf(os.Stderr, "the Deployment controller has overlooked %s/%s\n", d.Namespace, d.Name)
		for _, value := range []string{`""`, "null"} {
			err := patch(ctx, d.Namespace, history.Deployments, d.Name, fmt.Sprintf(`{"metadata":{"labels":{"example.com/reminder":%s}}}`, value))
			if err != nil {
				fmt.Fprintln(os.Stderr, "reminding it:", err)
			}
		}
	}
}
