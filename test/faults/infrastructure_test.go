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
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// store is the etcd of the cluster. It is nil unless TestInfrastructure may stop its components.
var store *etcd

// leadTime is how long before an outage the first workload may start.
const leadTime = 300 * time.Millisecond

// TestInfrastructure stops components of the control plane while all workloads run in parallel. It
// needs a cluster of its own.
func TestInfrastructure(t *testing.T) {
	if store == nil {
		t.Skip("requires -outage-cluster: run hack/faults.sh")
	}
	tool := filepath.Join(t.TempDir(), "cluster")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(*root, "hack", "cluster"), "-o", tool, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building hack/cluster: %v: %s", err, out)
	}
	selected := false
	for i := range outages {
		g := &outageGroup{outage: &outages[i], tool: tool, started: make(chan struct{}), over: make(chan struct{})}
		for j := range workloads {
			r := &outageCase{name: "infrastructure/" + g.outage.name + "/" + workloads[j].name, workload: &workloads[j]}
			c := testCase{name: r.name}
			if c.selected() && (!g.outage.stopsControllers || !workloads[j].collected) {
				g.cases = append(g.cases, r)
			}
		}
		if len(g.cases) > 0 {
			selected = true
			g.run(t)
		}
	}
	if !selected {
		t.Fatalf("no case is selected: -case is %q, -cases is %q", *only, *matching)
	}
}

// outageGroup runs all workloads during one outage.
type outageGroup struct {
	outage *outage
	// tool is the binary of hack/cluster.
	tool   string
	random *rand.Rand
	cases  []*outageCase

	// ready counts the cases that are not ready for the outage, done those with a running workload.
	ready, done sync.WaitGroup
	// started is closed when workloads may start, over when all components are available again.
	started, over chan struct{}
	// err is why the outage failed. It is set before over is closed.
	err error
}

// outageCase is one workload during an outage.
type outageCase struct {
	name     string
	workload *workload
	setup    *setup
	// delay is how long after the first possible time the workload starts.
	delay time.Duration
	// problems were found during the outage.
	problems []string
}

// run runs the cases as parallel subtests.
func (g *outageGroup) run(t *testing.T) {
	parallel, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String())
	if err != nil || parallel < len(g.cases) {
		t.Fatalf("the workloads wait for each other: set -parallel to at least %d", len(g.cases))
	}
	g.random = newRandom(g.outage.name)
	g.ready.Add(len(g.cases))
	g.done.Add(len(g.cases))
	t.Run("infrastructure/"+g.outage.name, func(t *testing.T) { // It ends when all its cases have ended.
		for _, c := range g.cases {
			c.delay = time.Duration(newRandom(c.name).Int64N(int64(leadTime)))
			t.Run(c.workload.name, func(t *testing.T) {
				t.Parallel()
				g.runCase(t, c)
			})
		}
		// The cases continue when this function has returned.
		go func() {
			defer close(g.over)
			g.ready.Wait()
			g.err = g.outage.run(t.Context(), g)
			g.start() // in case the outage failed before
		}()
	})
}

// newRandom returns random numbers that depend only on the seed and a name, not on other cases.
func newRandom(name string) *rand.Rand { return rand.New(rand.NewPCG(*seed, hash(name))) }

// start lets the workloads start. It may be called more than once.
func (g *outageGroup) start() {
	select {
	case <-g.started:
	default:
		close(g.started)
	}
}

// cluster runs a command of hack/cluster on the cluster.
func (g *outageGroup) cluster(ctx context.Context, command string, components ...string) error {
	dir, err := filepath.Abs(filepath.Dir(*kubeconfig))
	if err != nil {
		return err
	}
	run := exec.CommandContext(ctx, g.tool, append([]string{command, "--name", *outageCluster, "--dir", dir}, components...)...)
	run.Dir = filepath.Join(*root, "hack", "cluster")
	if out, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("hack/cluster %s %v: %w: %s", command, components, err, out)
	}
	return nil
}

// runCase prepares the Ray, runs the workload together with all others, and checks the history once
// all components are available again.
func (g *outageGroup) runCase(t *testing.T, c *outageCase) {
	ready, done := sync.OnceFunc(g.ready.Done), sync.OnceFunc(g.done.Done)
	defer logRepeatCommand(t, c.name)
	defer done() // in case it fails before
	defer ready()
	w := c.workload
	want := &oracle.Expectation{Writes: w.writes, Allowance: w.allow(g.outage.allowance, nil), ObservedHealth: true}
	if w.to != nil {
		want.Fresh = fresh(t, w.to, w.tasksAfter)
	}
	c.prepare(t)
	ready()
	<-g.started
	time.Sleep(c.delay)
	if err := c.runWorkload(t.Context()); err != nil {
		t.Error(err)
	}
	done()
	<-g.over
	if g.err != nil {
		t.Fatalf("outage: %v", g.err)
	}

	// The timeout of the operator starts when all components are available again.
	ctx, cancel := context.WithTimeout(t.Context(), *stepTimeout)
	defer cancel()
	recovered := time.Now()
	goal := (&faultCase{workload: w}).goal(want.Fresh)
	h := c.setup.finish(ctx, t, goal)
	select {
	case <-c.setup.operator.crashed:
		t.Error("the operator exited on its own")
	default:
	}
	for _, problem := range c.problems {
		t.Error(problem)
	}
	c.setup.checkTasks(t)
	for _, violation := range oracle.Check(h, want) {
		t.Error(violation)
	}
	if !h.Converged.IsZero() {
		t.Logf("the goal was reached %.1f s after all components were available again", h.Converged.Sub(recovered).Seconds())
	}
	t.Logf("history:\n%s", transcript(h))
}

// prepare creates the setup, with the Ray that the workload changes.
func (c *outageCase) prepare(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *stepTimeout)
	defer cancel()
	c.setup = newSetup(t)
	if c.workload.from != nil {
		base := fresh(t, c.workload.from, c.workload.tasksBefore)
		if err := c.setup.deploy(t, c.workload.from, c.workload.tasksBefore); err != nil {
			t.Fatal(err)
		}
		if err := c.setup.await(ctx, equalTo(base)); err != nil {
			t.Fatalf("before the outage: %v", err)
		}
	}
	if err := c.setup.arm(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// changesChild has the workloads that change a child. They are not repeated once they have taken
// effect, since the operator may have reverted the change in the meantime.
var changesChild = map[string]bool{"child-deleted": true, "child-edited": true, "service-edited": true}

// runWorkload repeats each step of the workload until the API server has accepted it.
func (c *outageCase) runWorkload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*(*stepTimeout))
	defer cancel()
	w := c.workload
	before := c.setup.recorder.length()
	for _, step := range w.stepsIn(c.setup) {
		for {
			err := step(ctx, c.setup.namespace)
			// It may have been committed before, and its response was lost.
			if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
				break
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("workload %q: %w", w.name, err)
			}
			if changesChild[w.name] && c.setup.recorder.childChanged(before) {
				break
			}
		}
	}
	return nil
}

// length returns the number of versions.
func (r *recorder) length() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.versions)
}

// childChanged reports whether a child was deleted, or its spec changed, after a number of versions.
func (r *recorder) childChanged(after int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	generations := map[types.UID]int64{}
	for i := range r.versions {
		object, deleted := r.versions[i].Object, r.versions[i].Deleted
		isChild := r.versions[i].Resource != history.Rays
		// A Service has no generation. Only the operator and the workload write it.
		if isChild && i >= after && (deleted || object.GetGeneration() == 0 || object.GetGeneration() > generations[object.GetUID()]) {
			return true
		}
		generations[object.GetUID()] = object.GetGeneration()
	}
	return false
}

// unobserved returns the Deployments with a generation that is not observed, by the UID of their Ray.
func unobserved(state *history.State) map[types.UID]*appsv1.Deployment {
	found := map[types.UID]*appsv1.Deployment{}
	for i := range state.Deployments {
		deployment := &state.Deployments[i]
		owner := metav1.GetControllerOf(deployment)
		if owner != nil && deployment.Status.ObservedGeneration < deployment.Generation {
			found[owner.UID] = deployment
		}
	}
	return found
}

// awaitUnobserved waits until the operator is idle while the Deployment controller is down.
func (c *outageCase) awaitUnobserved(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, *stepTimeout)
	defer cancel()
	err := c.setup.await(ctx, func(state *history.State) error {
		if c.changesDeployments() && len(unobserved(state)) == 0 {
			return errors.New("the Deployment controller is down, but all Deployments are observed")
		}
		return nil
	})
	return errors.Join(err, c.setup.awaitIdle(ctx, 2*heldIdle))
}

// falseHealth returns the Rays that are healthy although a Deployment is not observed. A Ray may be
// healthy if only another client has changed the Deployment: none of its Pods have changed yet.
func (c *outageCase) falseHealth(ctx context.Context) ([]string, error) {
	state, err := readState(ctx, c.setup.namespace)
	if err != nil {
		return nil, err
	}
	found := unobserved(state)
	var problems []string
	for i := range state.Rays {
		ray := &state.Rays[i]
		deployment := found[ray.UID]
		if deployment == nil || !oracle.Healthy(ray) || ray.Generation == 1 && deployment.Status.ObservedGeneration > 0 {
			continue
		}
		problems = append(problems, fmt.Sprintf("the Ray is healthy, but its Deployment %q is not observed", deployment.Name))
	}
	return problems, nil
}
