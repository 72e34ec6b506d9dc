package oracle

import (
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkDeletions wants the operator to delete only what an undisturbed run deletes, whether
// or not it succeeds, and the children of a Ray to stay as long as the Ray does.
func checkDeletions(h *history.History, want *Expectation) []string {
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Verb == "delete" && write.Resource != history.Leases && !slices.Contains(want.Writes, write.What()) {
			problems = append(problems, write.String()+" was not asked for")
		}
	}
	ends := rayEnds(h)
	for i := range h.Versions {
		version := &h.Versions[i]
		owner := metav1.GetControllerOf(version.Object)
		if !version.Deleted || version.Resource == history.Rays || owner == nil {
			continue
		}
		if end, ended := ends[owner.UID]; ended && end <= revision(version) {
			continue
		}
		// What somebody else deletes, the operator makes anew.
		what := version.Resource + "/" + version.Object.GetName()
		if !slices.Contains(want.Writes, "delete "+what) && !slices.Contains(want.Writes, "create "+what) {
			problems = append(problems, describe(version)+" is gone, and its Ray is not")
		}
	}
	return problems
}

// rayEnds returns when the deletion of each Ray began, as a revision of the store: resources
// are watched each by itself, so the order of versions says nothing.
func rayEnds(h *history.History) map[types.UID]int64 {
	ends := map[types.UID]int64{}
	for i := range h.Versions {
		version := &h.Versions[i]
		if version.Resource != history.Rays || !version.Deleted && version.Object.GetDeletionTimestamp() == nil {
			continue
		}
		if _, ended := ends[version.Object.GetUID()]; !ended {
			ends[version.Object.GetUID()] = revision(version)
		}
	}
	return ends
}

// revision returns when a version came to be, in the order of the store.
func revision(v *history.Version) int64 {
	revision, err := strconv.ParseInt(v.Object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return revision
}
