package oracle

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkEndState compares the end of a run, the status included, with that of a fresh
// deployment of the same spec.
func checkEndState(h *history.History, want *Expectation) []string {
	if h.Converged.IsZero() {
		return []string{"the Ray never became as wanted"}
	}
	if want.Fresh == nil {
		return nil
	}
	if diff := Diff(&h.End, want.Fresh); diff != "" {
		return []string{diff}
	}
	if want.Allowance.OldRecords {
		return nil
	}
	return checkRecords(h.End.Deployments)
}

// checkRecords wants each Deployment to have the generation of the operator's last write.
func checkRecords(deployments []appsv1.Deployment) []string {
	var problems []string
	for i := range deployments {
		deployment := &deployments[i]
		if recorded := deployment.Annotations[rayv1.AnnotationGeneration]; recorded != strconv.FormatInt(deployment.Generation, 10) {
			problems = append(problems, fmt.Sprintf("Deployment %s has the generation %d, and %s is recorded", deployment.Name, deployment.Generation, recorded))
		}
	}
	return problems
}

// Diff returns in what a state differs from that after a fresh deployment, or "". Times,
// UIDs, versions, and what is made of them, do not count.
func Diff(state, fresh *history.State) string {
	if diff := cmp.Diff(normalize(fresh), normalize(state)); diff != "" {
		return "differs from a fresh deployment (-fresh +this):\n" + diff
	}
	var problems []string
	for i := range state.Rays {
		problems = append(problems, checkCurrent(&state.Rays[i], state.Deployments)...)
	}
	return strings.Join(problems, "; ")
}

// checkCurrent checks what normalize drops: that the status is of the newest generation, and
// that the Deployments are the Ray's.
func checkCurrent(ray *rayv1.Ray, deployments []appsv1.Deployment) []string {
	var problems []string
	if ray.Status.ObservedGeneration != ray.Generation {
		problems = append(problems, fmt.Sprintf("Ray %s has the generation %d, and %d is observed", ray.Name, ray.Generation, ray.Status.ObservedGeneration))
	}
	for i := range deployments {
		deployment := &deployments[i]
		if !metav1.IsControlledBy(deployment, ray) {
			problems = append(problems, fmt.Sprintf("Deployment %s does not belong to the Ray", deployment.Name))
		}
	}
	return problems
}

// normalize returns a state as JSON values, without what differs from one run to another.
func normalize(state *history.State) map[string]any {
	normal := map[string]any{}
	for i := range state.Rays {
		ray := state.Rays[i].DeepCopy()
		normalizeMeta(&ray.ObjectMeta)
		status := &ray.Status
		status.ObservedGeneration, status.StartTime, status.LastReconcileTime = 0, nil, nil
		for i := range status.Conditions {
			condition := &status.Conditions[i]
			condition.LastTransitionTime, condition.LastUpdateTime = metav1.Time{}, metav1.Time{}
			condition.Message = replicaSetName.ReplaceAllString(condition.Message, `ReplicaSet "$1"`)
		}
		normal["Ray "+ray.Name] = toJSON(ray)
	}
	for i := range state.Services {
		service := state.Services[i].DeepCopy()
		normalizeMeta(&service.ObjectMeta)
		service.Spec.ClusterIP, service.Spec.ClusterIPs = "", nil
		normal["Service "+service.Name] = toJSON(service)
	}
	for i := range state.Deployments {
		deployment := state.Deployments[i].DeepCopy()
		normalizeMeta(&deployment.ObjectMeta)
		// The Deployment controller's own account of how it got there is not the operator's.
		deployment.Status = appsv1.DeploymentStatus{}
		normal["Deployment "+deployment.Name] = toJSON(deployment)
	}
	return normal
}

// replicaSetName finds the name of a ReplicaSet in the message of a condition, which ends
// in a hash.
var replicaSetName = regexp.MustCompile(`ReplicaSet "([a-z0-9-]+)-[a-z0-9]+"`)

// records are annotations that say how often an object was changed.
var records = []string{rayv1.AnnotationGeneration, rayv1.AnnotationRayGeneration, "deployment.kubernetes.io/revision"}

func normalizeMeta(meta *metav1.ObjectMeta) {
	meta.Namespace, meta.UID, meta.ResourceVersion, meta.Generation = "", "", "", 0
	meta.CreationTimestamp, meta.ManagedFields = metav1.Time{}, nil
	for i := range meta.OwnerReferences {
		meta.OwnerReferences[i].UID = ""
	}
	for _, record := range records {
		delete(meta.Annotations, record)
	}
}

// toJSON returns an object as it is on the wire, where nil and empty are the same.
func toJSON(object any) any {
	data, err := json.Marshal(object)
	if err != nil {
		panic(err) // an API type
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		panic(err) // comes from Marshal
	}
	return value
}

// Healthy tells whether a Ray says of its newest generation that all is well.
func Healthy(ray *rayv1.Ray) bool {
	return ray.Status.ObservedGeneration == ray.Generation &&
		slices.ContainsFunc(ray.Status.Conditions, func(c rayv1.RayCondition) bool {
			return c.Type == rayv1.RayHealth && c.Status == corev1.ConditionTrue
		})
}

// Explains tells whether a Ray says that it is not well for a reason, in words that have a
// text in them.
func Explains(ray *rayv1.Ray, reason, text string) bool {
	return slices.ContainsFunc(ray.Status.Conditions, func(c rayv1.RayCondition) bool {
		return c.Type == rayv1.RayHealth && c.Status != corev1.ConditionTrue && c.Reason == reason && strings.Contains(c.Message, text)
	})
}
