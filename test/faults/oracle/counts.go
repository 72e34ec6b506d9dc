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

// checkCounts compares the writes and events with those of an undisturbed run. The number of writes
// to children is the same in every run. The number of status writes depends on how fast Pods become
// available, so each status write must have a reason.
func checkCounts(h *history.History, want *Expectation) []string {
	problems := checkChildWrites(h, want)
	problems = append(problems, checkPodMarks(h, want)...)
	problems = append(problems, checkRejected(h, want)...)
	problems = append(problems, checkStatusWrites(h)...)
	problems = append(problems, checkSuccessEvents(h, want)...)
	problems = append(problems, checkWarningEvents(h, want)...)
	if !want.Allowance.DivergentViews {
		problems = append(problems, checkProblemStatuses(h, want)...)
		problems = append(problems, checkRecoveries(h, want)...)
		problems = append(problems, checkNormalEvents(h, want)...)
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
		if !strings.Contains(what, history.RayStatus) && what != MarkPod {
			surplus[what]--
		}
	}
	if want.Allowance.Unanswered {
		addUnanswered(h, surplus)
	}
	var problems []string
	for _, what := range slices.Sorted(maps.Keys(surplus)) {
		count := surplus[what]
		if allowed := 0 < count && count <= want.Allowance.Reverts[what]; count != 0 && !allowed {
			problems = append(problems, fmt.Sprintf("%s: %+d compared with an undisturbed run", what, count))
		}
	}
	return problems
}

// MarkPod is the write of the deletion cost of a Pod with a name that varies.
const MarkPod = "patch pods"

// checkPodMarks requires that each process marks a Pod once at most, and each Pod is marked. A mark with a concealed response
// may be repeated. One that is removed again, since Ray did not drain the node, is none.
func checkPodMarks(h *history.History, want *Expectation) []string {
	expected, marks, concealed := 0, 0, 0
	for _, what := range want.Writes {
		if what == MarkPod {
			expected++
		}
	}
	for i := range h.Writes {
		write := &h.Writes[i]
		switch {
		case write.Resource != history.Pods || write.Number == 0 || !write.Committed():
		case write.Concealed:
			concealed++
		case write.Sent != nil && write.Sent.GetAnnotations()[corev1.PodDeletionCost] == "":
			marks--
		default:
			marks++
		}
	}
	if marks+concealed < expected || marks > expected*processes(h) {
		return []string{fmt.Sprintf("%d writes to Pods, and %d with a concealed response, want %d by each process at most, and as many in all", marks, concealed, expected)}
	}
	return nil
}

// addUnanswered counts an unanswered write as committed if a write is missing.
func addUnanswered(h *history.History, surplus map[string]int) {
	for i := range h.Writes {
		write := &h.Writes[i]
		if unanswered := write.Code == 0 || write.Code >= 500; unanswered && surplus[write.What()] < 0 {
			surplus[write.What()]++
		}
	}
}

// checkRejected limits the writes that the server rejects, so that the operator does not retry in a
// loop.
func checkRejected(h *history.History, want *Expectation) []string {
	var rejected []string
	stale := 0
	for i := range h.Writes {
		write := &h.Writes[i]
		// Code 0 means that a fault kept the write from the server.
		if write.Number == 0 || write.Code < 300 || write.Resource == history.Leases {
			continue
		}
		rejected = append(rejected, write.String())
		if write.Verb != "create" && (write.Code == http.StatusConflict || write.Code == http.StatusNotFound) {
			stale++
		}
	}
	if allowed := min(stale, maxConflicts) + want.Allowance.Rejected; len(rejected) > allowed {
		return []string{fmt.Sprintf("the server rejected %d writes, want at most %d: %s", len(rejected), allowed, strings.Join(rejected, ", "))}
	}
	return nil
}

// maxConflicts is the number of updates and deletions that may be based on a stale state in any run:
// the Deployment controller writes the status of Deployments at the same time. Until its cache has
// caught up, the operator retries at intervals that double from 5 ms: eight times in a second, the
// maximum on a busy machine.
const maxConflicts = 8

// minStatusInterval is the minimum interval between two statuses, unless the second has to be written
// at once. It applies to lastReconcileTime.
const minStatusInterval = 2 * time.Second

// checkStatusWrites requires a reason for every status write.
func checkStatusWrites(h *history.History) []string {
	var problems []string
	for _, change := range changes(h, history.Rays, byUID) {
		if change.before == nil || change.after.Deleted {
			continue
		}
		before, after := rayOf(change.before), rayOf(change.after)
		if equality.Semantic.DeepEqual(before.Status, after.Status) {
			continue
		}
		old, now := before.Status.DeepCopy(), after.Status.DeepCopy()
		old.LastReconcileTime, now.LastReconcileTime = nil, nil
		if equality.Semantic.DeepEqual(old, now) {
			problems = append(problems, describe(change.after)+" differs from the previous version only in lastReconcileTime")
		}
		since, last := after.Status.LastReconcileTime, before.Status.LastReconcileTime
		if last != nil && rateLimited(old, now) && since.Sub(last.Time) < minStatusInterval {
			problems = append(problems, describe(change.after)+" was written too soon after the previous version")
		}
	}
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Committed() && write.Verb == "update" && write.Result != nil && write.Sent != nil && write.Result.GetResourceVersion() == write.Sent.GetResourceVersion() {
			problems = append(problems, write.String()+": the update changed nothing")
		}
	}
	return problems
}

// progress has the reasons of Health that are not a problem.
var progress = []string{"AllReplicasAvailable", "DeploymentsUnobserved", "RolloutIncomplete", "PodFailure", "Suspended", "Terminating"}

// replicaFailure is the only problem with a rate-limited status: it is not the operator's own.
const replicaFailure = "ReplicaFailure"

// rateLimited reports whether a status has no change that is written at once: a new generation,
// Health or Suspended turning True or not True, or a problem of the operator's own.
func rateLimited(old, now *rayv1.RayStatus) bool {
	before, after := health(old), health(now)
	return before != nil && after != nil &&
		old.ObservedGeneration == now.ObservedGeneration &&
		(before.Status == corev1.ConditionTrue) == (after.Status == corev1.ConditionTrue) &&
		isSuspended(old) == isSuspended(now) &&
		(slices.Contains(progress, after.Reason) || after.Reason == replicaFailure)
}

// checkProblemStatuses limits the statuses that report a problem, which may be written at once. A
// status with the same problem as the previous one is not counted if it respects the interval.
func checkProblemStatuses(h *history.History, want *Expectation) []string {
	reported := map[string]int{}
	for _, change := range changes(h, history.Rays, byUID) {
		after := rayOf(change.after)
		now := health(&after.Status)
		if change.before == nil || change.after.Deleted || now == nil || slices.Contains(progress, now.Reason) {
			continue
		}
		before := rayOf(change.before)
		last, old := before.Status.LastReconcileTime, health(&before.Status)
		same := old != nil && old.Reason == now.Reason && after.Status.LastReconcileTime.Sub(last.Time) >= minStatusInterval
		if !same && !equality.Semantic.DeepEqual(before.Status, after.Status) {
			reported[now.Reason+": "+now.Message]++
		}
	}
	return checkLimit("statuses that report a problem", reported, want.Allowance.ProblemStatuses)
}

func health(status *rayv1.RayStatus) *rayv1.RayCondition { return find(status, rayv1.RayHealth) }

func isSuspended(status *rayv1.RayStatus) bool {
	suspended := find(status, rayv1.RaySuspended)
	return suspended != nil && suspended.Status == corev1.ConditionTrue
}

func find(status *rayv1.RayStatus, condition rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == condition {
			return &status.Conditions[i]
		}
	}
	return nil
}

// checkRecoveries limits how often Health becomes True in one generation: a healthy Ray stays healthy
// unless something changes.
func checkRecoveries(h *history.History, want *Expectation) []string {
	times := map[string]int{}
	for _, change := range changes(h, history.Rays, byUID) {
		ray := rayOf(change.after)
		if change.after.Deleted || !Healthy(ray) || change.before != nil && Healthy(rayOf(change.before)) {
			continue
		}
		times[fmt.Sprintf("Ray %q (UID %s) in generation %d", ray.Name, ray.UID, ray.Generation)]++
	}
	var problems []string
	for _, ray := range slices.Sorted(maps.Keys(times)) {
		if count := times[ray]; count > 1+want.Allowance.Recoveries {
			problems = append(problems, fmt.Sprintf("%s became healthy %d times, want at most %d", ray, count, 1+want.Allowance.Recoveries))
		}
	}
	return problems
}

// success matches the message of the event for a write.
var success = regexp.MustCompile(`^Successfully (create|adopt|update|delete) the (service|deployment) ([a-z0-9-]+)`)

// scaled matches the message of the event for an update that scales an autoscaled group.
var scaled = regexp.MustCompile(`^Scaled group "([a-z0-9-]+)" from [0-9]+ to [0-9]+: .`)

// eventOf returns the write that an event reports, in the form of Write.What, or "" if it reports a problem.
func eventOf(event *corev1.Event) string {
	if match := success.FindStringSubmatch(event.Message); match != nil {
		verb := strings.Replace(match[1], "adopt", "update", 1) // an adoption is an update
		return fmt.Sprintf("%s %ss/%s", verb, match[2], match[3])
	}
	if match := scaled.FindStringSubmatch(event.Message); match != nil {
		role := string(rayv1.RoleWorker)
		if match[1] != role {
			role += "-" + match[1]
		}
		return fmt.Sprintf("update deployments/%s-%s", event.InvolvedObject.Name, role)
	}
	return ""
}

// checkSuccessEvents requires one event for every write to a child, and no others. An event may be
// missing if a fault hid the result of the write, or if the process exited before it sent the event.
func checkSuccessEvents(h *history.History, want *Expectation) []string {
	surplus, mayMiss := map[string]int{}, map[string]int{}
	for i := range h.End.Events {
		event := &h.End.Events[i]
		if what := eventOf(event); what != "" {
			surplus[what] += int(event.Count)
		}
	}
	for _, write := range childWrites(h) {
		surplus[write.What()]--
		if want.Allowance.LostEvents || write.Concealed || write.ProcessExited {
			mayMiss[write.What()]++
		}
	}
	var problems []string
	for _, what := range slices.Sorted(maps.Keys(surplus)) {
		if count := surplus[what]; count > 0 || -count > mayMiss[what] {
			problems = append(problems, fmt.Sprintf("%s: %+d events compared with the writes", what, count))
		}
	}
	return problems
}

func checkWarningEvents(h *history.History, want *Expectation) []string {
	return checkLimit("events of type Warning", problemEvents(h, corev1.EventTypeWarning), want.Allowance.WarningEvents*processes(h))
}

// checkNormalEvents limits the Normal events that report a problem.
func checkNormalEvents(h *history.History, want *Expectation) []string {
	return checkLimit("events of type Normal that report a problem", problemEvents(h, corev1.EventTypeNormal), want.Allowance.NormalEvents*processes(h))
}

// processes returns the number of processes of the operators. Which problems were reported in events
// is kept in memory, so each process may report a problem once.
func processes(h *history.History) int { return max(1, len(h.Processes)) }

// problemEvents counts the events about Rays that do not report a write, by message. The type is that
// of the event: Normal or Warning.
func problemEvents(h *history.History, eventType string) map[string]int {
	counts := map[string]int{}
	for i := range h.End.Events {
		event := &h.End.Events[i]
		if event.InvolvedObject.Kind == rayv1.SchemeGroupVersionKind.Kind && event.Type == eventType && eventOf(event) == "" {
			counts[event.Message] += int(event.Count)
		}
	}
	return counts
}

// checkLimit limits the sum of the counts.
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
	return []string{fmt.Sprintf("%d %s, want at most %d: %s", total, what, allowed, strings.Join(each, "; "))}
}
