package controller

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

var (
	// errBehind says that what was read is older than what the server has. Nothing that
	// follows from it may be written, not even a status; the next sync will see more.
	errBehind = errors.New("cache is behind the API server")

	// errWaiting says that the Ray can go on only when somebody else acts.
	errWaiting = errors.New("waiting for somebody else")
)

// problem is why a child is not as its Ray asks, in the words of a condition and an event.
type problem struct {
	reason  string
	message string
	err     error
}

func (p *problem) Error() string { return p.message }

func (p *problem) Unwrap() error { return p.err }

// failed returns the problem that the API server refused a request, or errBehind if it did
// so because the request was based on an old state, which a create never is.
func failed(reason, verb, kind, name string, err error) error {
	if verb != "create" && (apierrors.IsConflict(err) || apierrors.IsNotFound(err)) {
		return fmt.Errorf("%s the %s %q: %w: %w", verb, kind, name, errBehind, err)
	}
	return &problem{
		reason:  reason,
		message: fmt.Sprintf("could not %s the %s %s: %v", verb, kind, name, err),
		err:     err,
	}
}

// waiting returns the problem that somebody else has to act first.
func waiting(reason, format string, args ...any) error {
	return &problem{reason: reason, message: fmt.Sprintf(format, args...), err: errWaiting}
}

// waits tells whether a problem is that somebody else has to act first.
func waits(err error) bool { return errors.Is(err, errWaiting) }

// namespaceTerminating tells whether a write was refused because the namespace is being
// deleted, and everything of a Ray's with it.
func namespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
