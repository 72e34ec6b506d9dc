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
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// start is the time at which the histories of these tests start.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// newRay returns a version of the Ray. Its Health changed at second since, and its status was written
// at second written.
func newRay(version string, generation, observed int64, health corev1.ConditionStatus, since, written int) *rayv1.Ray {
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "ray", ResourceVersion: version, Generation: generation}}
	if observed == 0 {
		return ray
	}
	reason := "RolloutIncomplete"
	if health == corev1.ConditionTrue {
		reason = "AllReplicasAvailable"
	}
	ray.Status = rayv1.RayStatus{ObservedGeneration: observed, LastReconcileTime: new(metav1.NewTime(at(written)))}
	for _, conditionType := range []rayv1.RayConditionType{rayv1.RayHealth, rayv1.RayReady} {
		ray.Status.Conditions = append(ray.Status.Conditions, rayv1.RayCondition{
			Type: conditionType, Status: health, ObservedGeneration: observed, Reason: reason,
			LastTransitionTime: metav1.NewTime(at(since)), LastUpdateTime: metav1.NewTime(at(since)),
		})
	}
	return ray
}

// newProblem returns a version of the Ray with a Health of False for a reason.
func newProblem(version, reason string, since, written int) *rayv1.Ray {
	ray := newRay(version, 2, 2, corev1.ConditionFalse, since, written)
	for i := range ray.Status.Conditions {
		ray.Status.Conditions[i].Reason = reason
	}
	return ray
}

// newHead returns a version of the head's Deployment, written for a generation of the Ray.
func newHead(uid types.UID, version string, rayGeneration int64) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Name: "x-head", UID: uid, ResourceVersion: version, Generation: 1,
		Labels:          map[string]string{rayv1.LabelRole: "head"},
		Annotations:     newRecord(rayGeneration, 1, "a"),
		OwnerReferences: []metav1.OwnerReference{{UID: "ray", Controller: new(true)}},
	}, Status: appsv1.DeploymentStatus{ObservedGeneration: 1}}
}

func newRecord(rayGeneration, generation int64, rendering string) map[string]string {
	record := fmt.Sprintf(`{"rayGeneration":%d,"generation":%d,"rendering":%q}`, rayGeneration, generation, rendering)
	return map[string]string{rayv1.AnnotationLastApplied: record}
}

func event(eventType, message string) corev1.Event {
	return corev1.Event{Type: eventType, Message: message, Count: 1, InvolvedObject: corev1.ObjectReference{Kind: "Ray", Name: "x"}}
}

// markPod returns a write of the deletion cost of a Pod.
func markPod() history.Write {
	patch := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "pod", Annotations: map[string]string{corev1.PodDeletionCost: "-1"}}}
	return history.Write{Number: 6, At: at(8), Verb: "patch", Resource: history.Pods, Name: "x-worker-1", Target: "pod", Sent: patch, Code: 200}
}

// valid returns a history without violations: a Ray is created, and then changed.
func valid() (*history.History, *Expectation) {
	created, updated := newHead("head", "2", 1), newHead("head", "5", 2)
	updated.Annotations, updated.Generation, updated.Status.ObservedGeneration = newRecord(2, 2, "a"), 2, 2
	sent := newHead("head", "2", 2)
	unhealthy, healthy := newRay("6", 2, 2, corev1.ConditionFalse, 1, 5), newRay("7", 2, 2, corev1.ConditionTrue, 8, 8)
	h := &history.History{
		Versions: []history.Version{
			{Resource: history.Rays, Object: newRay("1", 1, 0, "", 0, 0)},
			{Resource: history.Deployments, Object: created},
			{Resource: history.Rays, Object: newRay("3", 1, 1, corev1.ConditionFalse, 1, 1)},
			{Resource: history.Rays, Object: newRay("4", 2, 1, corev1.ConditionFalse, 1, 1)},
			{Resource: history.Deployments, Object: updated},
			{Resource: history.Rays, Object: unhealthy},
			{Resource: history.Rays, Object: healthy},
		},
		Writes: []history.Write{
			{Number: 1, At: at(1), Verb: "create", Resource: history.Deployments, Name: "x-head", Sent: newHead("", "", 1), Code: 201, Result: created},
			{Number: 2, At: at(1), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("1", 1, 1, corev1.ConditionFalse, 1, 1), Code: 200},
			{Number: 3, At: at(5), Verb: "update", Resource: history.Deployments, Name: "x-head", Target: "head", Sent: sent, Code: 200, Result: updated},
			{Number: 4, At: at(5), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("4", 2, 2, corev1.ConditionFalse, 1, 5), Code: 200, Result: unhealthy},
			{Number: 5, At: at(8), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("6", 2, 2, corev1.ConditionTrue, 8, 8), Code: 200, Result: healthy},
		},
		Converged: at(9),
		End: history.State{
			Rays:        []rayv1.Ray{*healthy.DeepCopy()},
			Deployments: []appsv1.Deployment{*updated.DeepCopy()},
			Events: []corev1.Event{
				event(corev1.EventTypeNormal, "Successfully create the deployment x-head"),
				event(corev1.EventTypeNormal, "Successfully update the deployment x-head: revert external changes to its template"),
			},
		},
		Log:       "Synced\n",
		Processes: []history.Process{{ExitCode: 0}},
	}
	fresh := &history.State{Rays: []rayv1.Ray{*newRay("99", 1, 1, corev1.ConditionTrue, 2, 2)}, Deployments: []appsv1.Deployment{*newHead("fresh", "98", 1)}}
	return h, &Expectation{
		Fresh:  fresh,
		Writes: []string{"create deployments/x-head", "update rays/status/x", "update deployments/x-head", "update rays/status/x"},
	}
}

func addRay(h *history.History, ray *rayv1.Ray) {
	h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: ray})
}

func TestValid(t *testing.T) {
	if violations := Check(valid()); len(violations) > 0 {
		t.Errorf("unexpected violations: %v", violations)
	}
}

// invalid has a change of the valid history for each check, with the oracle that must report it and a
// part of the message.
var invalid = []struct {
	name   string
	oracle Name
	text   string
	change func(*history.History, *Expectation)
}{
	{"goal not reached", EndState, "never reached", func(h *history.History, _ *Expectation) { h.Converged = time.Time{} }},
	{"other image at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Spec.Template.Spec.Containers = []corev1.Container{{Image: "old"}}
	}},
	{"other status at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Rays[0].Status.Head.Replicas = 2
	}},
	{"Pods that are to be deleted at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Status.Replicas = 2
	}},
	{"a Deployment that was not observed at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Status.ObservedGeneration = 1
	}},
	{"other record at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Annotations = newRecord(2, 2, "b")
	}},
	{"additional child at the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Services = []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Name: "x-head"}}}
	}},
	{"old observedGeneration at the end", EndState, "but observedGeneration 1", func(h *history.History, _ *Expectation) {
		h.End.Rays[0].Status.ObservedGeneration = 1
	}},
	{"old observedGeneration of a condition at the end", EndState, "condition Ready has observedGeneration 1", func(h *history.History, _ *Expectation) {
		h.End.Rays[0].Status.Conditions[1].ObservedGeneration = 1
	}},
	{"old generation recorded at the end", EndState, "but records 1", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Annotations = newRecord(2, 1, "a")
	}},
	{"child of another Ray at the end", EndState, "not controlled by the Ray", func(h *history.History, want *Expectation) {
		h.End.Deployments[0].OwnerReferences = []metav1.OwnerReference{{UID: "other", Controller: new(true)}}
		want.Fresh.Deployments[0].OwnerReferences = []metav1.OwnerReference{{Controller: new(true)}}
	}},

	{"child written twice", Counts, "update deployments/x-head: +1", func(h *history.History, _ *Expectation) { h.Writes = append(h.Writes, h.Writes[2]) }},
	{"child not written", Counts, "create deployments/x-head: -1", func(h *history.History, _ *Expectation) { h.Writes = h.Writes[1:] }},
	{"stale updates in a loop", Counts, "rejected 9 writes, want at most 8", func(h *history.History, _ *Expectation) {
		for range maxConflicts + 1 {
			h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 409})
		}
	}},
	{"create of an object that exists", Counts, "rejected 1 writes, want at most 0", func(h *history.History, _ *Expectation) {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "create", Resource: history.Services, Code: 409})
	}},
	{"invalid update", Counts, "rejected 1 writes, want at most 0", func(h *history.History, _ *Expectation) {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 422})
	}},
	{"status with only new times", Counts, "only in lastReconcileTime", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 2, corev1.ConditionTrue, 8, 12))
	}},
	{"progress too soon", Counts, "too soon", func(h *history.History, _ *Expectation) {
		next := newRay("8", 2, 2, corev1.ConditionTrue, 8, 8)
		next.Status.Head.Replicas = 1
		addRay(h, next)
	}},
	{"ReplicaFailure too soon", Counts, "too soon", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 2, corev1.ConditionFalse, 10, 10))
		addRay(h, newProblem("9", "ReplicaFailure", 10, 11))
	}},
	{"update without a change", Counts, "changed nothing", func(h *history.History, _ *Expectation) { h.Writes[2].Result = h.Writes[2].Sent }},
	{"healthy twice", Counts, "became healthy 2 times", func(h *history.History, _ *Expectation) {
		for i, health := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue} {
			addRay(h, newRay("9", 2, 2, health, 10+i, 10+i))
		}
	}},
	{"additional event", Counts, "create deployments/x-head: +1 events", func(h *history.History, _ *Expectation) { h.End.Events[0].Count++ }},
	{"event of a group that was not scaled", Counts, "update deployments/x-worker-gpu: +1 events", func(h *history.History, _ *Expectation) {
		h.End.Events = append(h.End.Events, event(corev1.EventTypeNormal, `Scaled group "gpu" from 1 to 2: minReplicas is 2`))
	}},
	{"Pod marked", Counts, "1 writes to Pods", func(h *history.History, _ *Expectation) { h.Writes = append(h.Writes, markPod()) }},
	{"Pod not marked", Counts, "0 writes to Pods", func(_ *history.History, want *Expectation) { want.Writes = append(want.Writes, MarkPod) }},
	{"Pod changed", Ownership, "not a patch of the deletion cost", func(h *history.History, _ *Expectation) {
		write := markPod()
		write.Sent.SetLabels(map[string]string{"a": "b"})
		h.Writes = append(h.Writes, write)
	}},
	{"Pod marked by name", Ownership, "not a patch of the deletion cost", func(h *history.History, _ *Expectation) {
		write := markPod()
		write.Target = ""
		h.Writes = append(h.Writes, write)
	}},
	{"Pod deleted", Ownership, "not a patch of the deletion cost", func(h *history.History, _ *Expectation) {
		h.Writes = append(h.Writes, history.Write{Number: 6, At: at(8), Verb: "delete", Resource: history.Pods, Name: "x-worker-1", Target: "pod", Code: 200})
	}},
	{"missing event", Counts, "update deployments/x-head: -1 events", func(h *history.History, _ *Expectation) { h.End.Events = h.End.Events[:1] }},
	{"warning", Counts, "1 events of type Warning", func(h *history.History, _ *Expectation) {
		h.End.Events = append(h.End.Events, event(corev1.EventTypeWarning, "could not be created"))
	}},
	{"problem in a status", Counts, "1 statuses that report a problem", func(h *history.History, _ *Expectation) {
		addRay(h, newProblem("8", "FailedCreate", 10, 10))
	}},
	{"Normal event for a problem", Counts, "1 events of type Normal", func(h *history.History, _ *Expectation) {
		h.End.Events = append(h.End.Events, event(corev1.EventTypeNormal, "is being deleted"))
	}},

	{"two children of a role", Ownership, "two children of role", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Deployments, Object: newHead("second", "8", 2)})
	}},
	{"created without a controller", Ownership, "created object is not a child of a Ray", func(h *history.History, _ *Expectation) { h.Writes[0].Sent.SetOwnerReferences(nil) }},
	{"created with the name of another Ray's child", Ownership, "created object is not a child of a Ray", func(h *history.History, _ *Expectation) { h.Writes[0].Name = "other-head" }},
	{"update of another Ray's child", Ownership, "the object is not a child of a Ray", func(h *history.History, _ *Expectation) { h.Writes[2].Name = "other-head" }},
	{"update of an unrelated object", Ownership, "the object is not a child of a Ray", func(h *history.History, _ *Expectation) { h.Writes[2].Target = "unrelated" }},
	{"update by name", Ownership, "no UID precondition", func(h *history.History, _ *Expectation) { h.Writes[2].Target = "" }},
	{"adoption", Ownership, "changed the controller", func(h *history.History, _ *Expectation) {
		h.Writes[2].Sent.SetOwnerReferences([]metav1.OwnerReference{{UID: "other", Controller: new(true)}})
	}},
	{"update of any version", Ownership, "no resourceVersion", func(h *history.History, _ *Expectation) { h.Writes[2].Sent.SetResourceVersion("") }},

	{"child for an older generation", Order, "for generation 1 of the Ray after generation 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Deployments, Object: newHead("head", "8", 1)})
	}},
	{"child created again for an older generation", Order, "for generation 1 of the Ray after generation 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions,
			history.Version{Resource: history.Deployments, Object: newHead("head", "8", 2), Deleted: true},
			history.Version{Resource: history.Deployments, Object: newHead("second", "9", 1)})
	}},
	{"future observedGeneration", Order, "observedGeneration 3, but generation 2", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 3, corev1.ConditionTrue, 8, 12))
	}},
	{"observedGeneration goes back", Order, "observedGeneration 1 after 2", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 1, corev1.ConditionTrue, 8, 12))
	}},
	{"observedGeneration of a condition goes back", Order, "condition Ready has observedGeneration 1 after 2", func(h *history.History, _ *Expectation) {
		next := newRay("8", 2, 2, corev1.ConditionTrue, 8, 12)
		next.Status.Conditions[1].ObservedGeneration = 1
		addRay(h, next)
	}},
	{"future observedGeneration of a condition", Order, "but its condition Ready has 3", func(h *history.History, _ *Expectation) {
		next := newRay("8", 2, 2, corev1.ConditionTrue, 8, 12)
		next.Status.Conditions[1].ObservedGeneration = 3
		addRay(h, next)
	}},
	{"transition without a change", Order, "changed, but its status did not", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 2, corev1.ConditionTrue, 12, 12))
	}},
	{"change without a transition", Order, "its lastTransitionTime did not", func(h *history.History, _ *Expectation) {
		addRay(h, newRay("8", 2, 2, corev1.ConditionFalse, 8, 12))
	}},
	{"update during deletion", Order, "being deleted", func(h *history.History, _ *Expectation) {
		h.Writes[2].Sent.SetDeletionTimestamp(new(metav1.NewTime(at(4))))
	}},

	{"write in the steady state", SteadyState, "in the steady state", func(h *history.History, _ *Expectation) { h.Writes[2].At = at(10) }},

	{"Ready with another status", ObservedHealth, "Ready differs", func(h *history.History, _ *Expectation) {
		rayOf(&h.Versions[2]).Status.Conditions[1].Status = corev1.ConditionTrue
	}},
	{"Ready with another message", ObservedHealth, "Ready differs", func(h *history.History, _ *Expectation) {
		rayOf(&h.Versions[2]).Status.Conditions[1].Message = "1 of 3 available"
	}},
	{"no Ready", ObservedHealth, "Ready differs", func(h *history.History, _ *Expectation) {
		status := &rayOf(&h.Versions[2]).Status
		status.Conditions = status.Conditions[:1]
	}},

	{"panic", Processes, "panic", func(h *history.History, _ *Expectation) { h.Log += "panic in sync: nil\n" }},
	{"data race", Processes, "DATA RACE", func(h *history.History, _ *Expectation) { h.Log += "WARNING: DATA RACE\n" }},
	{"exit code", Processes, "exited with code 1", func(h *history.History, _ *Expectation) { h.Processes[0].ExitCode = 1 }},
	{"unexpected exit", Processes, "exited on its own", func(h *history.History, _ *Expectation) { h.Processes[0].Unexpected = true }},
	{"too many goroutines", Processes, "101 goroutines", func(h *history.History, _ *Expectation) {
		h.Sizes = []history.Size{{Goroutines: maxGoroutines + 1}}
	}},
	{"heap too large", Processes, "a heap of", func(h *history.History, _ *Expectation) {
		h.Sizes = []history.Size{{HeapBytes: maxHeapBytes + 1}}
	}},
}

func TestInvalid(t *testing.T) {
	for _, test := range invalid {
		t.Run(test.name, func(t *testing.T) {
			h, want := valid()
			test.change(h, want)
			violations := Check(h, want)
			if !slices.ContainsFunc(violations, func(v Violation) bool {
				return v.Oracle == test.oracle && strings.Contains(v.Text, test.text)
			}) {
				t.Errorf("oracle %s does not report %q; all violations: %v", test.oracle, test.text, violations)
			}
		})
	}
}

// TestProblems checks the allowances for statuses and events that report problems.
func TestProblems(t *testing.T) {
	h, want := valid()
	for i, reason := range []string{"FailedCreate", "ChildTerminating"} {
		addRay(h, newProblem(strconv.Itoa(8+i), reason, 10, 10+i))
	}
	same := newProblem("10", "ChildTerminating", 10, 13)
	same.Status.Head.Replicas = 1
	addRay(h, same)
	recovered := newRay("11", 2, 2, corev1.ConditionTrue, 14, 14)
	addRay(h, recovered)
	h.End.Rays[0] = *recovered
	h.End.Events = append(h.End.Events, event(corev1.EventTypeWarning, "could not be created"), event(corev1.EventTypeNormal, "is being deleted"))
	for _, test := range []struct {
		name     string
		allow    Allowance
		problems int
	}{
		{"sufficient", Allowance{ProblemStatuses: 2, WarningEvents: 1, NormalEvents: 1, Recoveries: 1}, 0},
		{"none", Allowance{}, 4},
		{"one status too many", Allowance{ProblemStatuses: 1, WarningEvents: 1, NormalEvents: 1, Recoveries: 1}, 1},
		{"divergent views", Allowance{DivergentViews: true, WarningEvents: 1}, 0},
		{"divergent views and a warning", Allowance{DivergentViews: true}, 1},
	} {
		want.Allowance = test.allow
		if violations := Check(h, want); len(violations) != test.problems {
			t.Errorf("%s: got %d violations, want %d: %v", test.name, len(violations), test.problems, violations)
		}
	}
}

// TestProblemEvents checks that each process may report a problem once.
func TestProblemEvents(t *testing.T) {
	h, want := valid()
	want.Allowance = Allowance{WarningEvents: 1, NormalEvents: 1}
	h.End.Events = append(h.End.Events, event(corev1.EventTypeWarning, "could not be created"), event(corev1.EventTypeNormal, "is being deleted"))
	h.End.Events[2].Count, h.End.Events[3].Count = 2, 2
	if violations := Check(h, want); len(violations) != 2 {
		t.Errorf("one process: got %d violations, want 2: %v", len(violations), violations)
	}
	h.Processes = append(h.Processes, history.Process{Killed: true, ExitCode: -1})
	if violations := Check(h, want); len(violations) > 0 {
		t.Errorf("two processes: unexpected violations: %v", violations)
	}
}

// TestLostEvents checks that an event may be missing if the operator could not send it.
func TestLostEvents(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*history.Write)
		problems int
	}{
		{"response received", func(*history.Write) {}, 1},
		{"response concealed", func(w *history.Write) { w.Concealed = true }, 0},
		{"process exited", func(w *history.Write) { w.ProcessExited = true }, 0},
	} {
		h, want := valid()
		h.End.Events = h.End.Events[1:]
		test.change(&h.Writes[0])
		if violations := Check(h, want); len(violations) != test.problems {
			t.Errorf("%s: got %d violations, want %d: %v", test.name, len(violations), test.problems, violations)
		}
	}
}

// TestAllowances checks that the allowances are accepted, but no more.
func TestAllowances(t *testing.T) {
	h, want := valid()
	h.End.Events = []corev1.Event{event(corev1.EventTypeWarning, "could not be created")}
	for range maxConflicts + 1 {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 409})
	}
	h.Processes = []history.Process{{ExitCode: 1, ExitMessage: "ray-operator: the lease was lost"}}
	h.Writes = append(h.Writes, h.Writes[2])
	want.Allowance = Allowance{LostEvents: true, WarningEvents: 1, Rejected: 1, LostLease: true, Reverts: map[string]int{"update deployments/x-head": 1}}
	if violations := Check(h, want); len(violations) > 0 {
		t.Errorf("unexpected violations: %v", violations)
	}
	h.End.Events[0].Count = 3
	h.Processes = append(h.Processes, history.Process{ExitCode: 1, ExitMessage: "ray-operator: context canceled"})
	h.Writes = append(h.Writes, h.Writes[2], h.Writes[len(h.Writes)-2])
	if violations := Check(h, want); len(violations) != 4 {
		t.Errorf("got %d violations, want 4: %v", len(violations), violations)
	}
}
