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

package podtemplate

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/randfill"
)

var randomSeed = flag.Int64("random.seed", 1, "seed of TestMergeRandomTemplates")

// TestMergeServiceAccount has a user who sets the ServiceAccount with the deprecated field. The API server
// sets both fields, and uses the other one if they differ.
func TestMergeServiceAccount(t *testing.T) {
	template := func(deprecated, current string) *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{Spec: corev1.PodSpec{DeprecatedServiceAccount: deprecated, ServiceAccountName: current}}
	}
	merged := Merge(template("changed", "changed"), template("desired", ""))
	if got := merged.Spec.ServiceAccountName; got != "desired" {
		t.Errorf("the ServiceAccount is %q, want desired", got)
	}
}

// TestMergePlace has containers by name. Those named x, y and z were added by other clients.
func TestMergePlace(t *testing.T) {
	tests := []struct {
		name                    string
		observed, desired, want string
	}{
		{"nothing added", "a b", "a b", "a b"},
		{"added first", "x a b", "a b", "x a b"},
		{"inserted", "a x b", "a b", "a x b"},
		{"added last", "a b x", "a b", "a b x"},
		{"added in several places", "x a y b z", "a b", "x a y b z"},
		{"added next to each other, in their order", "a y x b", "a b", "a y x b"},
		{"only added ones", "y x", "", "y x"},
		{"none observed", "", "a b", "a b"},
		{"the one before it was removed", "x b", "a b", "x a b"},
		{"the one after it was removed", "a x", "a b", "a x b"},
		{"an earlier one was removed", "b x", "a b", "a b x"},
		{"all others were removed", "x", "a b", "x a b"},
		{"others in another order", "b a x", "a b", "a b x"},
		{"between others in another order", "b x a", "a b", "a b x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := func(names string) *corev1.PodTemplateSpec {
				var template corev1.PodTemplateSpec
				for name := range strings.FieldsSeq(names) {
					template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: name})
					template.Spec.InitContainers = append(template.Spec.InitContainers, corev1.Container{Name: name})
					template.Spec.Volumes = append(template.Spec.Volumes, corev1.Volume{Name: name})
				}
				return &template
			}
			merged, want := Merge(template(test.observed), template(test.desired)), template(test.want)
			if diff := cmp.Diff(want.Spec, merged.Spec); diff != "" {
				t.Errorf("Merge (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergeKeepsSidecars reverts the image of a template with a native sidecar that another client added.
func TestMergeKeepsSidecars(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	sidecar := corev1.Container{Name: "proxy", Image: "proxy:1", RestartPolicy: &always}
	desired := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "download", Image: "a:1"}},
		Containers:     []corev1.Container{{Name: "ray-worker", Image: "a:1"}},
	}}
	observed := desired.DeepCopy()
	observed.Spec.InitContainers = slices.Insert(observed.Spec.InitContainers, 0, sidecar)
	observed.Spec.Containers[0].Image = "changed"
	want := desired.DeepCopy()
	want.Spec.InitContainers = slices.Insert(want.Spec.InitContainers, 0, sidecar)
	if merged := Merge(observed, desired); !equality.Semantic.DeepEqual(&merged, want) {
		t.Errorf("Merge (-want +got):\n%s", cmp.Diff(want, &merged))
	}
}

// TestMergeRandomTemplates merges random templates. The result must contain all that is desired, and all
// containers and volumes that were added, in their order. Merging again must change nothing.
func TestMergeRandomTemplates(t *testing.T) {
	const templates = 500
	filler := randfill.NewWithSeed(*randomSeed).NilChance(.5).NumElements(0, 3).Funcs(
		func(quantity *resource.Quantity, c randfill.Continue) {
			*quantity = *resource.NewMilliQuantity(c.Int63n(1<<40), resource.DecimalSI)
		},
		func(meta *metav1.ObjectMeta, c randfill.Continue) {
			c.Fill(&meta.Labels)
			c.Fill(&meta.Annotations)
		},
		func(containers *[]corev1.Container, c randfill.Continue) {
			*containers = nil
			for _, name := range randomNames(c) {
				var container corev1.Container
				c.Fill(&container)
				container.Name = name
				*containers = append(*containers, container)
			}
		},
		func(volumes *[]corev1.Volume, c randfill.Continue) {
			*volumes = nil
			for _, name := range randomNames(c) {
				var volume corev1.Volume
				c.Fill(&volume)
				volume.Name = name
				*volumes = append(*volumes, volume)
			}
		},
	)
	for i := range templates {
		var observed, desired corev1.PodTemplateSpec
		filler.Fill(&desired)
		filler.Fill(&observed)
		if i%2 == 0 && len(desired.Spec.Containers) > 0 {
			// Some containers are as desired, with additions.
			kept := desired.Spec.Containers[0].DeepCopy()
			kept.VolumeMounts = append(kept.VolumeMounts, corev1.VolumeMount{Name: "added", MountPath: "/added"})
			observed.Spec.Containers = append([]corev1.Container{*kept}, slices.DeleteFunc(observed.Spec.Containers, func(c corev1.Container) bool { return c.Name == kept.Name })...)
		}
		before := []*corev1.PodTemplateSpec{observed.DeepCopy(), desired.DeepCopy()}

		merged := Merge(&observed, &desired)
		if !Contains(&merged, &desired) {
			t.Errorf("the result does not contain what is desired (-desired +got):\n%s", cmp.Diff(desired, merged))
		}
		if again := Merge(&merged, &desired); !equality.Semantic.DeepEqual(merged, again) {
			t.Errorf("Merge is not idempotent (-first +second):\n%s", cmp.Diff(merged, again))
		}
		if !equality.Semantic.DeepEqual(before, []*corev1.PodTemplateSpec{&observed, &desired}) {
			t.Error("Merge changed its arguments")
		}
		containerName, volumeName := func(c corev1.Container) string { return c.Name }, func(v corev1.Volume) string { return v.Name }
		checkAdded(t, observed.Spec.Containers, desired.Spec.Containers, merged.Spec.Containers, containerName)
		checkAdded(t, observed.Spec.InitContainers, desired.Spec.InitContainers, merged.Spec.InitContainers, containerName)
		checkAdded(t, observed.Spec.Volumes, desired.Spec.Volumes, merged.Spec.Volumes, volumeName)
		if t.Failed() {
			t.Fatalf("template %d; to reproduce: go test ./pkg/podtemplate -run TestMergeRandomTemplates -random.seed %d", i, *randomSeed)
		}
	}
}

// randomNames returns some of a few names, in a random order, so that two templates share some.
func randomNames(c randfill.Continue) []string {
	names := []string{"a", "b", "c", "d", "e"}
	c.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:c.Intn(len(names)+1)]
}

// checkAdded checks that a merged list has the desired items and those that only the observed one has, that
// the order of each of these is kept, and that no added item comes before a desired one that preceded it.
func checkAdded[T any](t *testing.T, observed, desired, merged []T, name func(T) string) {
	t.Helper()
	names := func(items []T, only func(string) bool) []string {
		var result []string
		for _, item := range items {
			if only(name(item)) {
				result = append(result, name(item))
			}
		}
		return result
	}
	all := func(string) bool { return true }
	desiredNames := names(desired, all)
	isDesired := func(name string) bool { return slices.Contains(desiredNames, name) }
	isAdded := func(name string) bool { return !isDesired(name) }
	got, before := names(merged, all), names(observed, all)
	if !slices.Equal(names(merged, isDesired), desiredNames) || !slices.Equal(names(merged, isAdded), names(observed, isAdded)) {
		t.Errorf("observed %v and desired %v are merged into %v", before, desiredNames, got)
	}
	for i, added := range before {
		if isDesired(added) {
			continue
		}
		for _, earlier := range before[:i] {
			if slices.Index(got, earlier) > slices.Index(got, added) {
				t.Errorf("observed %v and desired %v are merged into %v: %s is now before %s", before, desiredNames, got, added, earlier)
			}
		}
	}
}
