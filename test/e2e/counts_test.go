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

// How often the status of a Ray is written at once. Progress, and the last words of Deployments
// after a Ray is healthy, are told once a second over all Rays.
const (
	// Creation: the children are there; the Ray is healthy. With three creates and three events
	// that makes the eight writes that docs/performance.md has as the goal.
	statusesOfCreation = 2
	// A new image: it was seen, the Ray is not healthy, it is healthy.
	statusesOfImage = 3
	// A scale: it was seen and the Ray is not healthy, it is healthy.
	statusesOfScale = 2
)

// TestCounts counts all requests of the operator in the life of 20 Rays, so that none that was
// once saved comes back. What it writes at rest and after a restart, TestRest counts.
func TestCounts(t *testing.T) {
	u := newUser(t)
	const count = 20
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("r%d", i))
	}

	mark := markAudit(t)
	u.applyAll(names, "rayproject/examples:1")
	requests := u.requestsSince(mark)
	u.checkStatuses("creation", requests, count, statusesOfCreation)
	u.checkRequests("creation", requests, map[string]int{
		"create services":    count,
		"create deployments": 2 * count,
		"create events":      3 * count,
	})

	mark = markAudit(t)
	u.applyAll(names, "rayproject/examples:2")
	requests = u.requestsSince(mark)
	u.checkStatuses("a new image", requests, count, statusesOfImage)
	u.checkRequests("a new image", requests, map[string]int{
		"update deployments": 2 * count,
		"create events":      2 * count,
	})

	// One Ray to many workers and back: each is one update, however many Pods it means. It is told
	// in the same words, so the second time the event is counted.
	for _, scale := range []struct {
		replicas int
		event    string
	}{{100, "create events"}, {3, "patch events"}} {
		what := fmt.Sprintf("a scale to %d", scale.replicas)
		mark = markAudit(t)
		u.kubectl("scale", "ray/"+names[0], fmt.Sprintf("--replicas=%d", scale.replicas))
		u.waitHealthy(names[0])
		u.comesToRest()
		requests = u.requestsSince(mark)
		u.checkStatuses(what, requests, 1, statusesOfScale)
		u.checkRequests(what, requests, map[string]int{"update deployments": 1, scale.event: 1})
	}

	mark = markAudit(t)
	u.kubectl("delete", "rays", "--all")
	for _, name := range names {
		u.waitServiceGone(name + "-head")
		u.waitDeploymentGone(name + "-head")
		u.waitDeploymentGone(name + "-worker")
	}
	u.eventually("no Pod is left", func() error {
		return wantCount(0, len(u.pods(rayv1.RoleHead))+len(u.pods(rayv1.RoleWorker)))
	})
	if requests := u.requestsSince(mark); len(requests) > 0 {
		t.Errorf("the operator made %d requests for the deletion, the first is to %s %s", len(requests), requests[0].Verb, requests[0].Resource())
	}
}

// applyAll applies the seed under many names, with an image for both groups, and waits until all
// are healthy, and nothing more follows.
func (u *user) applyAll(names []string, image string) {
	u.Helper()
	var manifests []string
	for _, name := range names {
		manifests = append(manifests, u.seed("name: sample-cluster", "name: "+name, "rayproject/examples:1", image))
	}
	u.kubectlWith(strings.Join(manifests, "---\n"), "apply", "-f", "-")
	for _, name := range names {
		u.waitHealthy(name)
	}
	u.comesToRest()
}

// requestsSince returns what the operator has asked for in the user's namespace since mark, be
// it a read or a write.
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

// checkRequests compares requests, those for statuses aside, with how many there must be of
// each kind.
func (u *user) checkRequests(what string, requests []*audit.Request, want map[string]int) {
	u.Helper()
	got := map[string]int{}
	for _, request := range requests {
		if request.Resource() != "rays/status" {
			got[request.Verb+" "+request.Resource()]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		u.Errorf("the operator's requests for %s (-want +got):\n%s", what, diff)
	}
}

// checkStatuses checks that there are no more status writes than so many for each Ray, and one
// for each second.
func (u *user) checkStatuses(what string, requests []*audit.Request, rays, each int) {
	u.Helper()
	writes := slices.DeleteFunc(slices.Clone(requests), func(request *audit.Request) bool { return request.Resource() != "rays/status" })
	if len(writes) == 0 {
		u.Fatalf("%s: no status was written", what)
	}
	took := writes[len(writes)-1].Answered.Sub(writes[0].Answered)
	// The operator's seconds begin with those of the clock.
	most := rays*each + int(took/time.Second) + 2
	u.Logf("%s: %d status writes, at most %d", what, len(writes), most)
	if len(writes) > most {
		u.Errorf("%s: the statuses of %d Rays were written %d times in %s, want at most %d", what, rays, len(writes), took, most)
	}
}
