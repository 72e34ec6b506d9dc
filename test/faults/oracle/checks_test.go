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
	"net/http"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

func TestDeletions(t *testing.T) {
	ray := history.Version{Resource: history.Rays, Object: newRay("1", 1, 0, "", 0, 0)}
	rayDeleted := history.Version{Resource: history.Rays, Deleted: true, Object: newRay("5", 1, 0, "", 0, 0)}
	headDeleted := func(version string) history.Version {
		return history.Version{Resource: history.Deployments, Deleted: true, Object: newHead("head", version, 1)}
	}
	rejected := history.Write{Verb: "delete", Resource: history.Deployments, Name: "x-head", Code: http.StatusConflict}
	for _, test := range []struct {
		name     string
		versions []history.Version
		writes   []history.Write
		want     []string
		problems int
	}{
		{name: "child deleted after its Ray", versions: []history.Version{ray, headDeleted("6"), rayDeleted}},
		{name: "child deleted before its Ray", versions: []history.Version{ray, headDeleted("4"), rayDeleted}, problems: 1},
		{name: "child deleted without its Ray", versions: []history.Version{ray, headDeleted("4")}, problems: 1},
		{name: "child removed from the spec", versions: []history.Version{ray, headDeleted("4")}, want: []string{"delete deployments/x-head"}},
		{name: "child deleted by another client", versions: []history.Version{ray, headDeleted("4")}, want: []string{"create deployments/x-head"}},
		{name: "rejected deletion", writes: []history.Write{rejected}, problems: 1},
	} {
		problems := checkDeletions(&history.History{Versions: test.versions, Writes: test.writes}, &Expectation{Writes: test.want})
		if len(problems) != test.problems {
			t.Errorf("%s: got %q, want %d problems", test.name, problems, test.problems)
		}
	}
}

func TestObservedHealth(t *testing.T) {
	head := func(version string, generation, observed int64, available int32) history.Version {
		deployment := newHead("head", version, 1)
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
		{name: "complete, then a change that the operator may not have observed", versions: []history.Version{head("1", 1, 1, 1), head("2", 1, 1, 0), healthy}},
		{name: "not observed", versions: []history.Version{head("1", 1, 1, 1), head("2", 2, 1, 1), healthy}, problems: 1},
		{name: "not available", versions: []history.Version{head("1", 1, 1, 0), healthy}, problems: 1},
		{name: "complete too late", versions: []history.Version{head("1", 1, 0, 0), head("10", 1, 1, 1), healthy}, problems: 1},
	} {
		h := &history.History{Versions: test.versions}
		if problems := checkObservedHealth(h, &Expectation{ObservedHealth: true}); len(problems) != test.problems {
			t.Errorf("%s: got %q, want %d problems", test.name, problems, test.problems)
		}
		if problems := checkObservedHealth(h, &Expectation{}); len(problems) > 0 {
			t.Errorf("%s, without ObservedHealth: unexpected problems: %q", test.name, problems)
		}
	}
}

// TestUnanswered checks that only a write without a response may be missing.
func TestUnanswered(t *testing.T) {
	const what = "create services/x-head"
	for _, test := range []struct {
		name     string
		codes    []int
		problems int
	}{
		{name: "answered", codes: []int{201}},
		{name: "unanswered", codes: []int{0}},
		{name: "unanswered, then committed", codes: []int{504, 201}},
		{name: "rejected", codes: []int{409}, problems: 1},
		{name: "committed twice", codes: []int{0, 201, 201}, problems: 1},
	} {
		h := &history.History{}
		for i, code := range test.codes {
			h.Writes = append(h.Writes, history.Write{Number: i + 1, Verb: "create", Resource: history.Services, Name: "x-head", Code: code})
		}
		want := &Expectation{Writes: []string{what}, Allowance: Allowance{Unanswered: true}}
		if problems := checkChildWrites(h, want); len(problems) != test.problems {
			t.Errorf("%s: got %q, want %d problems", test.name, problems, test.problems)
		}
	}
}
