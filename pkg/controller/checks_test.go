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

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The requests as the fake server records them.
const (
	createService = "create services sample-cluster-head"
	updateService = "update services sample-cluster-head"
	createHead    = "create deployments sample-cluster-head"
	updateHead    = "update deployments sample-cluster-head"
	createWorker  = "create deployments sample-cluster-worker"
	updateWorker  = "update deployments sample-cluster-worker"
	dryRunWorker  = "dry-run deployments sample-cluster-worker"
	deleteWorker  = "delete deployments sample-cluster-worker"
	updateStatus  = "update rays/status sample-cluster"
)

// syncTest is one sync of the sample Ray, which is healthy and in a steady state before.
type syncTest struct {
	name string
	// prepare sets up the server before the first sync.
	prepare func(*fixture)
	// change is what other clients change once the Ray is healthy. All caches show it.
	change func(*fixture)

	wantWrites []string
	wantEvents []string
	// wantChildren changes the children from their state before change to their state after the sync.
	// If nil, the sync leaves or restores the state before change.
	wantChildren func(*childSet)
	// wantHealth is not checked if it is empty.
	wantHealth string
	// wantErr returns whether the sync may return an error. If nil, it must not.
	wantErr func(error) bool
}

// runSyncTests runs the tests. Each also checks that another sync, by the same or by another process,
// writes nothing.
func runSyncTests(t *testing.T, tests []syncTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.prepare != nil {
				test.prepare(f)
			}
			f.makeHealthy()
			want := f.children()
			if test.change != nil {
				test.change(f)
			}
			f.deliver()
			f.checkSync(test.wantErr, test.wantWrites, test.wantEvents)

			if test.wantChildren != nil {
				test.wantChildren(&want)
			}
			if diff := cmp.Diff(want, f.children()); diff != "" {
				t.Errorf("children (-want +got):\n%s", diff)
			}
			if test.wantHealth != "" {
				f.checkHealth(test.wantHealth)
			}
			f.checkSteadyState(test.wantErr)
			f.checkRestart(test.wantErr)
		})
	}
}

// checkSync syncs once, and checks the error, the writes and the events.
func (f *fixture) checkSync(wantErr func(error) bool, wantWrites, wantEvents []string) {
	f.t.Helper()
	if err := f.sync(); !isExpected(err, wantErr) {
		f.t.Errorf("sync returned an unexpected error: %v", err)
	}
	f.checkWritesAndEvents(wantWrites, wantEvents)
}

// checkWritesAndEvents checks the writes and the events since they were last taken.
func (f *fixture) checkWritesAndEvents(wantWrites, wantEvents []string) {
	f.t.Helper()
	if diff := cmp.Diff(wantWrites, f.takeWrites()); diff != "" {
		f.t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantEvents, f.takeEvents()); diff != "" {
		f.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// checkSteadyState checks that another sync changes nothing and records no event. A sync that fails may
// retry the rejected write.
func (f *fixture) checkSteadyState(wantErr func(error) bool) {
	f.t.Helper()
	f.takeWrites()
	f.clock.Step(time.Minute)
	f.deliver()
	before := f.server.revision
	if err := f.sync(); !isExpected(err, wantErr) {
		f.t.Errorf("another sync returned an unexpected error: %v", err)
	}
	writes := f.takeWrites()
	if f.server.revision != before || wantErr == nil && len(writes) > 0 {
		f.t.Errorf("another sync made the writes %q", writes)
	}
	if events := f.takeEvents(); len(events) > 0 {
		f.t.Errorf("another sync recorded the events %q", events)
	}
}

// checkRestart checks that a restart of the operator changes nothing. If the sync fails, its problem is
// reported once more.
func (f *fixture) checkRestart(wantErr func(error) bool) {
	f.t.Helper()
	f.restart()
	if wantErr != nil {
		before := f.server.revision
		if err := f.sync(); !isExpected(err, wantErr) || f.server.revision != before {
			f.t.Errorf("after a restart, sync returned the error %v and made the writes %q", err, f.takeWrites())
		}
		events := f.takeEvents()
		if len(events) == 0 || slices.ContainsFunc(events, func(event string) bool { return strings.Contains(event, "Successfully") }) {
			f.t.Errorf("after a restart, sync recorded the events %q, want only the problem", events)
		}
	}
	f.checkSteadyState(wantErr)
}

// checkHealth checks the condition Health that the server has, as f.health returns it.
func (f *fixture) checkHealth(want string) {
	f.t.Helper()
	if got := f.health(); got != want {
		f.t.Errorf("Health is\n%q, want\n%q", got, want)
	}
}

func isExpected(err error, want func(error) bool) bool {
	if want == nil {
		return err == nil
	}
	return want(err)
}

func isOnlyBlocked(err error) bool { return errors.Is(err, errBlocked) && !errors.Is(err, errStale) }

func isStale(err error) bool { return errors.Is(err, errStale) }

// overQuota returns an error of a write that the API server rejects.
func overQuota() *apierrors.StatusError {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "children"}, "x", errors.New("exceeded quota: q"))
}

const overQuotaMessage = `children "x" is forbidden: exceeded quota: q`

// reject makes the server reject writes that have one of the prefixes.
func (f *fixture) reject(err *apierrors.StatusError, writes ...string) {
	f.server.reject = func(write string) *apierrors.StatusError {
		for _, rejected := range writes {
			if strings.HasPrefix(write, rejected) {
				return err
			}
		}
		return nil
	}
}

// reverted returns the events of a sync that reverts changes by other clients. The arguments are pairs
// of a child and its parts.
func reverted(childrenAndParts ...string) []string {
	var events []string
	for i := 0; i < len(childrenAndParts); i += 2 {
		events = append(events, "Normal SuccessfullyUpdate Successfully update the "+childrenAndParts[i]+": revert external changes to its "+childrenAndParts[i+1])
	}
	return events
}

// changeHead, changeWorker and changeService return a change of a child by another client.

func changeHead(change func(*appsv1.Deployment)) func(*fixture) {
	return func(f *fixture) { f.editDeployment(rayv1.RoleHead, change) }
}

func changeWorker(change func(*appsv1.Deployment)) func(*fixture) {
	return func(f *fixture) { f.editDeployment(rayv1.RoleWorker, change) }
}

func changeService(change func(*corev1.Service)) func(*fixture) {
	return func(f *fixture) { f.editService(change) }
}

// changeRay returns a change of the Ray by its user.
func changeRay(change func(*rayv1.Ray)) func(*fixture) {
	return func(f *fixture) { f.editRay(change) }
}

// container returns the first container of a Deployment.
func container(d *appsv1.Deployment) *corev1.Container { return &d.Spec.Template.Spec.Containers[0] }
