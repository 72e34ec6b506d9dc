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
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkEndState compares the end state of a run, including the status, with that of a fresh
// deployment of the same spec.
func checkEndState(h *history.History, want *Expectation) []string {
	if h.Converged.IsZero() {
		return []string{"the goal was never reached"}
	}
	if want.Fresh == nil {
		return nil
	}
	if diff := Diff(&h.End, want.Fresh); diff != "" {
		return []string{diff}
	}
	if want.Allowance.StaleRecords {
		return nil
	}
	return checkRecords(h.End.Deployments)
}

// checkRecords requires that each Deployment records the generation of the operator's last write.
func checkRecords(deployments []appsv1.Deployment) []string {
	var problems []string
	for i := range deployments {
		deployment := &deployments[i]
		if recorded := recordOf(deployment).Generation; recorded != deployment.Generation {
			problems = append(problems, fmt.Sprintf("Deployment %q has generation %d, but records %d", deployment.Name, deployment.Generation, recorded))
		}
	}
	return problems
}

// Diff returns the difference between a state and that of a fresh deployment, or "". It ignores
// times, UIDs, versions, and what depends on them.
func Diff(state, fresh *history.State) string {
	if diff := cmp.Diff(normalize(fresh), normalize(state)); diff != "" {
		return "the state differs from a fresh deployment (-fresh +got):\n" + diff
	}
	var problems []string
	for i := range state.Rays {
		problems = append(problems, checkCurrent(&state.Rays[i], state.Deployments)...)
	}
	return strings.Join(problems, "; ")
}

// checkCurrent checks what normalize removes: that the status is for the newest generation, and that
// the Ray controls the Deployments.
func checkCurrent(ray *rayv1.Ray, deployments []appsv1.Deployment) []string {
	var problems []string
	if ray.Status.ObservedGeneration != ray.Generation {
		problems = append(problems, fmt.Sprintf("Ray %q has generation %d, but observedGeneration %d", ray.Name, ray.Generation, ray.Status.ObservedGeneration))
	}
	for _, condition := range ray.Status.Conditions {
		if condition.ObservedGeneration != ray.Generation {
			problems = append(problems, fmt.Sprintf("Ray %q has generation %d, but condition %s has observedGeneration %d",
				ray.Name, ray.Generation, condition.Type, condition.ObservedGeneration))
		}
	}
	for i := range deployments {
		deployment := &deployments[i]
		if !metav1.IsControlledBy(deployment, ray) {
			problems = append(problems, fmt.Sprintf("Deployment %q is not controlled by the Ray", deployment.Name))
		}
	}
	return problems
}

// normalize returns a state as JSON values, without what differs between equal runs.
func normalize(state *history.State) map[string]any {
	normal := map[string]any{}
	for i := range state.Rays {
		ray := state.Rays[i].DeepCopy()
		status := &ray.Status
		endpoints := &status.Endpoints
		for _, endpoint := range []*string{&endpoints.GCS, &endpoints.Dashboard, &endpoints.Client, &endpoints.Serve} {
			*endpoint = strings.Replace(*endpoint, "."+ray.Namespace+".", ".", 1)
		}
		normalizeMeta(&ray.ObjectMeta)
		status.ObservedGeneration, status.StartTime, status.LastReconcileTime = 0, nil, nil
		// A Ray that has resumed differs from one that was never suspended.
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c rayv1.RayCondition) bool {
			return c.Type == rayv1.RaySuspended && c.Reason == "Resumed"
		})
		for i := range status.Conditions {
			condition := &status.Conditions[i]
			condition.ObservedGeneration = 0
			condition.LastTransitionTime, condition.LastUpdateTime = metav1.Time{}, metav1.Time{}
			condition.Message = replicaSetName.ReplaceAllString(condition.Message, `ReplicaSet "$1"`)
		}
		normal["Ray "+ray.Name] = toJSON(ray)
	}
	for i := range state.Services {
		service := state.Services[i].DeepCopy()
		normalizeMeta(&service.ObjectMeta)
		service.Spec.ClusterIP, service.Spec.ClusterIPs = "", nil
		for i := range service.Spec.Ports {
			service.Spec.Ports[i].NodePort = 0
		}
		normal["Service "+service.Name] = toJSON(service)
	}
	for i := range state.Deployments {
		deployment := state.Deployments[i].DeepCopy()
		normalizeMeta(&deployment.ObjectMeta)
		// The rest of the status depends on how the Deployment controller got there. It must have arrived:
		// until then, an edit that was just reverted still has effects.
		deployment.Status = appsv1.DeploymentStatus{
			ObservedGeneration: deployment.Status.ObservedGeneration - state.Deployments[i].Generation,
			Replicas:           deployment.Status.Replicas,
			UpdatedReplicas:    deployment.Status.UpdatedReplicas,
			ReadyReplicas:      deployment.Status.ReadyReplicas,
			AvailableReplicas:  deployment.Status.AvailableReplicas,
		}
		normal["Deployment "+deployment.Name] = toJSON(deployment)
	}
	return normal
}

// replicaSetName matches the name of a ReplicaSet, which ends in a hash, in the message of a condition.
var replicaSetName = regexp.MustCompile(`ReplicaSet "([a-z0-9-]+)-[a-z0-9]+"`)

// revisionAnnotation counts the templates of a Deployment.
const revisionAnnotation = "deployment.kubernetes.io/revision"

func normalizeMeta(meta *metav1.ObjectMeta) {
	meta.Namespace, meta.UID, meta.ResourceVersion, meta.Generation = "", "", "", 0
	meta.CreationTimestamp, meta.ManagedFields = metav1.Time{}, nil
	for i := range meta.OwnerReferences {
		meta.OwnerReferences[i].UID = ""
	}
	delete(meta.Annotations, revisionAnnotation)
	normalizeRecord(meta.Annotations)
}

// toJSON returns the JSON value of an object, in which nil and empty are equal.
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

// Healthy reports whether Health is True for the newest generation of a Ray.
func Healthy(ray *rayv1.Ray) bool { return isTrue(ray, rayv1.RayHealth) }

// Suspended reports whether Suspended is True for the newest generation of a Ray.
func Suspended(ray *rayv1.Ray) bool { return isTrue(ray, rayv1.RaySuspended) }

func isTrue(ray *rayv1.Ray, condition rayv1.RayConditionType) bool {
	return ray.Status.ObservedGeneration == ray.Generation &&
		slices.ContainsFunc(ray.Status.Conditions, func(c rayv1.RayCondition) bool {
			return c.Type == condition && c.Status == corev1.ConditionTrue
		})
}

// ReportsProblem reports whether the Health of a Ray is not True, with a reason and a text in its
// message.
func ReportsProblem(ray *rayv1.Ray, reason, text string) bool {
	return slices.ContainsFunc(ray.Status.Conditions, func(c rayv1.RayCondition) bool {
		return c.Type == rayv1.RayHealth && c.Status != corev1.ConditionTrue && c.Reason == reason && strings.Contains(c.Message, text)
	})
}
