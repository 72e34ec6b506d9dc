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

package oracle

import (
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkDeletions requires that the operator tries to delete only what an undisturbed run deletes, and
// that the children of a Ray exist as long as the Ray does.
func checkDeletions(h *history.History, want *Expectation) []string {
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Verb == "delete" && write.Resource != history.Leases && !slices.Contains(want.Writes, write.What()) {
			problems = append(problems, write.String()+": unexpected deletion")
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
		// The operator creates again what the workload deletes.
		what := version.Resource + "/" + version.Object.GetName()
		if !slices.Contains(want.Writes, "delete "+what) && !slices.Contains(want.Writes, "create "+what) {
			problems = append(problems, describe(version)+" was deleted, but its Ray was not")
		}
	}
	return problems
}

// rayEnds returns the revision at which the deletion of each Ray began. The order of the versions
// cannot be used, since each resource has its own watch.
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

// revision returns the etcd revision of a version.
func revision(v *history.Version) int64 {
	revision, err := strconv.ParseInt(v.Object.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return revision
}
