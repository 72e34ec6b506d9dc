package faults

import (
	"strings"
	"testing"
	"time"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// allowed is how much may be written in one step.
type allowed struct {
	creates, deployments, services, refusals int
}

const (
	// minStatuses is for the new generation, for the end, and for progress between them.
	minStatuses = 3
	// progressInterval is the time between two status writes that only tell of progress.
	progressInterval = 2 * time.Second
	// maxRefusals is what is tried again, at intervals that double, until a case goes on.
	maxRefusals = 16
)

// oneUpdate allows what one change of the leaf takes.
func (c *fieldCase) oneUpdate() allowed {
	limits := allowed{deployments: 1}
	if c.role == rayv1.RoleHead && strings.HasPrefix(c.leaf.Name(), "template/spec/containers/ports/") {
		limits.services = 1
	}
	return limits
}

// checkWrites checks how much was written for the Ray since the last check.
func (r *trackedRay) checkWrites(t *testing.T, what string, limits allowed) {
	t.Helper()
	counts := map[string]int{}
	var all []string
	writes := r.writes()
	statuses := minStatuses
	if len(writes) > 0 {
		statuses += int(writes[len(writes)-1].At.Sub(writes[0].At) / progressInterval)
	}
	for _, write := range writes {
		if write.Resource == history.Events {
			continue
		}
		all = append(all, write.String())
		switch {
		case !write.Committed():
			counts["refused"]++
		case write.Verb == "create":
			counts["create"]++
		default:
			counts[write.Verb+" "+write.Resource]++
		}
	}
	for kind, limit := range map[string]int{
		"create": limits.creates, "refused": limits.refusals + conflicts, "update " + history.RayStatus: statuses,
		"update " + history.Deployments: limits.deployments, "update " + history.Services: limits.services,
	} {
		if counts[kind] > limit {
			t.Errorf("%s: %d times %s, allowed are %d:\n%s", what, counts[kind], kind, limit, strings.Join(all, "\n"))
		}
		delete(counts, kind)
	}
	if len(counts) > 0 {
		t.Errorf("%s: there are writes of another kind:\n%s", what, strings.Join(all, "\n"))
	}
}

// conflicts is how many writes may meet one of the Deployment controller's.
const conflicts = 2
