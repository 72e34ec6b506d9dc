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
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Reasons of the conditions Health and Ready.
const (
	// reasonHealthy: all desired replicas are up to date and available.
	reasonHealthy = "AllReplicasAvailable"
	// reasonUnobserved: the Deployment controller has not observed any Deployment yet.
	reasonUnobserved = "DeploymentsUnobserved"
	// reasonProgressing: replicas are missing, outdated, or pending termination.
	reasonProgressing = "RolloutIncomplete"
	// reasonReplicaFailure: Pods of a Deployment cannot be created or deleted, or its ReplicaSet cannot.
	reasonReplicaFailure = "ReplicaFailure"
	// reasonPodFailure: Pods exist, and something keeps them from becoming available.
	reasonPodFailure = "PodFailure"
	// reasonSuspended: the Ray is suspended, or has no head. It is a reason of the condition Suspended, too.
	reasonSuspended = "Suspended"
	// reasonDeleting: the Ray is being deleted, and something delays that.
	reasonDeleting = "Terminating"
)

// Reasons of the condition Suspended when it is False.
const (
	// reasonSuspending: the Ray is suspended, and Pods of it remain.
	reasonSuspending = "Suspending"
	// reasonResumed: the Ray was suspended, and no longer is.
	reasonResumed = "Resumed"
)

// reasonReplicaSetCreateError is a reason of the condition Progressing of a Deployment, from
// k8s.io/kubernetes/pkg/controller/deployment/util.
const reasonReplicaSetCreateError = "ReplicaSetCreateError"

// Reasons of problems. A problem is the reason of the conditions Health and Ready, and of an event.
const (
	// reasonUnreadable: the spec of the Ray cannot be decoded.
	reasonUnreadable = "Unreadable"
	// reasonFailedCreate: the API server rejected the creation of a child.
	reasonFailedCreate = "FailedCreate"
	// reasonFailedUpdate: the API server rejected the update of a child.
	reasonFailedUpdate = "FailedUpdate"
	// reasonFailedDelete: the API server rejected the deletion of a child.
	reasonFailedDelete = "FailedDelete"
	// reasonFailedGet: a child or the Ray could not be read from the API server.
	reasonFailedGet = "FailedGet"
	// reasonAlreadyExists: an object that is not controlled by the Ray has the name of a child.
	reasonAlreadyExists = "AlreadyExists"
	// reasonTerminating: a child, or a child of an earlier Ray with the same name, is being deleted.
	reasonTerminating = "ChildTerminating"
	// reasonExternalChanges: another client changes a child again and again.
	reasonExternalChanges = "ExternalChanges"
)

// isProblem returns whether a reason of Health is that of a problem.
func isProblem(reason string) bool {
	switch reason {
	case "", reasonHealthy, reasonUnobserved, reasonProgressing, reasonReplicaFailure, reasonPodFailure, reasonSuspended, reasonDeleting:
		return false
	default:
		return true
	}
}

// isPodProblem returns whether a reason of Health says why Pods are not available.
func isPodProblem(reason string) bool {
	return reason == reasonReplicaFailure || reason == reasonPodFailure
}

var (
	// errStale is the error of a read or write that was based on a stale cache. Nothing derived from
	// it may be written, not even a status; the next sync reads a newer state.
	errStale = errors.New("stale cache")

	// errBlocked is the error of a Ray that cannot proceed until another client acts.
	errBlocked = errors.New("blocked by another object")

	// errPanic is the error of a sync that has panicked.
	errPanic = errors.New("panic in sync")
)

// problem is why a child is not in its desired state.
type problem struct {
	// problemKey identifies the problem while it lasts. The message may vary.
	problemKey
	message string
	err     error
}

type problemKey struct{ reason, object string }

func (p *problem) Error() string { return p.message }

func (p *problem) Unwrap() error { return p.err }

// asProblem returns the problem that an error is.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return &problem{problemKey: problemKey{reason: reasonProgressing}, message: normalize(err.Error()), err: err}
}

// participles are the verbs of requests as messages have them.
var participles = map[string]string{
	reasonFailedCreate: "created", reasonFailedUpdate: "updated", reasonFailedDelete: "deleted", reasonFailedGet: "read",
}

// failed returns the problem that the API server rejected a request, or errStale if it did so because
// the request was based on an old state, which a create never is.
func failed(reason, kind, name string, err error) error {
	if reason != reasonFailedCreate && (apierrors.IsConflict(err) || apierrors.IsNotFound(err)) {
		return fmt.Errorf("%s %q could not be %s: %w: %w", kind, name, participles[reason], errStale, err)
	}
	return rejected(reason, kind, name, err)
}

// rejected returns the problem that the API server rejected a request.
func rejected(reason, kind, name string, err error) error {
	object := fmt.Sprintf("%s %q", kind, name)
	return &problem{
		problemKey: problemKey{reason, object},
		message:    normalize(object + " could not be " + participles[reason] + ": " + serverMessage(err)),
		err:        err,
	}
}

// blocked returns the problem that another client must act on an object first.
func blocked(reason, kind, name, format string, args ...any) error {
	object := fmt.Sprintf("%s %q", kind, name)
	return &problem{
		problemKey: problemKey{reason, object},
		message:    normalize(object + " " + fmt.Sprintf(format, args...)),
		err:        errBlocked,
	}
}

// refusedReplicaSet returns the problem that the API server rejected the ReplicaSet of a Deployment, if
// the Deployment says so. It is one problem of the Ray, whichever group has it.
func refusedReplicaSet(deployment *appsv1.Deployment) error {
	progressing := findDeploymentCondition(deployment, appsv1.DeploymentProgressing)
	if progressing == nil || progressing.Reason != reasonReplicaSetCreateError {
		return nil
	}
	message := progressing.Message
	if _, reason, found := strings.Cut(message, ": "); found && strings.HasPrefix(message, "Failed to create new replica set") {
		message = reason
	}
	return &problem{
		problemKey: problemKey{reason: reasonReplicaFailure},
		message:    normalize(fmt.Sprintf("Deployment %q could not create a ReplicaSet: %s", deployment.Name, message)),
		err:        errBlocked,
	}
}

func findDeploymentCondition(deployment *appsv1.Deployment, conditionType appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	if deployment == nil {
		return nil
	}
	for i := range deployment.Status.Conditions {
		if deployment.Status.Conditions[i].Type == conditionType {
			return &deployment.Status.Conditions[i]
		}
	}
	return nil
}

// unreadable returns the problem that the spec of a Ray cannot be decoded.
func unreadable(message string) error {
	message = normalize(message)
	return &problem{problemKey: problemKey{reasonUnreadable, message}, message: message}
}

// isBlocked returns whether another client must act first.
func isBlocked(err error) bool { return errors.Is(err, errBlocked) }

// isNamespaceTerminating returns whether a write was rejected because the namespace is being deleted,
// and the Ray with it.
func isNamespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// serverMessage returns the message of an error. The API server lists several invalid fields in
// random order, so they are sorted.
func serverMessage(err error) string {
	status, _ := errors.AsType[*apierrors.StatusError](err)
	if status == nil || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) < 2 {
		return err.Error()
	}
	details := status.ErrStatus.Details
	prefix := fmt.Sprintf("%s %q is invalid: ", schema.GroupKind{Group: details.Group, Kind: details.Kind}, details.Name)
	if !strings.HasPrefix(err.Error(), prefix) {
		return err.Error()
	}
	causes := make([]string, 0, len(details.Causes))
	for _, cause := range details.Causes {
		causes = append(causes, cause.Field+": "+cause.Message)
	}
	slices.Sort(causes)
	return prefix + strings.Join(slices.Compact(causes), ", ")
}

// podName matches the name of a Pod in a message of the API server. Its suffix is random, and differs
// each time that the ReplicaSet controller tries to create the Pod. Of a long name, it follows the first 58
// characters.
var podName = regexp.MustCompile(`((?i:pods?) "(?:[a-z0-9.-]+-|[a-z0-9.-]{58}))[bcdfghjklmnpqrstvwxz2456789]{5}"`)

// maxMessage is the length limit, in bytes, of the message of a problem; it is the limit of an event.
// The API server quotes invalid values in full, which may be as long as the whole Ray.
const maxMessage = 1024

// normalize removes from a message what varies while its cause stays the same, since each change of a
// condition is a write, and truncates it.
func normalize(message string) string {
	if podName.MatchString(message) { // rare, and ReplaceAllString always allocates
		message = podName.ReplaceAllString(message, `${1}*"`)
	}
	if len(message) > maxMessage {
		message = message[:maxMessage-len("…")] + "…"
	}
	return strings.ToValidUTF8(message, "")
}

// earliest returns the shorter of two delays, of which 0 means never.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
