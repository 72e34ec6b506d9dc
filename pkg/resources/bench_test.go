package resources

import (
	"testing"
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
		NewDeployment(ray, Groups(ray)[1])
	}
}

func BenchmarkHash(b *testing.B) {
	ray := readRay(b, seedManifest)
	b.ReportAllocs()
	for b.Loop() {
		Hash(&ray.Spec.Worker.Template)
	}
}
