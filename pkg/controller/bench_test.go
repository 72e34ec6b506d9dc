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

// BenchmarkSyncAtRest is a sync with nothing to do.
func BenchmarkSyncAtRest(b *testing.B) {
	f := newHealthyFixture(b)
	ctx := f.context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			b.Fatal(err)
		}
	}
	if writes := f.takeWrites(); len(writes) > 0 {
		b.Fatalf("at rest there are the writes %q", writes)
	}
}

// BenchmarkSyncWithStatus is a sync that writes the status, by way of a server in memory.
func BenchmarkSyncWithStatus(b *testing.B) {
	f := newHealthyFixture(b)
	ctx := f.context()
	available := int32(0)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = available })
		available = 3 - available
		f.clock.step(time.Minute)
		f.deliver()
		b.StartTimer()
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			b.Fatal(err)
		}
	}
	if writes := f.takeWrites(); len(writes) != b.N {
		b.Fatalf("there are %d writes in %d syncs", len(writes), b.N)
	}
}

// BenchmarkCompareDeployment is what it takes to see that a Deployment which somebody has
// touched is as it should be.
func BenchmarkCompareDeployment(b *testing.B) {
	f := newHealthyFixture(b)
	ray, have := f.ray(), f.deployment(rayv1.RoleWorker)
	have.Generation++
	recorded := readLastApplied(have)
	b.ReportAllocs()
	for b.Loop() {
		if _, changed := desiredDeployment(ray, groupOf(ray, rayv1.RoleWorker), have, &recorded); len(changed) > 0 {
			b.Fatalf("%v differ", changed)
		}
	}
}

// BenchmarkContains is the comparison of a Pod template alone.
func BenchmarkContains(b *testing.B) {
	f := newHealthyFixture(b)
	have := f.deployment(rayv1.RoleWorker)
	want := resources.NewDeployment(f.ray(), groupOf(f.ray(), rayv1.RoleWorker))
	b.ReportAllocs()
	for b.Loop() {
		if !podtemplate.Contains(&have.Spec.Template, &want.Spec.Template) {
			b.Fatal("something is missing")
		}
	}
}

// BenchmarkStatus is the status of a Ray whose Deployments fail.
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

// TestSyncAtRestAllocates keeps what a sync with nothing to do allocates from creeping up:
// a thousand Rays are synced each time that the informers list anew.
func TestSyncAtRestAllocates(t *testing.T) {
	const most = 80
	f := newHealthyFixture(t)
	ctx := f.context()
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := f.controller.reconciler.sync(ctx, sampleKey); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > most {
		t.Errorf("a sync with nothing to do makes %v allocations, more than %d", allocations, most)
	}
}
