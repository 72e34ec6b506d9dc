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
	"strings"
	"syscall"
	"time"

	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// outage is an outage of components of the control plane.
type outage struct {
	name string
	// run starts the outage, starts the workloads, and returns once all components are available.
	run       func(context.Context, *outageGroup) error
	allowance oracle.Allowance
	// stopsControllers is set if the workloads run while the garbage collector is down.
	stopsControllers bool
}

var outages = []outage{
	{name: "apiserver-killed", run: kill("kube-apiserver"), allowance: outageAllowance},
	{name: "etcd-killed", run: kill("etcd"), allowance: outageAllowance},
	{name: "both-killed", run: kill("etcd", "kube-apiserver"), allowance: outageAllowance},
	{name: "apiserver-paused", run: pauseAPIServer, allowance: outageAllowance},
	{name: "etcd-compacted", run: compactEtcd, allowance: outageAllowance},
	{name: "etcd-full", run: fillEtcd, allowance: outageAllowance},
	{name: "controllers-down", run: stopControllers, allowance: outageAllowance, stopsControllers: true},
}

// outageAllowance is the allowance for an outage. Each Ray is retried at intervals that double from
// 5 ms: eleven times in the ten seconds of the longest outage. In each retry the server may reject
// every write. A rejected write is a problem that is reported in the status and in an event, if these
// reach the server, and from which the Ray recovers.
var outageAllowance = oracle.Allowance{LostEvents: true, Unanswered: true, Rejected: 11 * 4, ProblemStatuses: 4, WarningEvents: 4, Recoveries: 2}

// downtime returns how long a component is down.
func (g *outageGroup) downtime() time.Duration {
	return 2*time.Second + time.Duration(g.random.Int64N(int64(3*time.Second)))
}

// kill kills components, all of them before any is started again.
func kill(components ...string) func(context.Context, *outageGroup) error {
	return func(ctx context.Context, g *outageGroup) error {
		g.start()
		time.Sleep(leadTime)
		err := g.cluster(ctx, "kill", components...)
		time.Sleep(g.downtime())
		return errors.Join(err, g.restore(ctx))
	}
}

// restore starts the killed components. It restarts the controllers, since their backoff for an
// unreachable API server is not under test.
func (g *outageGroup) restore(ctx context.Context) error {
	return errors.Join(
		g.cluster(ctx, "kill", "kube-controller-manager", "kube-scheduler", "kwok-controller"),
		g.cluster(ctx, "start"))
}

// pauseAPIServer pauses the API server for longer than the timeout of any probe, so that requests hang.
func pauseAPIServer(ctx context.Context, g *outageGroup) error {
	g.start()
	time.Sleep(leadTime)
	err := g.cluster(ctx, "pause", "kube-apiserver")
	time.Sleep(5*time.Second + g.downtime())
	return errors.Join(err, g.cluster(ctx, "resume", "kube-apiserver"), g.restore(ctx))
}

// compactEtcd pauses the operators, and removes the history of the workloads from etcd and the API
// server. No watch can be resumed, so the operators must reconcile from the current state.
func compactEtcd(ctx context.Context, g *outageGroup) error {
	err := g.signal(syscall.SIGSTOP)
	g.start()
	g.done.Wait()
	return errors.Join(err,
		g.cluster(ctx, "kill", "kube-apiserver"),
		store.compact(ctx),
		g.restore(ctx),
		g.signal(syscall.SIGCONT))
}

// fillEtcd fills etcd, so that it rejects writes, and frees it again.
func fillEtcd(ctx context.Context, g *outageGroup) error {
	err := fillDuring(ctx, g.start)
	if err == nil {
		time.Sleep(g.downtime())
	}
	return errors.Join(err, store.free(ctx), g.restore(ctx))
}

// fillDuring fills etcd, and starts the workloads when it is almost full.
func fillDuring(ctx context.Context, start func()) error {
	status, err := store.status(ctx)
	if err != nil {
		return err
	}
	const remaining = 8 << 20
	if err := store.fillUntil(ctx, status.Quota-remaining); err != nil {
		return fmt.Errorf("before the workloads: %w", err)
	}
	start()
	time.Sleep(leadTime / 2)
	return store.fill(ctx)
}

// stopControllers runs the workloads while the Deployment controller is down, and checks the status
// of the Rays before it is started again.
func stopControllers(ctx context.Context, g *outageGroup) error {
	if err := g.cluster(ctx, "kill", "kube-controller-manager"); err != nil {
		return err
	}
	g.start()
	g.done.Wait()
	var failures []error
	for _, c := range g.cases {
		err := c.awaitUnobserved(ctx)
		if err == nil {
			c.problems, err = c.falseHealth(ctx)
		}
		failures = append(failures, err)
	}
	return errors.Join(append(failures, g.cluster(ctx, "start"))...)
}

// signal sends a signal to all operators.
func (g *outageGroup) signal(signal syscall.Signal) error {
	var failures []error
	for _, c := range g.cases {
		if c.setup != nil {
			failures = append(failures, c.setup.operator.signal(signal))
		}
	}
	return errors.Join(failures...)
}

// changesDeployments reports whether the workload changes a Deployment while the controllers are
// down. It does not if the operator is blocked by the garbage collector, which is down, too.
func (c *outageCase) changesDeployments() bool {
	return !c.workload.blocked && slices.ContainsFunc(c.workload.writes, func(what string) bool {
		return strings.HasPrefix(what, "create deployments/") || strings.HasPrefix(what, "update deployments/")
	})
}
