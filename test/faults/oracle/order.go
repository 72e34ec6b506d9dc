package oracle

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkOrder wants that nothing older follows what is newer.
func checkOrder(h *history.History, _ *Expectation) []string {
	problems := checkChildGenerations(h, history.Services)
	problems = append(problems, checkChildGenerations(h, history.Deployments)...)
	for _, step := range steps(h, history.Rays, byUID) {
		problems = append(problems, checkObserved(step)...)
		problems = append(problems, checkTransitions(step)...)
	}
	return append(problems, checkAfterDeletion(h)...)
}

// checkChildGenerations wants that a child is never written for an older generation of
// its Ray than one before, also if it was made anew in between.
func checkChildGenerations(h *history.History, resource string) []string {
	var problems []string
	byRayAndName := func(child metav1.Object) string {
		if owner := metav1.GetControllerOf(child); owner != nil {
			return string(owner.UID) + child.GetName()
		}
		return string(child.GetUID())
	}
	for _, step := range steps(h, resource, byRayAndName) {
		if step.before == nil || step.after.Deleted {
			continue
		}
		before, after := rayGeneration(step.before.Object), rayGeneration(step.after.Object)
		if after < before {
			problems = append(problems, fmt.Sprintf("%s is for generation %d of the Ray, after it was for %d", describe(step.after), after, before))
		}
	}
	return problems
}

func rayGeneration(child metav1.Object) int64 {
	generation, err := strconv.ParseInt(child.GetAnnotations()[rayv1.AnnotationRayGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return generation
}

func checkObserved(step step) []string {
	var problems []string
	after := rayOf(step.after)
	if observed := after.Status.ObservedGeneration; observed > after.Generation {
		problems = append(problems, fmt.Sprintf("%s has observed generation %d of %d", describe(step.after), observed, after.Generation))
	}
	if step.before == nil {
		return problems
	}
	if before := rayOf(step.before); after.Status.ObservedGeneration < before.Status.ObservedGeneration {
		problems = append(problems, fmt.Sprintf("%s has observed generation %d after %d", describe(step.after), after.Status.ObservedGeneration, before.Status.ObservedGeneration))
	}
	return problems
}

// checkTransitions wants lastTransitionTime to move exactly with its status. Where the
// status moves twice in a second, the time is the same, but never another than that of the
// status that was written.
func checkTransitions(step step) []string {
	if step.before == nil || step.after.Deleted {
		return nil
	}
	var problems []string
	before, after := rayOf(step.before), rayOf(step.after)
	old := map[rayv1.RayConditionType]rayv1.RayCondition{}
	for _, condition := range before.Status.Conditions {
		old[condition.Type] = condition
	}
	for _, condition := range after.Status.Conditions {
		was, found := old[condition.Type]
		switch {
		case found && was.Status == condition.Status && !was.LastTransitionTime.Equal(&condition.LastTransitionTime):
			problems = append(problems, fmt.Sprintf("%s: lastTransitionTime of %s moved, its status did not", describe(step.after), condition.Type))
		case (!found || was.Status != condition.Status) && !condition.LastTransitionTime.Equal(after.Status.LastReconcileTime):
			problems = append(problems, fmt.Sprintf("%s: the status of %s moved, its lastTransitionTime did not", describe(step.after), condition.Type))
		}
	}
	return problems
}

// checkAfterDeletion wants no update of a child whose deletion has begun. (That a Ray's
// deletion has begun is another matter: the operator may not know it yet.)
func checkAfterDeletion(h *history.History) []string {
	var problems []string
	for _, write := range childWrites(h) {
		if write.Sent != nil && write.Sent.GetDeletionTimestamp() != nil {
			problems = append(problems, write.String()+" is about an object that is being deleted")
		}
	}
	return problems
}
