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
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// TestAnnotation checks the format of the annotation, which docs/design.md documents.
func TestAnnotation(t *testing.T) {
	tests := []struct {
		name   string
		record lastApplied
		want   string
	}{
		{"a Service", lastApplied{RayGeneration: 3}, `{"rayGeneration":3}`},
		{
			"a Service with settings of the user's",
			lastApplied{RayGeneration: 3, AnnotationKeys: []string{"example.com/a"}, LabelKeys: []string{"team"}},
			`{"rayGeneration":3,"annotationKeys":["example.com/a"],"labelKeys":["team"]}`,
		},
		{
			"a Deployment",
			lastApplied{RayGeneration: 3, Generation: 5, Inputs: "a1", Rendering: "b2"},
			`{"rayGeneration":3,"generation":5,"inputs":"a1","rendering":"b2"}`,
		},
		{
			"a Deployment with a template that was changed by admission, and a new one that waits",
			lastApplied{RayGeneration: 3, Generation: 5, Inputs: "a1", Rendering: "b2", Stored: "c3", TemplatePending: true},
			`{"rayGeneration":3,"generation":5,"inputs":"a1","rendering":"b2","stored":"c3","templatePending":true}`,
		},
		{
			"a Deployment with a label that admission changes back",
			lastApplied{RayGeneration: 3, Generation: 5, Inputs: "a1", Rendering: "b2", AdmissionOverride: newOverride(withTeam("b"), withTeam("a"))},
			`{"rayGeneration":3,"generation":5,"inputs":"a1","rendering":"b2",` +
				`"admissionOverride":{"accepted":{"metadata":{"labels":{"team":"b"}}},"desired":{"metadata":{"labels":{"team":"a"}}}}}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			child := &appsv1.Deployment{}
			child.Annotations = map[string]string{"note": "x"}
			test.record.writeTo(child)
			want := map[string]string{"note": "x", "ray.kubeflow.org/last-applied": test.want}
			if diff := cmp.Diff(want, child.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.record, readLastApplied(child)); diff != "" {
				t.Errorf("record (-written +read):\n%s", diff)
			}
		})
	}
	for _, invalid := range []string{"", "x", "[]", `{"rayGeneration":"3"}`, `{"rayGeneration":3`} {
		child := &appsv1.Deployment{}
		child.Annotations = map[string]string{rayv1.AnnotationLastApplied: invalid}
		if diff := cmp.Diff(lastApplied{}, readLastApplied(child)); diff != "" {
			t.Errorf("record of the invalid annotation %q (-want +got):\n%s", invalid, diff)
		}
	}
}

// withTeam returns a Deployment with a label.
func withTeam(team string) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Labels = map[string]string{"team": team}
	return d
}

// TestStoredOverride checks that the annotation shows users what admission changes back.
func TestStoredOverride(t *testing.T) {
	f := newFixture(t)
	f.server.admit = setServiceType
	f.converge()
	var record struct{ AdmissionOverride map[string]any }
	annotation := f.service().Annotations[rayv1.AnnotationLastApplied]
	if err := json.Unmarshal([]byte(annotation), &record); err != nil {
		t.Fatalf("decoding %s: %v", annotation, err)
	}
	want := map[string]any{
		"accepted": map[string]any{"spec": map[string]any{"type": "NodePort"}},
		"desired":  map[string]any{"spec": map[string]any{"type": "ClusterIP"}},
	}
	if diff := cmp.Diff(want, record.AdmissionOverride); diff != "" {
		t.Errorf("admissionOverride (-want +got):\n%s", diff)
	}
}

// TestIsOverridden stores an admissionOverride in a Deployment, encodes and decodes it as the API server
// does, and checks that it matches the same update only.
func TestIsOverridden(t *testing.T) {
	longest := maxOverride - len(`{"metadata":{"labels":{"note":""}}}`)
	tests := []struct {
		name     string
		label    string
		wantHash bool
	}{
		{"plain text", "desired", false},
		{"characters that JSON escapes in HTML", `<a href="x">&amp;</a>`, false},
		{"line separators, and characters that are not ASCII", "é\u2028\u2029\t😀", false},
		{"text that is not valid UTF-8", "a\xffb", false},
		{"a patch of 4 KiB", strings.Repeat("x", longest), false},
		{"a patch of more than 4 KiB", strings.Repeat("x", longest+1), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			r := &f.controller.reconciler
			c := r.deployments(f.ray(), cachesFor(r.caches, namespace))
			stored := f.deployment(rayv1.RoleWorker)
			sent := stored.DeepCopy()
			sent.Labels["note"] = test.label

			recorded := readLastApplied(stored)
			recorded.AdmissionOverride = newOverride(c.managed(stored), c.managed(sent))
			recorded.writeTo(stored)
			decoded := &appsv1.Deployment{}
			if err := json.Unmarshal(mustEncode(stored), decoded); err != nil {
				t.Fatal(err)
			}
			recorded = readLastApplied(decoded)
			override := recorded.AdmissionOverride
			if override == nil {
				t.Fatal("there is no admissionOverride")
			}
			if isHash := override.Hash != ""; isHash != test.wantHash || isHash == (len(override.Accepted)+len(override.Desired) > 0) {
				t.Errorf("the admissionOverride is a hash: %t, want %t; %s", isHash, test.wantHash, encode(override))
			}
			if size := len(decoded.Annotations[rayv1.AnnotationLastApplied]); size > 2*maxOverride+1024 {
				t.Errorf("the annotation has %d bytes", size)
			}
			if !c.isOverridden(&recorded, decoded, sent) {
				t.Error("the same update does not match")
			}
			other := sent.DeepCopy()
			other.Labels["note"] += "x"
			if c.isOverridden(&recorded, decoded, other) {
				t.Error("another update matches")
			}
			decoded.Labels["note"] = "other"
			if c.isOverridden(&recorded, decoded, sent) {
				t.Error("an update of another stored Deployment matches")
			}
		})
	}
}

// TestRecordIsCorrected has another client change the record of the workers' Deployment. This must neither
// restart Pods nor hide a change by the user.
func TestRecordIsCorrected(t *testing.T) {
	const (
		updateEvent = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"
		revertEvent = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: revert external changes to its annotations"
	)
	tests := []struct {
		name      string
		change    func(*lastApplied)
		wantEvent string
	}{
		{"the generation of the Ray is removed", func(r *lastApplied) { r.RayGeneration = 0 }, updateEvent},
		{"the generation of the Ray is invalid", func(r *lastApplied) { r.RayGeneration = -1 }, updateEvent},
		{"the generation of the Ray is newer than the Ray", func(r *lastApplied) { r.RayGeneration = 99 }, revertEvent},
		{"the generation of the Deployment is removed", func(r *lastApplied) { r.Generation = 0 }, revertEvent},
		{"the inputs are removed", func(r *lastApplied) { r.Inputs = "" }, revertEvent},
		{"the inputs are changed", func(r *lastApplied) { r.Inputs = "x" }, revertEvent},
		{"the rendering is removed", func(r *lastApplied) { r.Rendering = "" }, revertEvent},
		{"the rendering is changed, and the template is the desired one", func(r *lastApplied) { r.Rendering = "x" }, updateEvent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			before := f.children()
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, test.change) })
			f.deliver()
			f.checkSync(nil, []string{updateWorker}, []string{test.wantEvent})

			worker, group := f.deployment(rayv1.RoleWorker), groupOf(f.ray(), rayv1.RoleWorker)
			want := newLastApplied(f.ray(), group, resources.NewDeployment(f.ray(), group))
			want.Generation = worker.Generation
			if diff := cmp.Diff(*want, readLastApplied(worker)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.checkSteadyState(nil)
			f.restart()
			f.checkSteadyState(nil)
		})
	}
}

func TestChangesWithInvalidRecord(t *testing.T) {
	const templateEvent = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"
	setNewImage := func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" }
	recordAndImage := func(change func(*lastApplied)) func(f *fixture) {
		return func(f *fixture) {
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, change) })
			f.editRay(setNewImage)
		}
	}
	runSyncTests(t, []syncTest{
		{
			name:         "a new image is applied if the record has no inputs",
			change:       recordAndImage(func(r *lastApplied) { r.Inputs = "" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{templateEvent},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a new image is applied if the record has no rendering",
			change:       recordAndImage(func(r *lastApplied) { r.Rendering = "" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{templateEvent},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a new image is applied if the record has no generation of the Ray",
			change:       recordAndImage(func(r *lastApplied) { r.RayGeneration = 0 }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{templateEvent + ", annotations"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name: "new replicas are applied if the recorded generation is newer than the Ray",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.RayGeneration = 99 }) })
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   reverted("deployment sample-cluster-worker", "replicas, annotations"),
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
		{
			name: "an external change is reverted after a change by the user",
			prepare: func(f *fixture) {
				f.makeHealthy()
				f.editRay(setNewImage)
			},
			change:     changeWorker(func(d *appsv1.Deployment) { container(d).Image = "other" }),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
		},
		{
			name: "an external change is reverted if the record has no rendering",
			change: changeWorker(func(d *appsv1.Deployment) {
				editLastApplied(d, func(r *lastApplied) { r.Rendering = "" })
				container(d).Image = "other"
			}),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
		},
		{
			name: "children without annotations get a record",
			change: func(f *fixture) {
				f.editService(func(s *corev1.Service) { s.Annotations = nil })
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations = nil })
			},
			wantWrites: []string{updateWorker, updateService},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: annotations",
			},
		},
		{
			name: "a changed generation of the Deployment in the record causes no write",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.Generation = 99 }) })
				f.rollOut()
			},
		},
		{
			name:       "a Service without a generation of the Ray gets one",
			change:     changeService(func(s *corev1.Service) { editLastApplied(s, func(r *lastApplied) { r.RayGeneration = 0 }) }),
			wantWrites: []string{updateService},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: annotations"},
		},
	})
}
