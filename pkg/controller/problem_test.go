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

package controller

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fielderrors "k8s.io/apimachinery/pkg/util/validation/field"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestServerMessage has an API server that lists invalid fields in random order, and some of them twice.
func TestServerMessage(t *testing.T) {
	path := fielderrors.NewPath("spec")
	a, b := fielderrors.Invalid(path.Child("a"), "x", "must be small"), fielderrors.Required(path.Child("b"), "it matters")
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	const both = `Deployment.apps "x" is invalid: spec.a: Invalid value: "x": must be small, spec.b: Required value: it matters`
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"one field", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{a}), `Deployment.apps "x" is invalid: spec.a: Invalid value: "x": must be small`},
		{"two fields", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{a, b}), both},
		{"two fields in another order, one of them twice", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{b, a, b}), both},
		{"a message of a webhook with causes", &apierrors.StatusError{ErrStatus: metav1.Status{
			Message: "no", Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
			Details: &metav1.StatusDetails{Causes: make([]metav1.StatusCause, 2)},
		}}, "no"},
		{"an error without a status", errors.New("connection reset"), "connection reset"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := serverMessage(test.err); got != test.want {
				t.Errorf("got\n%s, want\n%s", got, test.want)
			}
		})
	}
}

// TestNormalize has messages of the API server with random names of Pods.
func TestNormalize(t *testing.T) {
	tests := []struct{ name, message, want string }{
		{"a Pod of a Deployment", `pods "x-worker-7f69d5c8b4-2xk9p" is forbidden: exceeded quota`, `pods "x-worker-7f69d5c8b4-*" is forbidden: exceeded quota`},
		{"an invalid Pod", `Pod "x-worker-7f69d5c8b4-2xk9p" is invalid: spec`, `Pod "x-worker-7f69d5c8b4-*" is invalid: spec`},
		{"a Pod with a long name", `pods "` + strings.Repeat("x", 39) + `-worker-group-7f69d2xk9p" is forbidden`, `pods "` + strings.Repeat("x", 39) + `-worker-group-7f69d*" is forbidden`},
		{"two Pods", `pod "a-bcdfg" and pod "a-hjklm"`, `pod "a-*" and pod "a-*"`},
		{"a name that is not random", `pods "worker" is forbidden`, `pods "worker" is forbidden`},
		{"another kind of object", `replicasets "x-bcdfg" is forbidden`, `replicasets "x-bcdfg" is forbidden`},
		{"a message of the maximum length", strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
		{"a long message", strings.Repeat("x", 1025), strings.Repeat("x", 1021) + "…"},
		{"a long message that is truncated within a character", strings.Repeat("é", 1024), strings.Repeat("é", 510) + "…"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := normalize(test.message)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q is not valid UTF-8", got)
			}
		})
	}
	status := newStatus(readSample(t), &observation{groups: []groupObservation{
		availableGroup(rayv1.RoleHead, 1, failingReplicas(`pods "x-bcdfg" is forbidden`)),
	}}, later)
	if mirrored := findCondition(status.Conditions, rayv1.RayHeadDeploymentReplicaFailure); mirrored.Message != `pods "x-*" is forbidden` {
		t.Errorf("the mirrored message is %q", mirrored.Message)
	}
}

// TestFailed checks which rejected requests are problems, and which mean that the cache is stale.
func TestFailed(t *testing.T) {
	resource := schema.GroupResource{Resource: "services"}
	conflict, notFound := apierrors.NewConflict(resource, "x", errors.New("modified")), apierrors.NewNotFound(resource, "x")
	tests := []struct {
		name, reason string
		err          error
		wantStale    bool
		want         string
	}{
		{"a conflict of a create", reasonFailedCreate, conflict, false, `Service "x" could not be created: ` + conflict.Error()},
		{"a create that is not found", reasonFailedCreate, notFound, false, `Service "x" could not be created: services "x" not found`},
		{"a conflict of an update", reasonFailedUpdate, conflict, true, `Service "x" could not be updated: stale cache: ` + conflict.Error()},
		{"an update that is not found", reasonFailedUpdate, notFound, true, `Service "x" could not be updated: stale cache: services "x" not found`},
		{"a conflict of a delete", reasonFailedDelete, conflict, true, `Service "x" could not be deleted: stale cache: ` + conflict.Error()},
		{"a forbidden update", reasonFailedUpdate, overQuota(), false, `Service "x" could not be updated: ` + overQuotaMessage},
		{"a forbidden delete", reasonFailedDelete, overQuota(), false, `Service "x" could not be deleted: ` + overQuotaMessage},
		{"a failed get", reasonFailedGet, errors.New("timeout"), false, `Service "x" could not be read: timeout`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := failed(test.reason, "Service", "x", test.err)
			if err.Error() != test.want || isStale(err) != test.wantStale || isBlocked(err) || !errors.Is(err, test.err) {
				t.Errorf("got %q, stale %t, want %q, stale %t", err, isStale(err), test.want, test.wantStale)
			}
			p, isProblem := errors.AsType[*problem](err)
			if isProblem == test.wantStale || isProblem && p.problemKey != (problemKey{test.reason, `Service "x"`}) {
				t.Errorf("the problem is %#v, want one with the reason %s unless the cache is stale", p, test.reason)
			}
		})
	}
}

// TestLongError has an error that quotes a long value, which must not be logged in full.
func TestLongError(t *testing.T) {
	err := failed(reasonFailedCreate, "Service", "x", errors.New(strings.Repeat("x", 1<<20)))
	if got := len(err.Error()); got > maxMessage {
		t.Errorf("the error has %d bytes, want at most %d", got, maxMessage)
	}
}
