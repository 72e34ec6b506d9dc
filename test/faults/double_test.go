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
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// failoverWorkloads are the workloads during which the leader loses its lease.
var failoverWorkloads = map[string]bool{"create": true, "image": true, "ports": true, "worker-removed": true, "recreate": true}

// leaseLosses are the ways in which the leader loses its lease without noticing.
var leaseLosses = []struct {
	name string
	// lose runs while a write of the leader is in flight.
	lose func(*setup)
	// wait returns once the leader is no longer allowed to write.
	wait func(context.Context, *setup, goal) error
	// resume lets the leader continue.
	resume func(*setup) error
}{
	{
		name:   "paused",
		lose:   func(s *setup) { _ = s.operator.signal(syscall.SIGSTOP) }, // if this fails, awaitFailover does
		wait:   awaitFailover,
		resume: func(s *setup) error { return s.operator.signal(syscall.SIGCONT) },
	},
	{
		name: "lease-unreachable",
		lose: func(s *setup) { s.operator.proxy.Break(history.Leases, true) },
		wait: awaitFailover,
		resume: func(s *setup) error {
			s.operator.proxy.Break(history.Leases, false)
			return nil
		},
	},
	{
		// There is no leader until leases are available again.
		name: "leases-down",
		lose: func(s *setup) {
			for _, operator := range s.operators() {
				operator.proxy.Break(history.Leases, true)
			}
		},
		wait: func(ctx context.Context, s *setup, _ goal) error { return s.operator.awaitExit(ctx) },
		resume: func(s *setup) error {
			for _, operator := range s.operators() {
				operator.proxy.Break(history.Leases, false)
			}
			return nil
		},
	},
}

// awaitFailover waits until the standby leads and has reached the goal. Its first write can be long
// after the last write of its predecessor.
func awaitFailover(ctx context.Context, s *setup, goal goal) error {
	if err := s.awaitLeader(ctx, s.leader); err != nil {
		return err
	}
	return s.await(ctx, goal)
}

// awaitExit waits until a process of the operator has exited on its own.
func (o *operator) awaitExit(ctx context.Context) error {
	return eventually(ctx, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !slices.ContainsFunc(o.processes, func(p history.Process) bool { return !p.Killed }) {
			return errors.New("the operator has not exited")
		}
		return nil
	})
}

// doubleCases run two operators with leader election. At each of its writes the leader loses its
// lease while the write is in flight, and the standby takes over if it can acquire the lease. Then
// the write arrives.
func doubleCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 1; failoverWorkloads[w.name] && write <= len(w.writes); write++ {
			for _, loss := range leaseLosses {
				for _, phase := range errorPhases {
					cases = append(cases, faultCase{
						name:     fmt.Sprintf("double/%s/write-%d/%s/%s", w.name, write, loss.name, phase),
						workload: w,
						faults:   []proxy.Fault{{Write: write, Kind: proxy.Stall, Phase: phase}},
						prepare: func(t *testing.T, s *setup) {
							s.addStandby(t)
							s.operator.stalled = func() { loss.lose(s) }
						},
						then: func(ctx context.Context, s *setup, goal goal) error {
							if err := s.awaitHeld(ctx); err != nil {
								return err
							}
							if err := loss.wait(ctx, s, goal); err != nil {
								return err
							}
							s.operator.proxy.Resume()
							return loss.resume(s)
						},
						// The late write is rejected. So may be one more: a resumed process can write once
						// before it checks its lease.
						allowance: oracle.Allowance{LostEvents: true, LostLease: true, Rejected: 2},
					})
				}
			}
		}
	}
	return cases
}

// bothActiveCases run every workload under two operators without leader election. The caches of the
// second are up to date, or the cache of one resource is stale until the first has reached the goal.
func bothActiveCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		name := fmt.Sprintf("double/%s/both-active/", w.name)
		// Of two equal writes one is rejected. Its sender retries until its cache shows the other.
		allowance := oracle.Allowance{Rejected: staleRejections}
		cases = append(cases, faultCase{name: name + "in-sync", workload: w, prepare: func(t *testing.T, s *setup) { s.addActive(t) }, allowance: allowance})
		for _, resource := range []string{history.Rays, history.Services, history.Deployments} {
			// A status reports the children that its writer sees.
			allowance.DivergentViews = resource != history.Rays
			cases = append(cases, faultCase{
				name: name + "stale-" + resource, workload: w, allowance: allowance,
				prepare: func(t *testing.T, s *setup) {
					s.addActive(t)
					s.standbyFaults = []proxy.Fault{{Kind: proxy.Hold, Resource: resource}}
				},
				then: func(ctx context.Context, s *setup, goal goal) error {
					if err := s.await(ctx, goal); err != nil {
						return err
					}
					// There may be no steady state before: each reports what it sees.
					s.standby.proxy.Release(resource)
					return nil
				},
			})
		}
	}
	return cases
}

// addActive adds a second operator without leader election to a setup.
func (s *setup) addActive(t *testing.T) {
	t.Helper()
	s.standby = newOperatorOf(t, "second", s.namespace)
	if err := s.standby.start(); err != nil {
		t.Fatal(err)
	}
	err := eventually(t.Context(), func() error {
		if s.standby.proxy.LastActive().IsZero() {
			return errors.New("the second operator has not started")
		}
		return nil
	})
	if err == nil {
		err = s.awaitIdle(t.Context(), heldIdle)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// leaseArgs enable leader election with short durations.
func leaseArgs(namespace string) []string {
	return []string{
		"--leader-elect", "--leader-elect-resource-namespace=" + namespace,
		"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=2400ms", "--leader-elect-retry-period=300ms",
	}
}

// addStandby restarts the operator of a setup with leader election, and adds a standby.
func (s *setup) addStandby(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if err := allowLease(ctx, s.namespace); err != nil {
		t.Fatal(err)
	}
	s.operator.kill()
	s.operator.args = append(s.operator.args, leaseArgs(s.namespace)...)
	if err := s.operator.start(); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitLeader(ctx, ""); err != nil {
		t.Fatal(err)
	}

	s.standby = newOperatorOf(t, "standby", s.namespace, leaseArgs(s.namespace)...)
	if err := s.standby.start(); err != nil {
		t.Fatal(err)
	}
}

// allowLease authorizes operators to use a lease in a namespace, as the shipped Role does in theirs.
func allowLease(ctx context.Context, namespace string) error {
	shipped, err := kube.RbacV1().Roles("ray-system").Get(ctx, "ray-operator-leader-election", metav1.GetOptions{})
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: shipped.Name}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: shipped.Rules}
	if _, err := kube.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: shipped.Namespace, Name: "ray-operator"}},
	}
	if _, err = kube.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	// The API server's authorizer watches its rules, so they apply with a delay.
	asOperator, err := kubernetes.NewForConfig(operatorConfig)
	if err != nil {
		return err
	}
	return eventually(ctx, func() error {
		_, err := asOperator.CoordinationV1().Leases(namespace).Get(ctx, leaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// leaseName is the name of the operators' lease.
const leaseName = "ray-operator"

// awaitLeader waits until an operator leads that is not the previous leader, and records it.
func (s *setup) awaitLeader(ctx context.Context, previous string) error {
	return eventually(ctx, func() error {
		lease, err := kube.CoordinationV1().Leases(s.namespace).Get(ctx, leaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		holder := lease.Spec.HolderIdentity
		if holder == nil || *holder == "" || *holder == previous {
			return errors.New("no other operator leads")
		}
		s.leader = *holder
		return nil
	})
}

// eventually polls until check returns nil, at most for -step-timeout.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, *stepTimeout)
	defer cancel()
	return poll(ctx, check)
}
