package controller

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fielderrors "k8s.io/apimachinery/pkg/util/validation/field"
)

// TestWords has an API server that names invalid fields in any order, some twice.
func TestWords(t *testing.T) {
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
		{"two fields in another order", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{b, a, b}), both},
		{"the words of somebody else", &apierrors.StatusError{ErrStatus: metav1.Status{
			Message: "no", Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
			Details: &metav1.StatusDetails{Causes: make([]metav1.StatusCause, 2)},
		}}, "no"},
		{"no status", errors.New("connection reset"), "connection reset"},
	} {
		if got := serverMessage(test.err); got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestLongRefusal has a refusal that quotes a long value, which must not go to the log in full.
func TestLongRefusal(t *testing.T) {
	err := failed(reasonFailedCreate, "Service", "x", errors.New(strings.Repeat("x", 1<<20)))
	if got := len(err.Error()); got > maxMessage {
		t.Errorf("the error has %d bytes, want %d at most", got, maxMessage)
	}
}
