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
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestConditionTimes(t *testing.T) {
	old := rayv1.RayCondition{Status: corev1.ConditionFalse, Reason: "A", Message: "a", LastUpdateTime: earlier, LastTransitionTime: earlier}
	tests := []struct {
		name                       string
		change                     func(*rayv1.RayCondition)
		wantUpdate, wantTransition metav1.Time
	}{
		{"nothing changed", func(*rayv1.RayCondition) {}, earlier, earlier},
		{"the reason changed", func(c *rayv1.RayCondition) { c.Reason = "B" }, later, earlier},
		{"the message changed", func(c *rayv1.RayCondition) { c.Message = "b" }, later, earlier},
		{"the status changed", func(c *rayv1.RayCondition) { c.Status = corev1.ConditionTrue }, later, later},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			condition := old
			test.change(&condition)
			setTimes(&condition, &old, later)
			if condition.LastUpdateTime != test.wantUpdate || condition.LastTransitionTime != test.wantTransition {
				t.Errorf("lastUpdateTime is %v and lastTransitionTime %v, want %v and %v", condition.LastUpdateTime, condition.LastTransitionTime, test.wantUpdate, test.wantTransition)
			}
		})
	}
}

// TestTimesOfStoredStatus checks that the API server stores times as they are written. Otherwise the
// computed status would always differ from the stored one.
func TestTimesOfStoredStatus(t *testing.T) {
	f := newHealthyFixture(t)
	status := f.ray().Status
	times := []metav1.Time{*status.StartTime, *status.LastReconcileTime}
	for _, condition := range status.Conditions {
		times = append(times, condition.LastTransitionTime, condition.LastUpdateTime)
	}
	for _, at := range times {
		if at.IsZero() || at.Nanosecond() != 0 {
			t.Errorf("the time %v is not a whole second", at)
		}
	}
	reconciled := status.LastReconcileTime
	f.clock.Step(time.Hour)
	f.checkSync(nil, nil, nil)
	if got := f.ray().Status.LastReconcileTime; !got.Equal(reconciled) {
		t.Errorf("in a steady state, lastReconcileTime changed from %v to %v", reconciled, got)
	}
}
