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

package controller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestEveryOrderOfEvents delivers watch events in every order that three watches allow, with a sync after
// each event. The events are those of the operator's own writes, of an update of the Ray by its user, and
// of progress of the workers.
func TestEveryOrderOfEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of orders")
	}
	t.Run("one process", func(t *testing.T) {
		testEveryOrder(t, func(*fixture) {})
	})
	t.Run("a new process before each sync", func(t *testing.T) {
		testEveryOrder(t, func(f *fixture) { f.controller.reconciler.consistency.Clear(sampleKey) })
	})
}

// testEveryOrder runs all orders by depth-first search. The syncs cause further events, so the choices are
// known only during a run: each run repeats a prefix of the choices of the last one, and then takes the
// first choice each time.
func testEveryOrder(t *testing.T, beforeSync func(*fixture)) {
	t.Helper()
	var choices, options []int
	for runs := 1; ; runs++ {
		var order []string
		choices, order = runInOrder(t, beforeSync, choices, &options)
		if t.Failed() {
			t.Fatalf("run %d failed with the order %s", runs, strings.Join(order, " "))
		}
		last := len(choices) - 1
		for last >= 0 && choices[last] == options[last]-1 {
			last--
		}
		if last < 0 {
			t.Logf("%d orders", runs)
			return
		}
		choices = choices[:last+1]
		choices[last]++
	}
}

// runInOrder runs one order. Each choice is an index into the resources with pending events. It returns the
// choices and the resources in the order of their events, and sets the number of options of each choice.
func runInOrder(t *testing.T, beforeSync func(*fixture), choices []int, options *[]int) (made []int, order []string) {
	t.Helper()
	f := newFixture(t)
	f.syncIgnoringStaleCache()
	f.editRay(func(ray *rayv1.Ray) {
		ray.Spec.Worker.Replicas = new(int32(5))
		ray.Spec.Worker.Template.Spec.Containers[0].Image = "new"
	})
	f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { // the workers' new template waits for the head
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	})
	f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.ObservedGeneration, d.Status.Replicas = 1, 3 })

	*options = nil
	for pending := f.pending(); len(pending) > 0; pending = f.pending() {
		choice := 0
		if len(made) < len(choices) {
			choice = choices[len(made)]
		}
		made, *options, order = append(made, choice), append(*options, len(pending)), append(order, pending[choice])
		f.deliverNext(pending[choice])
		f.clock.Step(time.Second)
		beforeSync(f)
		f.syncIgnoringStaleCache()
	}
	f.checkOutcome()
	return made, order
}

// pending returns the resources with events that were not delivered yet.
func (f *fixture) pending() []string {
	var pending []string
	for _, resource := range []string{rayResource, serviceResource, deploymentResource} {
		for _, event := range f.server.history[f.seen[resource]:] {
			if event.resource == resource {
				pending = append(pending, resource)
				break
			}
		}
	}
	return pending
}

// syncIgnoringStaleCache syncs the Ray, which may fail because of a stale cache.
func (f *fixture) syncIgnoringStaleCache() {
	f.t.Helper()
	if err := f.sync(); err != nil && !errors.Is(err, errStale) {
		f.t.Errorf("sync: %v", err)
	}
}

// checkOutcome checks the final state, and that no child was written for an older generation of the Ray than
// before.
func (f *fixture) checkOutcome() {
	f.t.Helper()
	f.converge()
	created := slices.DeleteFunc(f.takeEvents(), func(event string) bool { return !strings.Contains(event, reasonSuccessfullyCreate) })
	if len(created) != 3 {
		f.t.Errorf("created %q, want each child once", created)
	}
	if worker := f.deployment(rayv1.RoleWorker); *worker.Spec.Replicas != 5 || container(worker).Image != "new" {
		f.t.Errorf("the worker Deployment has %d replicas of image %q, want those of the newest spec", *worker.Spec.Replicas, container(worker).Image)
	}
	if got, want := f.health(), "False RolloutIncomplete: worker: the Deployment's newest generation has not been observed yet"; got != want {
		f.t.Errorf("Health is %q, want %q", got, want)
	}
	if status := f.ray().Status; status.ObservedGeneration != 2 || status.Worker.Replicas != 3 {
		f.t.Errorf("the status has observedGeneration %d and %d workers, want 2 and 3", status.ObservedGeneration, status.Worker.Replicas)
	}
	newest := map[string]int64{}
	for _, event := range f.server.history {
		if event.resource == rayResource {
			continue
		}
		child := event.resource + "/" + event.object.GetName()
		if recorded := rayGeneration(event.object); recorded < newest[child] {
			f.t.Errorf("%s was written for generation %d after %d", child, recorded, newest[child])
		} else {
			newest[child] = recorded
		}
	}
	f.restart()
	f.checkSteadyState(nil)
}
