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
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
)

// checkScaling checks the condition ScalingActive, as "STATUS REASON: MESSAGE", or "" for none of the conditions.
func (f *fixture) checkScaling(want string) {
	f.t.Helper()
	var all []string
	for _, conditionType := range scalingTypes {
		if c := findCondition(f.ray().Status.Conditions, conditionType); c != nil {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message), ": "))
		}
	}
	if got := strings.Join(all, ", "); got != want {
		f.t.Errorf("the conditions about autoscaling are %q, want %q", got, want)
	}
}

// TestStripHPA has managers of the fields of a Ray, and whether one is a HorizontalPodAutoscaler.
func TestStripHPA(t *testing.T) {
	manager := func(name, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: name, Subresource: subresource}
	}
	const hpa = "kube-controller-manager"
	tests := []struct {
		name     string
		managers []metav1.ManagedFieldsEntry
		want     bool
	}{
		{"no managers", nil, false},
		{"it has set the replicas", []metav1.ManagedFieldsEntry{manager(hpa, "scale"), manager("kubectl", ""), manager("ray-operator", "status")}, true},
		{"the user scales", []metav1.ManagedFieldsEntry{manager("kubectl", "scale")}, false},
		{"another change by the same client", []metav1.ManagedFieldsEntry{manager(hpa, "")}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := readSample(t)
			ray.Annotations, ray.ManagedFields = map[string]string{"note": "x"}, test.managers
			for range 2 { // the informers may strip an object twice
				if _, err := strip(ray); err != nil {
					t.Fatal(err)
				}
				if isScaledByHPA(ray) != test.want || ray.ManagedFields != nil || len(ray.Annotations) > 1 {
					t.Errorf("the Ray is scaled by a HorizontalPodAutoscaler: %t, want %t; it has the annotations %v", isScaledByHPA(ray), test.want, ray.Annotations)
				}
			}
		})
	}
}

// TestNewScaling has recommendations, and the conditions that follow.
func TestNewScaling(t *testing.T) {
	type conditions = []rayv1.RayCondition
	condition := func(conditionType rayv1.RayConditionType, status corev1.ConditionStatus, reason, message string) rayv1.RayCondition {
		return rayv1.RayCondition{Type: conditionType, Status: status, ObservedGeneration: 2, Reason: reason, Message: message}
	}
	recommend := func(all ...rayv1.RayCondition) *autoscaler.Recommendation {
		r := &autoscaler.Recommendation{}
		for _, c := range all {
			r.Conditions = append(r.Conditions, autoscaler.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
		}
		return r
	}
	scaleByHPA := func(ray *rayv1.Ray) { metav1.SetMetaDataAnnotation(&ray.ObjectMeta, annotationScaledByHPA, "") }
	active := condition(rayv1.RayScalingActive, corev1.ConditionTrue, "Valid", "")
	unreachable := condition(rayv1.RayScalingActive, corev1.ConditionFalse, "Unreachable", "no answer")
	limited := condition(rayv1.RayScalingLimited, corev1.ConditionTrue, "TooManyReplicas", "worker: more needed")
	infeasible := condition(rayv1.RayInfeasibleDemand, corev1.ConditionFalse, "None", "")
	starting := condition(rayv1.RayScalingActive, corev1.ConditionFalse, "Starting", messageStarting)
	suspended := condition(rayv1.RayScalingActive, corev1.ConditionFalse, "Suspended", suspendedBySpec)
	old := active
	old.ObservedGeneration = 1
	tests := []struct {
		name           string
		change         func(*rayv1.Ray)
		last           conditions
		recommendation *autoscaler.Recommendation
		want           conditions
	}{
		{"no autoscaling", func(ray *rayv1.Ray) { ray.Spec.Worker.Autoscaling = nil }, conditions{active, limited}, recommend(active), nil},
		{"nothing is recommended", nil, nil, nil, conditions{starting}},
		{"nothing is recommended after a restart of the operator", nil, conditions{infeasible, active}, nil, conditions{active, infeasible}},
		{"nothing is recommended for a new generation", nil, conditions{old, limited}, nil, conditions{starting}},
		{"a suspended Ray", setSuspend(true), conditions{active, limited}, recommend(active, limited), conditions{suspended}},
		{"all conditions", nil, conditions{starting}, recommend(infeasible, limited, active), conditions{active, limited, infeasible}},
		{"a condition that is unknown", nil, nil, recommend(active, condition("Other", "True", "", "")), conditions{active}},
		{
			"a HorizontalPodAutoscaler", scaleByHPA, nil, recommend(active),
			conditions{condition(rayv1.RayScalingActive, corev1.ConditionTrue, "HorizontalPodAutoscaler", messageHPA)},
		},
		{
			"a HorizontalPodAutoscaler, and scaling is not active", scaleByHPA, nil, recommend(unreachable),
			conditions{condition(rayv1.RayScalingActive, corev1.ConditionFalse, "Unreachable", "no answer; "+messageHPA)},
		},
		{
			"a HorizontalPodAutoscaler of workers that are not autoscaled", func(ray *rayv1.Ray) {
				scaleByHPA(ray)
				addGroups("gpu")(ray)
				ray.Spec.Worker.Autoscaling = nil
			}, nil, recommend(active), conditions{active},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := readSample(t)
			ray.Generation = 2
			autoscale(1, 6)(ray)
			if test.change != nil {
				test.change(ray)
			}
			ray.Status.Conditions = test.last
			if diff := cmp.Diff(test.want, appendScaling(nil, ray, test.recommendation)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMarkIsNotSent checks that no annotation that only the cache has is sent to the API server.
func TestMarkIsNotSent(t *testing.T) {
	f := newAutoscaledFixture(t)
	f.editRay(func(ray *rayv1.Ray) {
		ray.Spec.Worker.Replicas = new(int32(5))
		ray.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Subresource: "scale"}}
	})
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkScaling("False Starting: " + messageStarting + "; " + messageHPA)
	if annotations := f.ray().Annotations; len(annotations) > 0 {
		t.Errorf("the Ray has the annotations %v", annotations)
	}
}
