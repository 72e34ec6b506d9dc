package oracle

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkCounts compares what was written with an undisturbed run. Writes to children are
// equal to the last one, in every run. How many writes a status takes depends on how fast
// Pods come, so each has to have a reason of its own.
func checkCounts(h *history.History, want *Expectation) []string {
	problems := checkChildWrites(h, want)
	problems = append(problems, checkRefused(h, want)...)
	problems = append(problems, checkStatusWrites(h)...)
	problems = append(problems, checkSuccessEvents(h, want)...)
	problems = append(problems, checkWarnings(h, want)...)
	if !want.Allowance.TwoViews {
		problems = append(problems, checkProblems(h, want)...)
		problems = append(problems, checkRecoveries(h, want)...)
		problems = append(problems, checkWaits(h, want)...)
	}
	return problems
}

func checkChildWrites(h *history.History, want *Expectation) []string {
	surplus := map[string]int{}
	for _, write := range childWrites(h) {
		if write.Number > 0 {
			surplus[write.What()]++
		}
	}
	for _, what := range want.Writes {
		if !strings.Contains(what, history.RayStatus) {
			surplus[what]--
		}
	}
	if want.Allowance.Unanswered {
		forgiveUnanswered(h, surplus)
	}
	var problems []string
	for _, what := range slices.Sorted(maps.Keys(surplus)) {
		count := surplus[what]
		if undone := 0 < count && count <= want.Allowance.Undone[what]; count != 0 && !undone {
			problems = append(problems, fmt.Sprintf("%s was done %+d times, compared with an undisturbed run", what, count))
		}
	}
	return problems
}

// forgiveUnanswered counts writes as done that may have been, where one is missing.
func forgiveUnanswered(h *history.History, surplus map[string]int) {
	for i := range h.Writes {
		write := &h.Writes[i]
		if unanswered := write.Code == 0 || write.Code >= 500; unanswered && surplus[write.What()] < 0 {
			surplus[write.What()]++
		}
	}
}

// checkRefused limits the writes that the server refuses: the operator should know better,
// and must not try the same thing in a loop.
func checkRefused(h *history.History, want *Expectation) []string {
	var refused []string
	behind := 0
	for i := range h.Writes {
		write := &h.Writes[i]
		// Code 0 is a write that the server did not see, so it is the fault's.
		if write.Number == 0 || write.Code < 300 || write.Resource == history.Leases {
			continue
		}
		refused = append(refused, write.String())
		if write.Verb != "create" && (write.Code == http.StatusConflict || write.Code == http.StatusNotFound) {
			behind++
		}
	}
	if allowed := min(behind, conflicts) + want.Allowance.Refused; len(refused) > allowed {
		return []string{fmt.Sprintf("the server refused %d writes, allowed are %d: %s", len(refused), allowed, strings.Join(refused, ", "))}
	}
	return nil
}

// conflicts is how many updates and deletions may be behind in any run: the Deployment controller
// writes the status of Deployments at the same time, and may be faster. Until the operator sees
// that, it tries again at intervals that double, from 5 ms on: eight times in a second, which is
// as long as a busy machine may take.
const conflicts = 8

// minProgressInterval is the least time between two statuses that only tell progress, as their
// times have it.
const minProgressInterval = 2 * time.Second

// checkStatusWrites wants a reason for every status that was written.
func checkStatusWrites(h *history.History) []string {
	var problems []string
	for _, step := range steps(h, history.Rays, byUID) {
		if step.before == nil || step.after.Deleted {
			continue
		}
		before, after := rayOf(step.before), rayOf(step.after)
		if equality.Semantic.DeepEqual(before.Status, after.Status) {
			continue
		}
		old, now := before.Status.DeepCopy(), after.Status.DeepCopy()
		old.LastReconcileTime, now.LastReconcileTime = nil, nil
		if equality.Semantic.DeepEqual(old, now) {
			problems = append(problems, describe(step.after)+" differs from the version before in lastReconcileTime alone")
		}
		since, last := after.Status.LastReconcileTime, before.Status.LastReconcileTime
		if last != nil && onlyProgress(old, now) && since.Sub(last.Time) < minProgressInterval {
			problems = append(problems, describe(step.after)+" tells progress too soon after the version before")
		}
	}
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Committed() && write.Verb == "update" && write.Result != nil && write.Sent != nil && write.Result.GetResourceVersion() == write.Sent.GetResourceVersion() {
			problems = append(problems, write.String()+" changed nothing")
		}
	}
	return problems
}

// progress are the reasons of Health that are no trouble.
var progress = []string{"AllReplicasAvailable", "DeploymentsUnobserved", "ReplicasMissing"}

// onlyProgress tells whether a status is no news that must be told at once: no new
// generation, no other health, and no trouble.
func onlyProgress(old, now *rayv1.RayStatus) bool {
	before, after := health(old), health(now)
	return before != nil && after != nil &&
		old.ObservedGeneration == now.ObservedGeneration &&
		(before.Status == corev1.ConditionTrue) == (after.Status == corev1.ConditionTrue) &&
		slices.Contains(progress, after.Reason)
}

// checkProblems limits the statuses that tell of a problem: they are told at once, whatever was
// told before. One that tells of the same one as the status before may tell progress beside it, if
// it comes as late as that may.
func checkProblems(h *history.History, want *Expectation) []string {
	told := map[string]int{}
	for _, step := range steps(h, history.Rays, byUID) {
		after := rayOf(step.after)
		now := health(&after.Status)
		if step.before == nil || step.after.Deleted || now == nil || slices.Contains(progress, now.Reason) {
			continue
		}
		before := rayOf(step.before)
		last, old := before.Status.LastReconcileTime, health(&before.Status)
		beside := old != nil && old.Reason == now.Reason && after.Status.LastReconcileTime.Sub(last.Time) >= minProgressInterval
		if !beside && !equality.Semantic.DeepEqual(before.Status, after.Status) {
			told[now.Reason+": "+now.Message]++
		}
	}
	return checkLimit("statuses of problems", told, want.Allowance.Problems)
}

func health(status *rayv1.RayStatus) *rayv1.RayCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == rayv1.RayHealth {
			return &status.Conditions[i]
		}
	}
	return nil
}

// checkRecoveries counts how often Health became True in one generation: a Ray that is
// healthy stays so, unless somebody changes something.
func checkRecoveries(h *history.History, want *Expectation) []string {
	times := map[string]int{}
	for _, step := range steps(h, history.Rays, byUID) {
		ray := rayOf(step.after)
		if step.after.Deleted || !Healthy(ray) || step.before != nil && Healthy(rayOf(step.before)) {
			continue
		}
		times[fmt.Sprintf("%s (UID %s) in generation %d", ray.Name, ray.UID, ray.Generation)]++
	}
	var problems []string
	for _, ray := range slices.Sorted(maps.Keys(times)) {
		if count := times[ray]; count > 1+want.Allowance.Recoveries {
			problems = append(problems, fmt.Sprintf("Ray %s became healthy %d times", ray, count))
		}
	}
	return problems
}

// success matches the message of the event after a write.
var success = regexp.MustCompile(`^Successfully (create|update|delete) the (service|deployment) ([a-z0-9-]+)`)

// checkSuccessEvents wants one event for every write to a child, and none without one. The event
// may be missing if the operator was not told that the write was done, or if its process has ended:
// events wait in memory for being sent.
func checkSuccessEvents(h *history.History, want *Expectation) []string {
	surplus, mayMiss := map[string]int{}, map[string]int{}
	for i := range h.End.Events {
		event := &h.End.Events[i]
		if match := success.FindStringSubmatch(event.Message); match != nil {
			surplus[fmt.Sprintf("%s %ss/%s", match[1], match[2], match[3])] += int(event.Count)
		}
	}
	for _, write := range childWrites(h) {
		surplus[write.What()]--
		if want.Allowance.LostEvents || write.Concealed || write.ProcessEnded {
			mayMiss[write.What()]++
		}
	}
	var problems []string
	for _, what := range slices.Sorted(maps.Keys(surplus)) {
		if count := surplus[what]; count > 0 || -count > mayMiss[what] {
			problems = append(problems, fmt.Sprintf("%s has %+d events, compared with the writes that were done", what, count))
		}
	}
	return problems
}

func checkWarnings(h *history.History, want *Expectation) []string {
	return checkLimit("warnings", otherEvents(h, corev1.EventTypeWarning), want.Allowance.Warnings)
}

// checkWaits limits the events that are no warnings and tell of no write either.
func checkWaits(h *history.History, want *Expectation) []string {
	return checkLimit("events that the Ray waits", otherEvents(h, corev1.EventTypeNormal), want.Allowance.Waits)
}

// otherEvents counts the events of Rays that are of a type, Normal or Warning as client-go has them,
// and tell of no write, by their messages.
func otherEvents(h *history.History, kind string) map[string]int {
	counts := map[string]int{}
	for i := range h.End.Events {
		event := &h.End.Events[i]
		if event.InvolvedObject.Kind == rayv1.SchemeGroupVersionKind.Kind && event.Type == kind && !success.MatchString(event.Message) {
			counts[event.Message] += int(event.Count)
		}
	}
	return counts
}

// checkLimit wants that there is no more of something than allowed.
func checkLimit(what string, counts map[string]int, allowed int) []string {
	total := 0
	var each []string
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		total += counts[text]
		each = append(each, fmt.Sprintf("%d × %s", counts[text], text))
	}
	if total <= allowed {
		return nil
	}
	return []string{fmt.Sprintf("there are %d %s, allowed are %d: %s", total, what, allowed, strings.Join(each, "; "))}
}
