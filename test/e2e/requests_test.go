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

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// Number of status updates of one Ray that are not rate limited. Other updates are limited to one
// per second over all Rays.
const (
	// Creation: the first status; the Ray becomes healthy. With three creates and three events,
	// these are the eight writes that docs/performance.md has as the goal.
	statusUpdatesOfCreation = 2
	// New image: the new generation; the Ray becomes unhealthy; it becomes healthy.
	statusUpdatesOfImage = 3
	// Scaling: the new generation, in which the Ray is unhealthy; it becomes healthy.
	statusUpdatesOfScale = 2
)

// TestRequestCounts counts the operator's requests while 20 Rays are created, changed and deleted,
// so that no additional requests go unnoticed. TestSteadyState covers the steady state and restarts.
func TestRequestCounts(t *testing.T) {
	u := newUser(t)
	const count = 20
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("r%d", i))
	}

	mark := markAudit(t)
	u.applyAll(names, "rayproject/examples:1")
	requests := u.requestsSince(mark)
	u.checkStatusUpdates("creation", requests, count, statusUpdatesOfCreation)
	u.checkRequests("creation", requests, map[string]int{
		"create services":    count,
		"create deployments": 2 * count,
		"create events":      3 * count,
	})

	mark = markAudit(t)
	u.applyAll(names, "rayproject/examples:2")
	requests = u.requestsSince(mark)
	u.checkStatusUpdates("new image", requests, count, statusUpdatesOfImage)
	u.checkRequests("new image", requests, map[string]int{
		"dry run of update deployments": count,     // the workers', before the head's update
		"update deployments":            3 * count, // the workers' a second time, with the default strategy
		"create events":                 3 * count,
	})

	// Scaling is one update, whatever the number of Pods. The event of the second one has the
	// same message, so its count is incremented.
	for _, scale := range []struct {
		replicas int
		event    string
	}{{100, "create events"}, {3, "patch events"}} {
		what := fmt.Sprintf("scaling to %d", scale.replicas)
		mark = markAudit(t)
		u.kubectl("scale", "ray/"+names[0], fmt.Sprintf("--replicas=%d", scale.replicas))
		u.waitHealthy(names[0])
		u.waitSteady()
		requests = u.requestsSince(mark)
		u.checkStatusUpdates(what, requests, 1, statusUpdatesOfScale)
		u.checkRequests(what, requests, map[string]int{"update deployments": 1, scale.event: 1})
	}

	mark = markAudit(t)
	u.kubectl("delete", "rays", "--all")
	for _, name := range names {
		u.waitServiceGone(name + "-head")
		u.waitDeploymentGone(name + "-head")
		u.waitDeploymentGone(name + "-worker")
	}
	u.eventually("all Pods are deleted", func() error {
		return wantCount(0, len(u.pods(rayv1.RoleHead))+len(u.pods(rayv1.RoleWorker)))
	})
	if requests := u.requestsSince(mark); len(requests) > 0 {
		t.Errorf("the operator made %d requests during the deletion, the first is %s %s", len(requests), requests[0].Verb, requests[0].Resource())
	}
}

// applyAll applies the sample with one worker, several names and an image for both groups, and waits for the
// steady state.
func (u *user) applyAll(names []string, image string) {
	u.Helper()
	var manifests []string
	for _, name := range names {
		manifests = append(manifests, u.sample("name: sample-cluster", "name: "+name, "replicas: 3", "replicas: 1", "rayproject/examples:1", image))
	}
	u.kubectlWith(strings.Join(manifests, "---\n"), "apply", "-f", "-")
	for _, name := range names {
		u.waitHealthy(name)
	}
	u.waitSteady()
}

// requestsSince returns the operator's requests in the user's namespace since mark.
func (u *user) requestsSince(mark audit.Mark) []*audit.Request {
	u.Helper()
	var requests []*audit.Request
	for request, err := range audit.Since(*auditLog, mark, "ray-operator/") {
		if err != nil {
			u.Fatal(err)
		}
		if request.ObjectRef != nil && request.ObjectRef.Namespace == u.namespace {
			requests = append(requests, request)
		}
	}
	return requests
}

// checkRequests compares the number of requests of each kind, except for status updates.
func (u *user) checkRequests(what string, requests []*audit.Request, want map[string]int) {
	u.Helper()
	got := map[string]int{}
	for _, request := range requests {
		what := request.Verb + " " + request.Resource()
		switch {
		case request.Resource() == "rays/status":
		case request.IsDryRun():
			got["dry run of "+what]++
		default:
			got[what]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		u.Errorf("%s: requests (-want +got):\n%s", what, diff)
	}
}

// checkStatusUpdates checks that there is a number of status updates for each Ray, and at most one
// more per second.
func (u *user) checkStatusUpdates(what string, requests []*audit.Request, rays, each int) {
	u.Helper()
	writes := slices.DeleteFunc(slices.Clone(requests), func(request *audit.Request) bool { return request.Resource() != "rays/status" })
	if len(writes) == 0 {
		u.Fatalf("%s: no status was updated", what)
	}
	took := writes[len(writes)-1].Answered.Sub(writes[0].Answered)
	// The token bucket is full at first, and both ends of the interval count.
	most := rays*each + int(took/time.Second) + 2
	u.Logf("%s: %d status updates, limit %d", what, len(writes), most)
	if len(writes) > most {
		u.Errorf("%s: the statuses of %d Rays were updated %d times in %s, want at most %d", what, rays, len(writes), took, most)
	}
}
