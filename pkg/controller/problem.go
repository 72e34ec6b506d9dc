package controller

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	reason string
	// subject is what the message begins with, and does not vary while the problem stays. The
	// words of those who refuse something may.
	subject string
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
	subject := fmt.Sprintf("could not %s the %s %s", verb, kind, name)
	return &problem{reason: reason, subject: subject, message: settle(subject + ": " + words(err)), err: err}
}

// words returns what an error says. If the API server finds several things invalid it lists them
// in the order of its maps, which is another one each time.
func words(err error) string {
	refusal, _ := errors.AsType[*apierrors.StatusError](err)
	if refusal == nil || refusal.ErrStatus.Details == nil || len(refusal.ErrStatus.Details.Causes) < 2 {
		return err.Error()
	}
	details := refusal.ErrStatus.Details
	of := fmt.Sprintf("%s %q is invalid: ", schema.GroupKind{Group: details.Group, Kind: details.Kind}, details.Name)
	if !strings.HasPrefix(err.Error(), of) {
		return err.Error()
	}
	causes := make([]string, 0, len(details.Causes))
	for _, cause := range details.Causes {
		causes = append(causes, cause.Field+": "+cause.Message)
	}
	slices.Sort(causes)
	return of + strings.Join(slices.Compact(causes), ", ")
}

// waiting returns the problem that somebody else has to act first.
func waiting(reason, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &problem{reason: reason, subject: message, message: message, err: errWaiting}
}

// unreadable returns the problem that a Ray cannot be read.
func unreadable(why string) error {
	return &problem{reason: reasonUnreadable, subject: why, message: why}
}

// waits tells whether a problem is that somebody else has to act first.
func waits(err error) bool { return errors.Is(err, errWaiting) }

// subject returns what a problem is about, in words that do not vary while it stays.
func subject(err error) string {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.subject
	}
	return err.Error()
}

// namespaceTerminating tells whether a write was refused because the namespace is being
// deleted, and everything of a Ray's with it.
func namespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
