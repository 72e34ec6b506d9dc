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

package main

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// newRay returns a Ray with a status of one of its generations.
func newRay(generation, observed int64, health corev1.ConditionStatus) *rayv1.Ray {
	return &rayv1.Ray{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "x", Generation: generation},
		Status: rayv1.RayStatus{
			ObservedGeneration: observed,
			Conditions:         []rayv1.RayCondition{{Type: rayv1.RayHealth, Status: health}},
		},
	}
}

func TestTracker(t *testing.T) {
	tracker := newTracker(healthy)
	start := time.Now()
	for i, ray := range []*rayv1.Ray{
		newRay(1, 0, corev1.ConditionUnknown),
		newRay(1, 1, corev1.ConditionFalse),
		newRay(1, 1, corev1.ConditionTrue),
		newRay(1, 1, corev1.ConditionTrue),
		newRay(2, 1, corev1.ConditionTrue), // The status is outdated.
	} {
		tracker.see(ray, start.Add(time.Duration(i)*time.Second))
	}
	first := version{cache.NewObjectName("default", "x"), 1}
	if at, err := tracker.firstSeen(first); err != nil || !at.Equal(start) {
		t.Errorf("generation 1 was first observed at %v (%v), want %v", at, err, start)
	}
	if at, err := tracker.wait(t.Context(), first); err != nil || at.Sub(start) != 2*time.Second {
		t.Errorf("generation 1 was healthy after %v (%v), want 2s", at.Sub(start), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if at, err := tracker.wait(ctx, version{first.name, 2}); err == nil {
		t.Errorf("generation 2 was healthy at %v, want an error", at)
	}
	if at, err := tracker.firstSeen(version{first.name, 3}); err == nil {
		t.Errorf("generation 3 was observed at %v, want an error", at)
	}
}

func TestComplete(t *testing.T) {
	newDeployment := func(observed int64, all, updated, available int32) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Spec:       appsv1.DeploymentSpec{Replicas: new(int32(3))},
			Status: appsv1.DeploymentStatus{
				ObservedGeneration: observed, Replicas: all, UpdatedReplicas: updated, AvailableReplicas: available,
			},
		}
	}
	for name, test := range map[string]struct {
		deployment *appsv1.Deployment
		want       bool
	}{
		"complete":             {newDeployment(2, 3, 3, 3), true},
		"not observed":         {newDeployment(1, 3, 3, 3), false},
		"old Pod exists":       {newDeployment(2, 4, 3, 3), false},
		"old Pod is available": {newDeployment(2, 3, 2, 3), false},
		"Pod not available":    {newDeployment(2, 3, 3, 2), false},
	} {
		if got := complete(test.deployment); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestShare(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	for name, test := range map[string]struct {
		created, childrenCreated, complete, healthy int
		want                                        time.Duration
	}{
		"time of other components is excluded": {0, 1, 10, 13, 4 * time.Second},
		"Health is observed before its cause":  {0, 1, 10, 9, time.Second},
	} {
		if got := share(at(test.created), at(test.childrenCreated), at(test.complete), at(test.healthy)); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
