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
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkOwnership requires one child per role and Ray, and only writes to children of a Ray.
func checkOwnership(h *history.History, _ *Expectation) []string {
	problems := checkSingle(h)
	problems = append(problems, checkTargets(h)...)
	problems = append(problems, checkAdoptions(h)...)
	problems = append(problems, checkPodWrites(h)...)
	return append(problems, checkUnconditional(h)...)
}

// checkSingle requires that a Ray never has two children of a role.
func checkSingle(h *history.History) []string {
	type slot struct {
		owner    types.UID
		resource string
		role     string
	}
	var problems []string
	children := map[slot]map[types.UID]bool{}
	for i := range h.Versions {
		version := &h.Versions[i]
		owner := metav1.GetControllerOf(version.Object)
		if version.Resource == history.Rays || owner == nil {
			continue
		}
		at := slot{owner.UID, version.Resource, version.Object.GetLabels()[rayv1.LabelRole]}
		if version.Deleted {
			delete(children[at], version.Object.GetUID())
			continue
		}
		if children[at] == nil {
			children[at] = map[types.UID]bool{}
		}
		children[at][version.Object.GetUID()] = true
		if len(children[at]) > 1 {
			problems = append(problems, fmt.Sprintf("%s: the Ray with UID %s has two children of role %q", describe(version), at.owner, at.role))
		}
	}
	return problems
}

// checkTargets requires that the target of every committed write is a child of a Ray: an object that
// a Ray controls by UID, with a name that derives from that Ray's.
func checkTargets(h *history.History) []string {
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
		worker := owner + "-" + string(rayv1.RoleWorker)
		return found && (name == owner+"-"+string(rayv1.RoleHead) || name == worker || strings.HasPrefix(name, worker+"-"))
	}
	var problems []string
	for _, write := range childWrites(h) {
		if write.Verb == "create" {
			if owner := metav1.GetControllerOf(write.Sent); owner == nil || !hasChild(owner.UID, write.Name) {
				problems = append(problems, write.String()+": the created object is not a child of a Ray")
			}
			continue
		}
		switch owner, found := owners[write.Target]; {
		case write.Target == "":
			problems = append(problems, write.String()+": the write has no UID precondition")
		case !found || !hasChild(owner, write.Name):
			problems = append(problems, write.String()+": the object is not a child of a Ray")
		case write.Sent != nil && (metav1.GetControllerOf(write.Sent) == nil || metav1.GetControllerOf(write.Sent).UID != owner):
			problems = append(problems, write.String()+": the write changed the controller of the object")
		}
	}
	return problems
}

// checkAdoptions requires that a Ray becomes the controller only of an object that had none, and that had
// its labels.
func checkAdoptions(h *history.History) []string {
	var problems []string
	for _, resource := range []string{history.Services, history.Deployments} {
		for _, change := range changes(h, resource, byUID) {
			if change.before == nil || change.after.Deleted {
				continue
			}
			before, after := metav1.GetControllerOf(change.before.Object), metav1.GetControllerOf(change.after.Object)
			if after == nil || before != nil && before.UID == after.UID {
				continue
			}
			if before != nil || change.before.Object.GetLabels()[rayv1.LabelName] != after.Name {
				problems = append(problems, describe(change.after)+": a Ray has adopted an object that was not its orphan")
			}
		}
	}
	return problems
}

// checkPodWrites requires that nothing of a Pod is written but its deletion cost, and only if it is still
// the same Pod.
func checkPodWrites(h *history.History) []string {
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Resource != history.Pods {
			continue
		}
		want := &metav1.PartialObjectMetadata{}
		if write.Sent != nil {
			want.UID = write.Target
			want.Annotations = map[string]string{corev1.PodDeletionCost: write.Sent.GetAnnotations()[corev1.PodDeletionCost]}
		}
		if write.Verb != "patch" || write.Target == "" || !equality.Semantic.DeepEqual(write.Sent, want) {
			problems = append(problems, write.String()+": not a patch of the deletion cost with a UID precondition")
		}
	}
	return problems
}

// checkUnconditional requires that every update has a resourceVersion. Without one, it can overwrite
// a state that the operator has not seen.
func checkUnconditional(h *history.History) []string {
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Verb == "update" && write.Sent != nil && write.Sent.GetResourceVersion() == "" {
			problems = append(problems, write.String()+": the update has no resourceVersion")
		}
	}
	return problems
}
