package controller

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// observation is what a sync learned about the children of a Ray.
type observation struct {
	// ray is what keeps the Ray from being read. Then nothing else was observed.
	ray error
	// service is what keeps the Service from being as wanted.
	service error
	// groups has the head first, then the workers.
	groups []groupState
}

// groupState is what a sync learned about one group of a Ray.
type groupState struct {
	role rayv1.Role
	// desired is how many replicas are wanted, nil if the Ray does not have the group.
	desired *int32
	// deployment is the group's Deployment, nil if there is none.
	deployment *appsv1.Deployment
	// err is what keeps the Deployment from being as wanted.
	err error
}

// mirrored are the conditions of a Deployment that a Ray's status repeats for each group.
var mirrored = map[rayv1.Role][]struct {
	from appsv1.DeploymentConditionType
	to   rayv1.RayConditionType
}{
	rayv1.RoleHead: {
		{appsv1.DeploymentProgressing, rayv1.RayHeadDeploymentProgressing},
		{appsv1.DeploymentAvailable, rayv1.RayHeadDeploymentAvailable},
		{appsv1.DeploymentReplicaFailure, rayv1.RayHeadDeploymentReplicaFailure},
	},
	rayv1.RoleWorker: {
		{appsv1.DeploymentProgressing, rayv1.RayWorkerDeploymentProgressing},
		{appsv1.DeploymentAvailable, rayv1.RayWorkerDeploymentAvailable},
		{appsv1.DeploymentReplicaFailure, rayv1.RayWorkerDeploymentReplicaFailure},
	},
}

// newStatus returns the status of a Ray whose children were observed at now. It carries
// over what has not changed, so that it equals the Ray's status if nothing has.
func newStatus(ray *rayv1.Ray, observed observation, now metav1.Time) rayv1.RayStatus {
	old := &ray.Status
	status := rayv1.RayStatus{
		ObservedGeneration: ray.Generation,
		StartTime:          old.StartTime,
		LastReconcileTime:  old.LastReconcileTime,
	}
	if status.StartTime == nil {
		status.StartTime = &now
	}

	if observed.ray != nil {
		// The counts are as they were last seen. The conditions would have to be kept true.
		status.Head, status.Worker = old.Head, old.Worker
	}

	conditions := make([]rayv1.RayCondition, 0, 1+len(observed.groups)*len(mirrored[rayv1.RoleHead]))
	conditions = append(conditions, newHealth(observed, wasHealthy(ray)))
	for _, group := range observed.groups {
		if group.desired == nil {
			if group.err != nil {
				// There still may be workers. If they have lost their label, nothing else
				// tells the next sync to look for them.
				status.Worker = cmp.Or(old.Worker, &rayv1.WorkerStatus{Selector: resources.Selector(ray, group.role)})
			}
			continue
		}
		conditions = appendMirrored(conditions, group)
		switch group.role {
		case rayv1.RoleHead:
			status.Head.ReplicaCounts = newReplicaCounts(group.deployment)
		case rayv1.RoleWorker:
			status.Worker = &rayv1.WorkerStatus{
				ReplicaCounts: newReplicaCounts(group.deployment),
				Selector:      resources.Selector(ray, group.role),
			}
		}
	}
	for i := range conditions {
		setTimes(&conditions[i], findCondition(old.Conditions, conditions[i].Type), now)
	}
	status.Conditions = conditions
	return status
}

// newReplicaCounts returns the counts that a Deployment reports, all 0 if there is none.
func newReplicaCounts(deployment *appsv1.Deployment) rayv1.ReplicaCounts {
	if deployment == nil {
		return rayv1.ReplicaCounts{}
	}
	return rayv1.ReplicaCounts{
		Replicas:            deployment.Status.Replicas,
		UpdatedReplicas:     deployment.Status.UpdatedReplicas,
		ReadyReplicas:       deployment.Status.ReadyReplicas,
		AvailableReplicas:   deployment.Status.AvailableReplicas,
		UnavailableReplicas: deployment.Status.UnavailableReplicas,
	}
}

// appendMirrored appends a group's conditions: what its Deployment says, and Unknown where
// that says nothing.
func appendMirrored(conditions []rayv1.RayCondition, group groupState) []rayv1.RayCondition {
	for _, mirror := range mirrored[group.role] {
		condition := rayv1.RayCondition{Type: mirror.to, Status: corev1.ConditionUnknown}
		if source := findDeploymentCondition(group.deployment, mirror.from); source != nil {
			condition.Status = source.Status
			condition.Reason = source.Reason
			condition.Message = settle(source.Message)
		}
		conditions = append(conditions, condition)
	}
	return conditions
}

// wasHealthy tells whether a Ray is known to have been healthy in its newest generation.
func wasHealthy(ray *rayv1.Ray) bool {
	health := findCondition(ray.Status.Conditions, rayv1.RayHealth)
	return ray.Status.ObservedGeneration == ray.Generation && health != nil && health.Status == corev1.ConditionTrue
}

// newHealth returns the condition Health, whose message names in one line all that is
// missing. The first problem gives the reason, else Pods that cannot be made, else the first thing
// that is missing.
//
// A Ray that was healthy needs no observation to stay so: what the Deployment controller has
// not seen has not changed any Pod. Otherwise each annotation that somebody sets at a
// Deployment, which is a new generation of it, would make Health change twice.
func newHealth(observed observation, wasHealthy bool) rayv1.RayCondition {
	var reason string
	var messages []string
	if problems := observed.problems(); len(problems) > 0 {
		reason, _ = explain(problems[0])
	}
	for _, err := range []error{observed.ray, observed.service} {
		if err != nil {
			_, message := explain(err)
			messages = append(messages, message)
		}
	}
	known := false
	for _, group := range observed.groups {
		groupReason, message := missing(group, wasHealthy)
		known = known || group.desired != nil && groupReason != reasonUnobserved
		if groupReason == "" {
			continue
		}
		messages = append(messages, fmt.Sprintf("%s: %s", group.role, message))
		if reason == "" || reason == reasonUnobserved || reason == reasonProgressing && groupReason == reasonReplicaFailure {
			reason = groupReason
		}
	}
	if known && reason == reasonUnobserved {
		reason = reasonProgressing
	}

	health := rayv1.RayCondition{Type: rayv1.RayHealth, Status: corev1.ConditionFalse, Reason: reason, Message: strings.Join(messages, "; ")}
	switch reason {
	case "":
		health.Status, health.Reason = corev1.ConditionTrue, reasonHealthy
	case reasonUnobserved:
		health.Status = corev1.ConditionUnknown
	}
	return health
}

// missing returns what keeps a group from being healthy, or nothing.
func missing(group groupState, wasHealthy bool) (reason, message string) {
	if group.err != nil {
		return explain(group.err)
	}
	if group.desired == nil {
		return "", ""
	}
	desired, deployment := *group.desired, group.deployment
	if deployment == nil {
		return reasonProgressing, "the Deployment does not exist"
	}
	progress := missingReplicas(&deployment.Status, desired)
	failure := findDeploymentCondition(deployment, appsv1.DeploymentReplicaFailure)
	switch {
	case deployment.Status.ObservedGeneration == 0:
		return reasonUnobserved, "the Deployment has not been observed yet"
	case deployment.Status.ObservedGeneration < deployment.Generation && !wasHealthy:
		return reasonProgressing, "the Deployment's newest generation has not been observed yet"
	case progress == "":
		return "", ""
	case failure != nil && failure.Status == corev1.ConditionTrue:
		return reasonReplicaFailure, progress + ": " + settle(failure.Message)
	case deployment.Spec.Paused:
		return reasonProgressing, progress + ": the Deployment is paused"
	default:
		return reasonProgressing, progress
	}
}

// missingReplicas returns in what a Deployment's Pods differ from what is desired, or "".
// It is what kubectl rollout status waits for.
func missingReplicas(status *appsv1.DeploymentStatus, desired int32) string {
	switch {
	case status.AvailableReplicas < desired:
		return fmt.Sprintf("%d of %d available", status.AvailableReplicas, desired)
	case status.UpdatedReplicas < desired:
		return fmt.Sprintf("%d of %d updated", status.UpdatedReplicas, desired)
	case status.Replicas > desired:
		return fmt.Sprintf("%d more than wanted still to go", status.Replicas-desired)
	default:
		return ""
	}
}

// explain returns the reason and the message of what went wrong with a child.
func explain(err error) (reason, message string) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.reason, settle(p.message)
	}
	return reasonProgressing, settle(err.Error())
}

// podName matches the name of a Pod of a Deployment in a message of the API server, with
// the random end that differs each time the ReplicaSet controller tries to create one.
var podName = regexp.MustCompile(`((?i:pods?) "[a-z0-9.-]+-)[bcdfghjklmnpqrstvwxz2456789]{5}"`)

// maxMessage is how many bytes a message about one thing may have, as in an event. The API
// server quotes what it refuses in full, and that may be as large as the whole Ray.
const maxMessage = 1024

// settle takes out of a message what varies while its cause stays, since each change of a
// message is a write, and cuts it if it is too long.
func settle(message string) string {
	if podName.MatchString(message) { // seldom, and a replacement allocates also if there is none
		message = podName.ReplaceAllString(message, `${1}*"`)
	}
	if len(message) > maxMessage {
		message = message[:maxMessage-len("…")] + "…"
	}
	return strings.ToValidUTF8(message, "")
}

// setTimes sets the times of a condition: those it had, as far as it has not changed.
func setTimes(condition, old *rayv1.RayCondition, now metav1.Time) {
	condition.LastUpdateTime, condition.LastTransitionTime = now, now
	if old == nil || old.Status != condition.Status {
		return
	}
	condition.LastTransitionTime = old.LastTransitionTime
	if old.Reason == condition.Reason && old.Message == condition.Message {
		condition.LastUpdateTime = old.LastUpdateTime
	}
}

func findCondition(conditions []rayv1.RayCondition, kind rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

func findDeploymentCondition(deployment *appsv1.Deployment, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	if deployment == nil {
		return nil
	}
	for i := range deployment.Status.Conditions {
		if deployment.Status.Conditions[i].Type == kind {
			return &deployment.Status.Conditions[i]
		}
	}
	return nil
}
