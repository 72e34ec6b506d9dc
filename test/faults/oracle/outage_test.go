package oracle

import (
	"net/http"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

func TestDeletions(t *testing.T) {
	ray := history.Version{Resource: history.Rays, Object: newRay("1", 1, 0, "", 0, 0)}
	rayGone := history.Version{Resource: history.Rays, Deleted: true, Object: newRay("5", 1, 0, "", 0, 0)}
	headGone := func(version string) history.Version {
		return history.Version{Resource: history.Deployments, Deleted: true, Object: newHead("head", version, "1")}
	}
	refused := history.Write{Verb: "delete", Resource: history.Deployments, Name: "x-head", Code: http.StatusConflict}
	for _, test := range []struct {
		name     string
		versions []history.Version
		writes   []history.Write
		want     []string
		problems int
	}{
		{name: "a child goes after its Ray", versions: []history.Version{ray, headGone("6"), rayGone}},
		{name: "a child goes before its Ray", versions: []history.Version{ray, headGone("4"), rayGone}, problems: 1},
		{name: "a child of a living Ray goes", versions: []history.Version{ray, headGone("4")}, problems: 1},
		{name: "the spec no longer asks for it", versions: []history.Version{ray, headGone("4")}, want: []string{"delete deployments/x-head"}},
		{name: "somebody deletes it, and it is made anew", versions: []history.Version{ray, headGone("4")}, want: []string{"create deployments/x-head"}},
		{name: "a deletion that was refused", writes: []history.Write{refused}, problems: 1},
	} {
		problems := checkDeletions(&history.History{Versions: test.versions, Writes: test.writes}, &Expectation{Writes: test.want})
		if len(problems) != test.problems {
			t.Errorf("%s: %q", test.name, problems)
		}
	}
}

func TestObservedHealth(t *testing.T) {
	head := func(version string, generation, observed int64, available int32) history.Version {
		deployment := newHead("head", version, "1")
		deployment.Generation, deployment.Spec.Replicas = generation, new(int32(1))
		deployment.Status = appsv1.DeploymentStatus{ObservedGeneration: observed, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: available}
		return history.Version{Resource: history.Deployments, Object: deployment}
	}
	healthy := history.Version{Resource: history.Rays, Object: newRay("9", 1, 1, corev1.ConditionTrue, 1, 1)}
	for _, test := range []struct {
		name     string
		versions []history.Version
		problems int
	}{
		{name: "complete", versions: []history.Version{head("1", 1, 1, 1), healthy}},
		{name: "complete, and then news that the operator may not know", versions: []history.Version{head("1", 1, 1, 1), head("2", 1, 1, 0), healthy}},
		{name: "not observed", versions: []history.Version{head("1", 1, 1, 1), head("2", 2, 1, 1), healthy}, problems: 1},
		{name: "not available", versions: []history.Version{head("1", 1, 1, 0), healthy}, problems: 1},
		{name: "complete too late", versions: []history.Version{head("1", 1, 0, 0), head("10", 1, 1, 1), healthy}, problems: 1},
	} {
		h := &history.History{Versions: test.versions}
		if problems := checkObservedHealth(h, &Expectation{ObservedHealth: true}); len(problems) != test.problems {
			t.Errorf("%s: %q", test.name, problems)
		}
		if problems := checkObservedHealth(h, &Expectation{}); len(problems) > 0 {
			t.Errorf("%s: it was not asked for: %q", test.name, problems)
		}
	}
}

// A write that was done without an answer may be missing, another one may not.
func TestUnanswered(t *testing.T) {
	const what = "create services/x-head"
	for _, test := range []struct {
		name     string
		codes    []int
		problems int
	}{
		{name: "answered", codes: []int{201}},
		{name: "not answered", codes: []int{0}},
		{name: "not answered, and then done", codes: []int{504, 201}},
		{name: "refused", codes: []int{409}, problems: 1},
		{name: "done twice", codes: []int{0, 201, 201}, problems: 1},
	} {
		h := &history.History{}
		for i, code := range test.codes {
			h.Writes = append(h.Writes, history.Write{Number: i + 1, Verb: "create", Resource: history.Services, Name: "x-head", Code: code})
		}
		want := &Expectation{Writes: []string{what}, Allowance: Allowance{Unanswered: true}}
		if problems := checkChildWrites(h, want); len(problems) != test.problems {
			t.Errorf("%s: %q", test.name, problems)
		}
	}
}
