package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// outage is one way in which what the operator stands on goes away, and comes back.
type outage struct {
	name string
	// strike brings it about, lets the users act, and returns when all is back.
	strike    func(context.Context, *stage) error
	allowance oracle.Allowance
}

var outages = []outage{
	{name: "apiserver-killed", strike: killing("kube-apiserver"), allowance: outageAllowance},
	{name: "etcd-killed", strike: killing("etcd"), allowance: outageAllowance},
	{name: "both-killed", strike: killing("etcd", "kube-apiserver"), allowance: outageAllowance},
	{name: "apiserver-paused", strike: pausing, allowance: outageAllowance},
	{name: "compacted", strike: compacting, allowance: outageAllowance},
	{name: "etcd-full", strike: filling, allowance: outageAllowance},
	{name: "controllers-away", strike: withoutControllers, allowance: outageAllowance},
}

// outageAllowance is what an outage excuses. Each Ray is tried again at intervals that
// double from 5 ms on: eleven times in the ten seconds that an outage lasts at most. In each
// try the server may refuse every write. What it refuses is a problem that is told in the
// status and in an event, if these get through, and from which the Ray then recovers.
var outageAllowance = oracle.Allowance{LostEvents: true, Unanswered: true, Refused: 11 * 4, Problems: 4, Warnings: 4, Recoveries: 2}

// away returns how long a component is away.
func (st *stage) away() time.Duration {
	return 2*time.Second + time.Duration(st.random.Int64N(int64(3*time.Second)))
}

// killing kills components, all of them before any is started again.
func killing(components ...string) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error {
		st.begin()
		time.Sleep(lead)
		err := st.cluster(ctx, "kill", components...)
		time.Sleep(st.away())
		return errors.Join(err, st.restore(ctx))
	}
}

// restore starts what was killed. The controllers start anew: for how long they wait before
// they try to reach an API server again is not the operator's affair.
func (st *stage) restore(ctx context.Context) error {
	return errors.Join(
		st.cluster(ctx, "kill", "kube-controller-manager", "kube-scheduler", "kwok-controller"),
		st.cluster(ctx, "start"))
}

// pausing lets requests hang, longer than any component waits for an answer to a probe.
func pausing(ctx context.Context, st *stage) error {
	st.begin()
	time.Sleep(lead)
	err := st.cluster(ctx, "pause", "kube-apiserver")
	time.Sleep(5*time.Second + st.away())
	return errors.Join(err, st.cluster(ctx, "resume", "kube-apiserver"), st.restore(ctx))
}

// compacting makes all that happened, while the operators saw nothing of it, be forgotten
// by etcd and by the API server. So no watch can be resumed: the operators have to find out
// from the state alone.
func compacting(ctx context.Context, st *stage) error {
	err := st.signal(syscall.SIGSTOP)
	st.begin()
	st.acted.Wait()
	return errors.Join(err,
		st.cluster(ctx, "kill", "kube-apiserver"),
		store.compact(ctx),
		st.restore(ctx),
		st.signal(syscall.SIGCONT))
}

// filling makes etcd take no more writes, until it has room again.
func filling(ctx context.Context, st *stage) error {
	err := fillAround(ctx, st.begin)
	if err == nil {
		time.Sleep(st.away())
	}
	return errors.Join(err, store.free(ctx), st.restore(ctx))
}

// fillAround fills etcd, and lets the users act when little room is left.
func fillAround(ctx context.Context, begin func()) error {
	status, err := store.status(ctx)
	if err != nil {
		return err
	}
	const nearly = 8 << 20
	if err := store.fillUntil(ctx, status.Quota-nearly); err != nil {
		return fmt.Errorf("before the users act: %w", err)
	}
	begin()
	time.Sleep(lead / 2)
	return store.fill(ctx)
}

// withoutControllers lets users act while nobody looks at Deployments, and looks what the
// Rays say of themselves meanwhile.
func withoutControllers(ctx context.Context, st *stage) error {
	if err := st.cluster(ctx, "kill", "kube-controller-manager"); err != nil {
		return err
	}
	st.begin()
	st.acted.Wait()
	var failures []error
	for _, p := range st.plays {
		err := p.awaitUnobserved(ctx)
		if err == nil {
			p.problems, err = p.falseHealth(ctx)
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, st.cluster(ctx, "start"))...)
}

// signal sends a signal to all operators.
func (st *stage) signal(signal syscall.Signal) error {
	var failures []error
	for _, p := range st.plays {
		if p.scene != nil {
			failures = append(failures, p.scene.operator.signal(signal))
		}
	}
	return errors.Join(failures...)
}

// changesDeployments tells whether there is something for the Deployment controller to do.
// There is not where the operator has to wait for the garbage collector, which is away too.
func (p *play) changesDeployments() bool {
	return !p.workload.waits && slices.ContainsFunc(p.workload.writes, func(what string) bool {
		return strings.HasPrefix(what, "create deployments/") || strings.HasPrefix(what, "update deployments/")
	})
}
