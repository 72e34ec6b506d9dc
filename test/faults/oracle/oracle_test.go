package oracle

import (
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

// start is when the histories of these tests begin.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// newRay returns a version of the Ray, whose Health got its status at a second and which
// was written at another.
func newRay(version string, generation, observed int64, health corev1.ConditionStatus, since, written int) *rayv1.Ray {
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "ray", ResourceVersion: version, Generation: generation}}
	if observed == 0 {
		return ray
	}
	reason := "ReplicasMissing"
	if health == corev1.ConditionTrue {
		reason = "AllReplicasAvailable"
	}
	ray.Status = rayv1.RayStatus{
		ObservedGeneration: observed,
		LastReconcileTime:  new(metav1.NewTime(at(written))),
		Conditions: []rayv1.RayCondition{{
			Type: rayv1.RayHealth, Status: health, Reason: reason,
			LastTransitionTime: metav1.NewTime(at(since)), LastUpdateTime: metav1.NewTime(at(since)),
		}},
	}
	return ray
}

// newHead returns a version of the head's Deployment, written for a generation of the Ray.
func newHead(uid types.UID, version, rayGeneration string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Name: "x-head", UID: uid, ResourceVersion: version, Generation: 1,
		Labels:          map[string]string{rayv1.LabelRole: "head"},
		Annotations:     map[string]string{rayv1.AnnotationRayGeneration: rayGeneration, rayv1.AnnotationGeneration: "1"},
		OwnerReferences: []metav1.OwnerReference{{UID: "ray", Controller: new(true)}},
	}}
}

func event(kind, message string) corev1.Event {
	return corev1.Event{Type: kind, Message: message, Count: 1, InvolvedObject: corev1.ObjectReference{Kind: "Ray"}}
}

// good returns a history that no oracle objects to: a Ray is created, and then changed.
func good() (*history.History, *Expectation) {
	created, updated := newHead("head", "2", "1"), newHead("head", "5", "2")
	updated.Annotations[rayv1.AnnotationGeneration], updated.Generation = "2", 2
	sent := newHead("head", "2", "2")
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
			{Number: 1, At: at(1), Verb: "create", Resource: history.Deployments, Name: "x-head", Sent: newHead("", "", "1"), Code: 201, Result: created},
			{Number: 2, At: at(1), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("1", 1, 1, corev1.ConditionFalse, 1, 1), Code: 200},
			{Number: 3, At: at(5), Verb: "update", Resource: history.Deployments, Name: "x-head", Target: "head", Sent: sent, Code: 200, Result: updated},
			{Number: 4, At: at(5), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("4", 2, 2, corev1.ConditionFalse, 1, 5), Code: 200, Result: unhealthy},
			{Number: 5, At: at(8), Verb: "update", Resource: history.RayStatus, Name: "x", Target: "ray", Sent: newRay("6", 2, 2, corev1.ConditionTrue, 8, 8), Code: 200, Result: healthy},
		},
		Converged: at(9),
		End: history.State{
			Rays:        []rayv1.Ray{*healthy},
			Deployments: []appsv1.Deployment{*updated},
			Events: []corev1.Event{
				event(corev1.EventTypeNormal, "Successfully create the deployment x-head"),
				event(corev1.EventTypeNormal, "Successfully update the deployment x-head: template"),
			},
		},
		Log:       "all is well\n",
		Processes: []history.Process{{Killed: true, ExitCode: -1}, {ExitCode: 0}},
	}
	fresh := &history.State{Rays: []rayv1.Ray{*newRay("99", 1, 1, corev1.ConditionTrue, 2, 2)}, Deployments: []appsv1.Deployment{*newHead("fresh", "98", "1")}}
	return h, &Expectation{
		Fresh:  fresh,
		Writes: []string{"create deployments/x-head", "update rays/status/x", "update deployments/x-head", "update rays/status/x"},
	}
}

func TestGood(t *testing.T) {
	if violations := Check(good()); len(violations) > 0 {
		t.Errorf("there are violations: %v", violations)
	}
}

// bad has, per oracle, what it must object to: a change of the good history, and a part of
// the message.
var bad = []struct {
	name   string
	oracle Name
	text   string
	spoil  func(*history.History, *Expectation)
}{
	{"never as wanted", EndState, "never became", func(h *history.History, _ *Expectation) { h.Converged = time.Time{} }},
	{"another image in the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Spec.Template.Spec.Containers = []corev1.Container{{Image: "old"}}
	}},
	{"another status in the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Rays[0].Status.Head.Replicas = 2
	}},
	{"a child too many in the end", EndState, "differs from a fresh deployment", func(h *history.History, _ *Expectation) {
		h.End.Services = []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Name: "x-head"}}}
	}},
	{"an old generation observed in the end", EndState, "1 is observed", func(h *history.History, _ *Expectation) {
		h.End.Rays[0].Status.ObservedGeneration = 1
	}},
	{"an old generation recorded in the end", EndState, "1 is recorded", func(h *history.History, _ *Expectation) {
		h.End.Deployments[0].Annotations[rayv1.AnnotationGeneration] = "1"
	}},
	{"another Ray's child in the end", EndState, "does not belong", func(h *history.History, want *Expectation) {
		h.End.Deployments[0].OwnerReferences = []metav1.OwnerReference{{UID: "other", Controller: new(true)}}
		want.Fresh.Deployments[0].OwnerReferences = []metav1.OwnerReference{{Controller: new(true)}}
	}},

	{"a child written twice", Counts, "update deployments/x-head was done +1", func(h *history.History, _ *Expectation) { h.Writes = append(h.Writes, h.Writes[2]) }},
	{"a child not written", Counts, "create deployments/x-head was done -1", func(h *history.History, _ *Expectation) { h.Writes = h.Writes[1:] }},
	{"behind in a loop", Counts, "refused 9 writes, allowed are 8", func(h *history.History, _ *Expectation) {
		for range conflicts + 1 {
			h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 409})
		}
	}},
	{"a name that is taken", Counts, "refused 1 writes, allowed are 0", func(h *history.History, _ *Expectation) {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "create", Resource: history.Services, Code: 409})
	}},
	{"an update that is invalid", Counts, "refused 1 writes, allowed are 0", func(h *history.History, _ *Expectation) {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 422})
	}},
	{"too many goroutines", Processes, "81 goroutines", func(h *history.History, _ *Expectation) {
		h.Sizes = []history.Size{{Goroutines: maxGoroutines + 1}}
	}},
	{"a heap that grows", Processes, "at rest has", func(h *history.History, _ *Expectation) {
		h.Sizes = []history.Size{{HeapBytes: maxHeapBytes + 1}}
	}},
	{"a status with new times alone", Counts, "lastReconcileTime alone", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("8", 2, 2, corev1.ConditionTrue, 8, 12)})
	}},
	{"progress told too soon", Counts, "too soon", func(h *history.History, _ *Expectation) {
		next := newRay("8", 2, 2, corev1.ConditionTrue, 8, 8)
		next.Status.Head.Replicas = 1
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: next})
	}},
	{"an update that changes nothing", Counts, "changed nothing", func(h *history.History, _ *Expectation) { h.Writes[2].Result = h.Writes[2].Sent }},
	{"healthy twice", Counts, "became healthy 2 times", func(h *history.History, _ *Expectation) {
		for i, health := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue} {
			h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("9", 2, 2, health, 10+i, 10+i)})
		}
	}},
	{"an event too many", Counts, "create deployments/x-head has +1 events", func(h *history.History, _ *Expectation) { h.End.Events[0].Count++ }},
	{"an event missing", Counts, "update deployments/x-head has -1 events", func(h *history.History, _ *Expectation) { h.End.Events = h.End.Events[:1] }},
	{"a warning", Counts, "1 warnings", func(h *history.History, _ *Expectation) {
		h.End.Events = append(h.End.Events, event(corev1.EventTypeWarning, "could not"))
	}},

	{"a problem in a status", Counts, "1 statuses of problems", func(h *history.History, _ *Expectation) {
		next := newRay("8", 2, 2, corev1.ConditionFalse, 10, 10)
		next.Status.Conditions[0].Reason = "FailedCreate"
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: next})
	}},
	{"an event of another kind", Counts, "1 events that the Ray waits", func(h *history.History, _ *Expectation) {
		h.End.Events = append(h.End.Events, event(corev1.EventTypeNormal, "waits"))
	}},

	{"two children of a role", Ownership, "not the only one", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Deployments, Object: newHead("second", "8", "2")})
	}},
	{"a child of no Ray", Ownership, "child of no Ray", func(h *history.History, _ *Expectation) { h.Writes[0].Sent.SetOwnerReferences(nil) }},
	{"another Ray's child", Ownership, "no Ray's child", func(h *history.History, _ *Expectation) { h.Writes[2].Name = "other-head" }},
	{"a child by another Ray's name", Ownership, "child of no Ray", func(h *history.History, _ *Expectation) { h.Writes[0].Name = "other-head" }},
	{"somebody else's object", Ownership, "no Ray's child", func(h *history.History, _ *Expectation) { h.Writes[2].Target = "foreign" }},
	{"an object by name", Ownership, "by UID", func(h *history.History, _ *Expectation) { h.Writes[2].Target = "" }},
	{"an object taken over", Ownership, "whose the object is", func(h *history.History, _ *Expectation) {
		h.Writes[2].Sent.SetOwnerReferences([]metav1.OwnerReference{{UID: "other", Controller: new(true)}})
	}},
	{"an update of any version", Ownership, "no resourceVersion", func(h *history.History, _ *Expectation) { h.Writes[2].Sent.SetResourceVersion("") }},

	{"a child for an older generation", Order, "generation 1 of the Ray, after it was for 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Deployments, Object: newHead("head", "8", "1")})
	}},
	{"a child made anew for an older generation", Order, "generation 1 of the Ray, after it was for 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions,
			history.Version{Resource: history.Deployments, Object: newHead("head", "8", "2"), Deleted: true},
			history.Version{Resource: history.Deployments, Object: newHead("second", "9", "1")})
	}},
	{"a generation observed that is not there", Order, "observed generation 3 of 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("8", 2, 3, corev1.ConditionTrue, 8, 12)})
	}},
	{"a generation observed again", Order, "observed generation 1 after 2", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("8", 2, 1, corev1.ConditionTrue, 8, 12)})
	}},
	{"a transition without a change", Order, "moved, its status did not", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("8", 2, 2, corev1.ConditionTrue, 12, 12)})
	}},
	{"a change without a transition", Order, "lastTransitionTime did not", func(h *history.History, _ *Expectation) {
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: newRay("8", 2, 2, corev1.ConditionFalse, 8, 12)})
	}},
	{"a child written while it is deleted", Order, "being deleted", func(h *history.History, _ *Expectation) {
		h.Writes[2].Sent.SetDeletionTimestamp(new(metav1.NewTime(at(4))))
	}},

	{"a write at rest", Rest, "all was as wanted", func(h *history.History, _ *Expectation) { h.Writes[2].At = at(10) }},

	{"a panic", Processes, "panic", func(h *history.History, _ *Expectation) { h.Log += "panic in sync: nil\n" }},
	{"a data race", Processes, "DATA RACE", func(h *history.History, _ *Expectation) { h.Log += "WARNING: DATA RACE\n" }},
	{"an exit", Processes, "exited with 1", func(h *history.History, _ *Expectation) { h.Processes[1].ExitCode = 1 }},
}

func TestBad(t *testing.T) {
	for _, test := range bad {
		t.Run(test.name, func(t *testing.T) {
			h, want := good()
			test.spoil(h, want)
			violations := Check(h, want)
			if !slices.ContainsFunc(violations, func(v Violation) bool {
				return v.Oracle == test.oracle && strings.Contains(v.Text, test.text)
			}) {
				t.Errorf("oracle %s does not say %q; all that is said is %v", test.oracle, test.text, violations)
			}
		})
	}
}

// TestProblems checks what may be told of problems, and how often.
func TestProblems(t *testing.T) {
	h, want := good()
	for i, reason := range []string{"FailedCreate", "ChildTerminating"} {
		problem := newRay(strconv.Itoa(8+i), 2, 2, corev1.ConditionFalse, 10, 10+i)
		problem.Status.Conditions[0].Reason = reason
		h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: problem})
	}
	beside := newRay("10", 2, 2, corev1.ConditionFalse, 10, 13)
	beside.Status.Conditions[0].Reason, beside.Status.Head.Replicas = "ChildTerminating", 1
	h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: beside})
	healed := newRay("11", 2, 2, corev1.ConditionTrue, 14, 14)
	h.Versions = append(h.Versions, history.Version{Resource: history.Rays, Object: healed})
	h.End.Rays[0] = *healed
	h.End.Events = append(h.End.Events, event(corev1.EventTypeWarning, "could not"), event(corev1.EventTypeNormal, "waits"))
	for _, test := range []struct {
		name     string
		allow    Allowance
		problems int
	}{
		{"enough", Allowance{Problems: 2, Warnings: 1, Waits: 1, Recoveries: 1}, 0},
		{"nothing", Allowance{}, 4},
		{"one status too many", Allowance{Problems: 1, Warnings: 1, Waits: 1, Recoveries: 1}, 1},
		{"two operators that do not agree", Allowance{TwoViews: true, Warnings: 1}, 0},
		{"two operators, and a warning", Allowance{TwoViews: true}, 1},
	} {
		want.Allowance = test.allow
		if violations := Check(h, want); len(violations) != test.problems {
			t.Errorf("%s: there must be %d violations: %v", test.name, test.problems, violations)
		}
	}
}

// TestLostEvents checks that an event may be missing where the operator could not send it.
func TestLostEvents(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*history.Write)
		problems int
	}{
		{"answered", func(*history.Write) {}, 1},
		{"told an error", func(w *history.Write) { w.Concealed = true }, 0},
		{"the process ended", func(w *history.Write) { w.ProcessEnded = true }, 0},
	} {
		h, want := good()
		h.End.Events = h.End.Events[1:]
		test.change(&h.Writes[0])
		if violations := Check(h, want); len(violations) != test.problems {
			t.Errorf("%s: there must be %d violations: %v", test.name, test.problems, violations)
		}
	}
}

// TestAllowances checks that what is allowed is accepted, and no more.
func TestAllowances(t *testing.T) {
	h, want := good()
	h.End.Events = []corev1.Event{event(corev1.EventTypeWarning, "could not")}
	for range conflicts + 1 {
		h.Writes = append(h.Writes, history.Write{Number: 6, Verb: "update", Resource: history.Services, Code: 409})
	}
	h.Processes = append(h.Processes, history.Process{ExitCode: 1, LastWords: "ray-operator: the lease was lost"})
	h.Writes = append(h.Writes, h.Writes[2])
	want.Allowance = Allowance{LostEvents: true, Warnings: 1, Refused: 1, LostLease: true, Undone: map[string]int{"update deployments/x-head": 1}}
	if violations := Check(h, want); len(violations) > 0 {
		t.Errorf("there are violations: %v", violations)
	}
	h.End.Events[0].Count = 2
	h.Processes = append(h.Processes, history.Process{ExitCode: 1, LastWords: "ray-operator: context canceled"})
	h.Writes = append(h.Writes, h.Writes[2], h.Writes[len(h.Writes)-2])
	if violations := Check(h, want); len(violations) != 4 {
		t.Errorf("there must be 4 violations: %v", violations)
	}
}
