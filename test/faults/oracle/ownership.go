package oracle

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkOwnership wants one child of a role per Ray, and no write to what is not the Ray's.
func checkOwnership(h *history.History, _ *Expectation) []string {
	return append(checkSingle(h), checkForeign(h)...)
}

// checkSingle wants that there are never two children of one role for a Ray.
func checkSingle(h *history.History) []string {
	type place struct {
		owner    types.UID
		resource string
		role     string
	}
	var problems []string
	children := map[place]map[types.UID]bool{}
	for i := range h.Versions {
		version := &h.Versions[i]
		owner := metav1.GetControllerOf(version.Object)
		if version.Resource == history.Rays || owner == nil {
			continue
		}
		at := place{owner.UID, version.Resource, version.Object.GetLabels()[rayv1.LabelRole]}
		if version.Deleted {
			delete(children[at], version.Object.GetUID())
			continue
		}
		if children[at] == nil {
			children[at] = map[types.UID]bool{}
		}
		children[at][version.Object.GetUID()] = true
		if len(children[at]) > 1 {
			problems = append(problems, fmt.Sprintf("%s is not the only one of role %q for Ray UID %s", describe(version), at.role, at.owner))
		}
	}
	return problems
}

// checkForeign wants that every write that was done hit a child of a Ray: an object that its UID
// controls, by a name that no other Ray's children have.
func checkForeign(h *history.History) []string {
	rays := map[types.UID]string{}
	owners := map[types.UID]types.UID{}
	for i := range h.Versions {
		version := &h.Versions[i]
		if version.Resource == history.Rays {
			rays[version.Object.GetUID()] = version.Object.GetName()
		} else if owner := metav1.GetControllerOf(version.Object); owner != nil {
			owners[version.Object.GetUID()] = owner.UID
		}
	}
	hasChild := func(ray types.UID, name string) bool {
		owner, found := rays[ray]
		return found && (name == owner+"-"+string(rayv1.RoleHead) || name == owner+"-"+string(rayv1.RoleWorker))
	}
	var problems []string
	for _, write := range childWrites(h) {
		if write.Verb == "create" {
			if owner := metav1.GetControllerOf(write.Sent); owner == nil || !hasChild(owner.UID, write.Name) {
				problems = append(problems, write.String()+" made a child of no Ray")
			}
			continue
		}
		switch owner, found := owners[write.Target]; {
		case write.Target == "":
			problems = append(problems, write.String()+" does not say by UID which object it means")
		case !found || !hasChild(owner, write.Name):
			problems = append(problems, write.String()+" hit an object that is no Ray's child")
		case write.Sent != nil && (metav1.GetControllerOf(write.Sent) == nil || metav1.GetControllerOf(write.Sent).UID != owner):
			problems = append(problems, write.String()+" changed whose the object is")
		}
	}
	return append(problems, checkUnconditional(h)...)
}

// checkUnconditional wants that every update says which state it is based on. One that
// does not may overwrite what it has not seen.
func checkUnconditional(h *history.History) []string {
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Verb == "update" && write.Sent != nil && write.Sent.GetResourceVersion() == "" {
			problems = append(problems, write.String()+" has no resourceVersion")
		}
	}
	return problems
}
