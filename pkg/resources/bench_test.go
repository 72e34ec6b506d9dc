package resources

import (
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func BenchmarkNewService(b *testing.B) {
	ray := readRay(b, seedManifest)
	b.ReportAllocs()
	for b.Loop() {
		NewService(ray)
	}
}

func BenchmarkNewDeployment(b *testing.B) {
	ray := readRay(b, seedManifest)
	b.ReportAllocs()
	for b.Loop() {
		NewDeployment(ray, rayv1.RoleWorker)
	}
}

func BenchmarkHash(b *testing.B) {
	ray := readRay(b, seedManifest)
	b.ReportAllocs()
	for b.Loop() {
		Hash(&ray.Spec.Worker.Template)
	}
}
