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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/podtemplate"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// BenchmarkSyncSteadyState measures a sync with nothing to do.
func BenchmarkSyncSteadyState(b *testing.B) {
	f := newHealthyFixture(b)
	ctx := f.context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			b.Fatal(err)
		}
	}
	if writes := f.takeWrites(); len(writes) > 0 {
		b.Fatalf("got the writes %q in steady state, want none", writes)
	}
}

// BenchmarkSyncWithStatus measures a sync that writes the status, including the fake server.
func BenchmarkSyncWithStatus(b *testing.B) {
	f := newHealthyFixture(b)
	ctx := f.context()
	available := int32(0)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = available })
		available = 3 - available
		f.clock.Step(time.Minute)
		f.deliver()
		b.StartTimer()
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			b.Fatal(err)
		}
	}
	if writes := f.takeWrites(); len(writes) != b.N {
		b.Fatalf("got %d writes in %d syncs, want one per sync", len(writes), b.N)
	}
}

// BenchmarkCompareDeployment measures the comparison of a Deployment that another client has updated, but
// that does not differ from the desired one.
func BenchmarkCompareDeployment(b *testing.B) {
	f := newHealthyFixture(b)
	ray, observed := f.ray(), f.deployment(rayv1.RoleWorker)
	observed.Generation++
	recorded := readLastApplied(observed)
	b.ReportAllocs()
	for b.Loop() {
		if _, diff := desiredDeployment(ray, groupOf(ray, rayv1.RoleWorker), observed, &recorded, templateRollout{}); len(diff) > 0 {
			b.Fatalf("%v differ, want no difference", diff)
		}
	}
}

// BenchmarkContains measures the comparison of a Pod template.
func BenchmarkContains(b *testing.B) {
	f := newHealthyFixture(b)
	observed := f.deployment(rayv1.RoleWorker)
	desired := resources.NewDeployment(f.ray(), groupOf(f.ray(), rayv1.RoleWorker))
	b.ReportAllocs()
	for b.Loop() {
		if !podtemplate.Contains(&observed.Spec.Template, &desired.Spec.Template) {
			b.Fatal("the observed Pod template does not contain the desired one")
		}
	}
}

// BenchmarkStatus measures how long it takes to compute the status of a Ray with a failing Deployment.
func BenchmarkStatus(b *testing.B) {
	f := newHealthyFixture(b)
	ray, head, worker := f.ray(), f.deployment(rayv1.RoleHead), f.deployment(rayv1.RoleWorker)
	worker.Status.AvailableReplicas = 0
	worker.Status.Conditions = append(worker.Status.Conditions, appsv1.DeploymentCondition{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "x-7f69d5c8b4-2xk9p" is forbidden: exceeded quota`,
	})
	observed := &observation{groups: []groupObservation{
		{name: "head", role: rayv1.RoleHead, desired: new(int32(1)), deployment: head},
		{name: "worker", role: rayv1.RoleWorker, desired: new(int32(3)), deployment: worker},
	}}
	now := metav1.Now()
	b.ReportAllocs()
	for b.Loop() {
		newStatus(ray, observed, now)
	}
}

// TestSteadyStateAllocations limits the allocations of a sync with nothing to do: each time that the
// informers relist, all Rays are synced.
func TestSteadyStateAllocations(t *testing.T) {
	const limit = 97 // it makes 93, and 96 with the race detector, under which a sync.Pool drops what it is given
	f := newHealthyFixture(t)
	ctx := f.context()
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > limit {
		t.Errorf("a sync with nothing to do makes %v allocations, want at most %d", allocations, limit)
	}
}
