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

package autoscaler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// The reasons of the conditions.
const (
	// Of ScalingActive.
	reasonDemandKnown      = "DemandKnown"
	reasonHeadUnavailable  = "HeadUnavailable"
	reasonUnreachable      = "GCSUnreachable"
	reasonInvalidReply     = "InvalidReply"
	reasonUnsupported      = "UnsupportedRayVersion"
	reasonToken            = "TokenUnavailable"
	reasonHeadSettings     = "HeadSettingsMissing"
	reasonTLS              = "TLSUnsupported"
	reasonUnknownResources = "UnknownResources"
	reasonUnknownNodes     = "UnknownNodes"
	// Of ScalingLimited.
	reasonTooManyReplicas = "TooManyReplicas"
	reasonWithinRange     = "DesiredWithinRange"
	// Of InfeasibleDemand.
	reasonNoGroupFits = "NoGroupFits"
	reasonFeasible    = "AllDemandFits"
	// Of the last two while the demand is unknown.
	reasonScalingInactive = "ScalingInactive"
	// Of all three, if some of the demand has not been considered.
	reasonTooMuchDemand = "TooManyShapes"
)

// minFailures is the number of polls in a row that must fail until a head that is available counts as
// unreachable. A single poll can fail while a head is busy. With timeouts, these take 26 seconds.
const minFailures = 3

// inactiveError is why a Ray cannot be polled until its spec, or an object that it refers to, changes.
type inactiveError struct{ reason, message string }

func inactive(reason, message string) error { return &inactiveError{reason, message} }

// Error returns the message.
func (e *inactiveError) Error() string { return e.message }

// isLasting returns whether an error of a poll does not pass by itself.
func isLasting(err error) bool {
	_, isInactive := errors.AsType[*inactiveError](err)
	return isInactive || errors.Is(err, gcs.ErrUnauthenticated) || errors.Is(err, gcs.ErrUnimplemented)
}

// inactiveCondition returns the condition ScalingActive of a Ray that cannot be polled. A GCS that does not answer
// is expected unless the head is available.
func inactiveCondition(err error, headAvailable bool) Condition {
	condition := Condition{Type: rayv1.RayScalingActive, Status: corev1.ConditionFalse, Reason: reasonUnreachable}
	problem, isInactive := errors.AsType[*inactiveError](err)
	switch {
	case isInactive:
		condition.Reason, condition.Message = problem.reason, problem.message
	case errors.Is(err, gcs.ErrUnauthenticated):
		condition.Reason, condition.Message = reasonToken, "the GCS rejects the token of spec.authentication; it must be the one that the head started with"
	case errors.Is(err, gcs.ErrUnimplemented):
		condition.Reason, condition.Message = reasonUnsupported, "the GCS of this version of Ray does not report its demand; use Ray 2.10 or newer"
	case errors.Is(err, gcs.ErrProtocol), errors.Is(err, gcs.ErrLimit):
		condition.Reason, condition.Message = reasonInvalidReply, err.Error()
	case errors.Is(err, errSecret):
		condition.Reason, condition.Message = reasonToken, "the API server does not return the Secret that has the token of the GCS"
	case !headAvailable:
		condition.Reason, condition.Message = reasonHeadUnavailable, "the head is not available"
	case !errors.Is(err, gcs.ErrUnreachable):
		condition.Message = err.Error()
	default:
		condition.Message = err.Error() + "; the operator must reach port 6379 of the head's Service: run it in the cluster, and allow it in NetworkPolicies"
	}
	return condition
}

// newRecommendation returns what a decision recommends, with the numbers of nodes after idle ones were drained.
func newRecommendation(ray *rayv1.Ray, previous *Recommendation, decision *Decision, replicas map[string]int32) *Recommendation {
	r := &Recommendation{UID: ray.UID, Replicas: replicas, Reasons: map[string]string{}, decided: true}
	for i := range decision.Groups {
		switch d := &decision.Groups[i]; {
		case len(d.Drain) > 0 && replicas[d.Name] < d.Replicas:
			r.Reasons[d.Name] = ReasonDrained
		case d.Reason != "":
			r.Reasons[d.Name] = d.Reason
		case previous != nil && previous.Reasons[d.Name] != "":
			r.Reasons[d.Name] = previous.Reasons[d.Name]
		}
	}
	r.Conditions = []Condition{activeCondition(decision), limitedCondition(decision), infeasibleCondition(decision)}
	return r
}

// heldRecommendation returns the previous recommendation with the reason why there is no newer one.
func heldRecommendation(ray *rayv1.Ray, previous *Recommendation, condition Condition) *Recommendation {
	r := &Recommendation{UID: ray.UID, Conditions: []Condition{condition}}
	if previous != nil {
		r.Replicas, r.Reasons = previous.Replicas, previous.Reasons
	}
	for _, conditionType := range []rayv1.RayConditionType{rayv1.RayScalingLimited, rayv1.RayInfeasibleDemand} {
		r.Conditions = append(r.Conditions, Condition{Type: conditionType, Status: corev1.ConditionUnknown, Reason: reasonScalingInactive})
	}
	return r
}

// equals returns whether another recommendation has the same consequences. A reason matters only with a new number.
func (r *Recommendation) equals(other *Recommendation) bool {
	return other != nil && r.UID == other.UID && maps.Equal(r.Replicas, other.Replicas) && slices.Equal(r.Conditions, other.Conditions)
}

// activeCondition returns the condition ScalingActive of a Ray with a known demand.
func activeCondition(decision *Decision) Condition {
	condition := Condition{Type: rayv1.RayScalingActive, Status: corev1.ConditionTrue, Reason: reasonDemandKnown}
	var unknown []string
	for i := range decision.Groups {
		if decision.Groups[i].Unknown {
			unknown = append(unknown, fmt.Sprintf("%q", decision.Groups[i].Name))
		}
	}
	switch {
	case len(unknown) > 0:
		condition.Status, condition.Reason = corev1.ConditionFalse, reasonUnknownResources
		condition.Message = fmt.Sprintf("the resources of a node of group %s are unknown until one runs; set a CPU limit of its first container, or minReplicas: 1", enumerate(unknown))
	case decision.Incomplete:
		condition.Reason = reasonTooMuchDemand
		condition.Message = "there is demand of so many different shapes that not all of it is considered; no idle node is removed"
	case decision.UnknownNodes:
		condition.Reason = reasonUnknownNodes
		condition.Message = "a node is alive that is of no group, so no pending node is removed; do not set RAY_NODE_TYPE_NAME"
	}
	return condition
}

// limitedCondition returns the condition ScalingLimited.
func limitedCondition(decision *Decision) Condition {
	var limits []string
	for i := range decision.Groups {
		if d := &decision.Groups[i]; d.Limited != "" {
			limits = append(limits, fmt.Sprintf("group %q at maxReplicas is needed for %s", d.Name, d.Limited))
		}
	}
	return demandCondition(rayv1.RayScalingLimited, decision, strings.Join(limits, "; "), reasonTooManyReplicas, reasonWithinRange)
}

// infeasibleCondition returns the condition InfeasibleDemand.
func infeasibleCondition(decision *Decision) Condition {
	return demandCondition(rayv1.RayInfeasibleDemand, decision, decision.Infeasible.Message, reasonNoGroupFits, reasonFeasible)
}

// demandCondition returns a condition that is True if there is a message, which is certain to be missing only if all
// demand has been considered.
func demandCondition(conditionType rayv1.RayConditionType, decision *Decision, message, reasonTrue, reasonFalse string) Condition {
	switch {
	case message != "":
		return Condition{Type: conditionType, Status: corev1.ConditionTrue, Reason: reasonTrue, Message: message}
	case decision.Incomplete:
		return Condition{Type: conditionType, Status: corev1.ConditionUnknown, Reason: reasonTooMuchDemand}
	default:
		return Condition{Type: conditionType, Status: corev1.ConditionFalse, Reason: reasonFalse}
	}
}
