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

// contested are the workloads over which two operators meet.
var contested = map[string]bool{"create": true, "image": true, "ports": true, "worker-removed": true, "recreate": true}

// separations are how the operator that leads loses its lease without knowing it.
var separations = []struct {
	name string
	// lose happens when a write of the leader is on its way.
	lose func(*scene)
	// wait waits until the leader must not act any more.
	wait func(context.Context, *scene, goal) error
	// wake lets the leader go on.
	wake func(*scene) error
}{
	{
		name: "paused",
		lose: func(s *scene) { _ = s.operator.signal(syscall.SIGSTOP) }, // if it failed, nobody would take over
		wait: awaitSuccess,
		wake: func(s *scene) error { return s.operator.signal(syscall.SIGCONT) },
	},
	{
		name: "lease-unreachable",
		lose: func(s *scene) { s.operator.proxy.Break(history.Leases, true) },
		wait: awaitSuccess,
		wake: func(s *scene) error {
			s.operator.proxy.Break(history.Leases, false)
			return nil
		},
	},
	{
		// Nobody leads then, and nothing happens until somebody does.
		name: "leases-down",
		lose: func(s *scene) {
			for _, operator := range s.operators() {
				operator.proxy.Break(history.Leases, true)
			}
		},
		wait: func(ctx context.Context, s *scene, _ goal) error { return s.operator.awaitEnd(ctx) },
		wake: func(s *scene) error {
			for _, operator := range s.operators() {
				operator.proxy.Break(history.Leases, false)
			}
			return nil
		},
	},
}

// awaitSuccess waits until the successor of a leader leads, and has done all that it has to. Its
// first write can come long after the last of its predecessor.
func awaitSuccess(ctx context.Context, s *scene, goal goal) error {
	if err := s.awaitLeader(ctx, s.leader); err != nil {
		return err
	}
	return s.await(ctx, goal)
}

// awaitEnd waits until a process of the operator has ended by itself.
func (o *operator) awaitEnd(ctx context.Context) error {
	return eventually(ctx, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !slices.ContainsFunc(o.processes, func(p history.Process) bool { return !p.Killed }) {
			return errors.New("the operator does not give up")
		}
		return nil
	})
}

// doubleCases run two operators, of which one leads. At each of its writes the leader
// loses its lease, while the write is still on its way, and the other takes over, if it can
// have the lease. Then the write arrives.
func doubleCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 1; contested[w.name] && write <= len(w.writes); write++ {
			for _, separation := range separations {
				for _, phase := range errorPhases {
					cases = append(cases, faultCase{
						name:     fmt.Sprintf("double/%s/write-%d/%s/%s", w.name, write, separation.name, phase),
						workload: w,
						faults:   []proxy.Fault{{Write: write, Kind: proxy.Stall, Phase: phase}},
						prepare: func(t *testing.T, s *scene) {
							s.addStandby(t)
							s.operator.stalled = func() { separation.lose(s) }
						},
						then: func(ctx context.Context, s *scene, goal goal) error {
							if err := s.awaitHeld(ctx); err != nil {
								return err
							}
							if err := separation.wait(ctx, s, goal); err != nil {
								return err
							}
							s.operator.proxy.Resume()
							return separation.wake(s)
						},
						// The write that arrives late is refused, and with it perhaps one more: a
						// process that was woken may write once before it looks at its lease.
						allowance: oracle.Allowance{LostEvents: true, LostLease: true, Refused: 2},
					})
				}
			}
		}
	}
	return cases
}

// rivalCases run every workload under two operators that both act, as two without a lease do. The
// second one is as fast as the first, or its view of a resource lags until the first has finished.
func rivalCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		name := fmt.Sprintf("double/%s/both-act/", w.name)
		// What both do is done once, and refused once. Who is refused tries it again until it sees why.
		allowance := oracle.Allowance{Refused: staleRefusals}
		cases = append(cases, faultCase{name: name + "side-by-side", workload: w, prepare: func(t *testing.T, s *scene) { s.addRival(t) }, allowance: allowance})
		for _, resource := range []string{history.Rays, history.Services, history.Deployments} {
			// A status is of what its writer sees of the children.
			allowance.TwoViews = resource != history.Rays
			cases = append(cases, faultCase{
				name: name + "behind-in-" + resource, workload: w, allowance: allowance,
				prepare: func(t *testing.T, s *scene) {
					s.addRival(t)
					s.standbyFaults = []proxy.Fault{{Kind: proxy.Hold, Resource: resource}}
				},
				then: func(ctx context.Context, s *scene, goal goal) error {
					if err := s.await(ctx, goal); err != nil {
						return err
					}
					// They may not rest before: each tells what it sees.
					s.standby.proxy.Release(resource)
					return nil
				},
			})
		}
	}
	return cases
}

// addRival adds a second operator to a scene, which knows nothing of the first.
func (s *scene) addRival(t *testing.T) {
	t.Helper()
	s.standby = newOperatorOf(t, "rival", s.namespace)
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
		err = s.quiet(t.Context(), holdQuiet)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// leaseArgs make operators agree on who acts, and that fast.
func leaseArgs(namespace string) []string {
	return []string{
		"--leader-elect", "--leader-elect-resource-namespace=" + namespace,
		"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=2400ms", "--leader-elect-retry-period=300ms",
	}
}

// addStandby makes the operator of a scene one that leads, and adds one that stands by.
func (s *scene) addStandby(t *testing.T) {
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

// allowLease gives operators the right to a lease in a namespace, as they have it in their own.
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
	// The API server learns of its own rules by a watch.
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

// leaseName is the name of the lease that operators compete for.
const leaseName = "ray-operator"

// awaitLeader waits until an operator leads that is not the one that led before, and notes which.
func (s *scene) awaitLeader(ctx context.Context, before string) error {
	return eventually(ctx, func() error {
		lease, err := kube.CoordinationV1().Leases(s.namespace).Get(ctx, leaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		holder := lease.Spec.HolderIdentity
		if holder == nil || *holder == "" || *holder == before {
			return errors.New("no other operator leads")
		}
		s.leader = *holder
		return nil
	})
}

// eventually waits until check returns no error, for a while.
func eventually(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, *patience)
	defer cancel()
	return await(ctx, check)
}
