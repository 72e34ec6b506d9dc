package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// How often the status of a Ray may be written, if the cluster is quick.
const (
	// Creation: the children are there; the Ray is healthy; and the last words of its
	// Deployments, which come later. docs/performance.md has the goal, which is 2: with three
	// creates and three events that makes eight writes.
	statusesOfCreation = 3
	// A new image: it was seen; what its Pods come to, at most every two seconds, while the head
	// is replaced and the workers roll; the Ray is healthy; and the last words.
	statusesOfImage = 6
)

// progressInterval is how often a status tells of progress at most. On a slow machine there is
// more progress to tell of.
const progressInterval = 2 * time.Second

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
	u.checkStatuses("creation", requests, names, statusesOfCreation)
	u.checkRequests("creation", requests, map[string]int{
		"create services":    count,
		"create deployments": 2 * count,
		"create events":      3 * count,
	})

	mark = markAudit(t)
	u.applyAll(names, "rayproject/examples:2")
	requests = u.requestsSince(mark)
	u.checkStatuses("a new image", requests, names, statusesOfImage)
	u.checkRequests("a new image", requests, map[string]int{
		"update deployments": 2 * count,
		"create events":      2 * count,
	})

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
	u.checkRequests("deletion", u.requestsSince(mark), map[string]int{})
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
	time.Sleep(progressInterval + time.Second) // that nothing comes after the last words
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

// checkStatuses checks that there are no more status writes, on average, than so many for each
// Ray, or as many as there can be intervals of progress until the Ray is healthy.
func (u *user) checkStatuses(what string, requests []*audit.Request, names []string, most int) {
	u.Helper()
	var writes, allowed int
	first := map[string]time.Time{}
	for _, request := range requests {
		if request.Resource() != "rays/status" {
			continue
		}
		writes++
		if _, found := first[request.ObjectRef.Name]; !found {
			first[request.ObjectRef.Name] = request.Answered
		}
	}
	for _, name := range names {
		healthy := condition(u.ray(name), rayv1.RayHealth).LastTransitionTime
		// The transition has whole seconds.
		took := healthy.Sub(first[name]) + time.Second
		// What is written at once, the last words, and progress in between.
		allowed += max(most, 3+int(took/progressInterval))
	}
	u.Logf("%s: %d status writes, at most %d", what, writes, allowed)
	if writes > allowed {
		u.Errorf("%s: the statuses of %d Rays were written %d times, want at most %d", what, len(names), writes, allowed)
	}
}
