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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkOrder requires that generations and times never go back.
func checkOrder(h *history.History, _ *Expectation) []string {
	problems := checkChildGenerations(h, history.Services)
	problems = append(problems, checkChildGenerations(h, history.Deployments)...)
	for _, change := range changes(h, history.Rays, byUID) {
		problems = append(problems, checkObserved(change)...)
		problems = append(problems, checkTransitions(change)...)
	}
	return append(problems, checkAfterDeletion(h)...)
}

// checkChildGenerations requires that a child is never written for an older generation of its Ray
// than before, even if it was created again.
func checkChildGenerations(h *history.History, resource string) []string {
	var problems []string
	byRayAndName := func(child metav1.Object) string {
		if owner := metav1.GetControllerOf(child); owner != nil {
			return string(owner.UID) + child.GetName()
		}
		return string(child.GetUID())
	}
	for _, change := range changes(h, resource, byRayAndName) {
		if change.before == nil || change.after.Deleted {
			continue
		}
		before, after := recordOf(change.before.Object).RayGeneration, recordOf(change.after.Object).RayGeneration
		if after < before {
			problems = append(problems, fmt.Sprintf("%s was written for generation %d of the Ray after generation %d", describe(change.after), after, before))
		}
	}
	return problems
}

// checkObserved requires that observed generations exist and never go back.
func checkObserved(change change) []string {
	var problems []string
	after := rayOf(change.after)
	if observed := after.Status.ObservedGeneration; observed > after.Generation {
		problems = append(problems, fmt.Sprintf("%s has observedGeneration %d, but generation %d", describe(change.after), observed, after.Generation))
	}
	for _, condition := range after.Status.Conditions {
		if condition.ObservedGeneration > after.Status.ObservedGeneration {
			problems = append(problems, fmt.Sprintf("%s has observedGeneration %d, but its condition %s has %d",
				describe(change.after), after.Status.ObservedGeneration, condition.Type, condition.ObservedGeneration))
		}
	}
	if change.before == nil {
		return problems
	}
	before := rayOf(change.before)
	if after.Status.ObservedGeneration < before.Status.ObservedGeneration {
		problems = append(problems, fmt.Sprintf("%s has observedGeneration %d after %d", describe(change.after), after.Status.ObservedGeneration, before.Status.ObservedGeneration))
	}
	old := conditions(before)
	for _, condition := range after.Status.Conditions {
		if was := old[condition.Type].ObservedGeneration; condition.ObservedGeneration < was {
			problems = append(problems, fmt.Sprintf("%s: condition %s has observedGeneration %d after %d", describe(change.after), condition.Type, condition.ObservedGeneration, was))
		}
	}
	return problems
}

// checkTransitions requires that lastTransitionTime changes exactly when the status of a condition
// changes. If the status changes twice in a second, the time is equal, but it is always the time of
// a status update.
func checkTransitions(change change) []string {
	if change.before == nil || change.after.Deleted {
		return nil
	}
	var problems []string
	after := rayOf(change.after)
	old := conditions(rayOf(change.before))
	for _, condition := range after.Status.Conditions {
		was, found := old[condition.Type]
		switch {
		case found && was.Status == condition.Status && !was.LastTransitionTime.Equal(&condition.LastTransitionTime):
			problems = append(problems, fmt.Sprintf("%s: lastTransitionTime of condition %s changed, but its status did not", describe(change.after), condition.Type))
		case (!found || was.Status != condition.Status) && !condition.LastTransitionTime.Equal(after.Status.LastReconcileTime):
			problems = append(problems, fmt.Sprintf("%s: the status of condition %s changed, but its lastTransitionTime did not", describe(change.after), condition.Type))
		}
	}
	return problems
}

func conditions(ray *rayv1.Ray) map[rayv1.RayConditionType]rayv1.RayCondition {
	byType := map[rayv1.RayConditionType]rayv1.RayCondition{}
	for _, condition := range ray.Status.Conditions {
		byType[condition.Type] = condition
	}
	return byType
}

// checkAfterDeletion requires that no child is updated once its deletion has begun. (The deletion of
// the Ray is not checked: the operator may not have observed it.)
func checkAfterDeletion(h *history.History) []string {
	var problems []string
	for _, write := range childWrites(h) {
		if write.Sent != nil && write.Sent.GetDeletionTimestamp() != nil {
			problems = append(problems, write.String()+": the object is being deleted")
		}
	}
	return problems
}
