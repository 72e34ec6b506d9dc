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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

func TestDecideTemplate(t *testing.T) {
	names := map[templateDecision]string{
		keepTemplate: "keep", recordTemplate: "record", revertTemplate: "revert", replaceTemplate: "replace",
	}
	const rayGeneration = 3
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "uid", Generation: rayGeneration}}
	group := resources.Group{Role: rayv1.RoleWorker, Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "desired"}}}}}
	deployment := func(image, priorityClass string) *appsv1.Deployment {
		d := &appsv1.Deployment{}
		adopt(d, ray)
		d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{{Image: image}}, PriorityClassName: priorityClass}
		return d
	}
	var (
		desired  = deployment("desired", "")
		extended = deployment("desired", "added")
		other    = deployment("other", "")
		// older is another rendering of what the user wrote.
		older = deployment("desired", "")
		// orphan is one that no Ray controls.
		orphan = withoutOwner(other)
	)
	desired.Spec.Template.Labels = map[string]string{"rendering": "new"}
	extended.Spec.Template.Labels = desired.Spec.Template.Labels
	tests := []struct {
		name string
		// record changes the record, which equals the record of a write now.
		record func(*lastApplied)
		// changed is whether another client changed the Deployment.
		changed  bool
		observed *appsv1.Deployment
		want     templateDecision
	}{
		{"nothing changed", nil, false, desired, keepTemplate},
		{"only another part of the Ray changed", func(r *lastApplied) { r.RayGeneration = 2 }, false, desired, keepTemplate},
		{"admission changed the template", nil, false, other, keepTemplate},
		{"another client added a field", nil, true, extended, keepTemplate},
		{"another client changed only metadata", nil, true, desired, keepTemplate},
		{"another client changed a field", nil, true, other, revertTemplate},
		{"another client changed a field, and the user another part of the Ray", func(r *lastApplied) { r.RayGeneration = 2 }, true, other, revertTemplate},

		{"the user changed the template", func(r *lastApplied) { r.RayGeneration, r.Inputs = 2, "old" }, false, other, replaceTemplate},
		{"the user and another client changed the template", func(r *lastApplied) { r.RayGeneration, r.Inputs = 2, "old" }, true, other, replaceTemplate},
		{"the user changed the template to what another client had set", func(r *lastApplied) { r.RayGeneration, r.Inputs = 2, "old" }, true, desired, replaceTemplate},
		{"the user changed the template, and the operator was upgraded", func(r *lastApplied) { r.RayGeneration, r.Inputs, r.Rendering = 2, "old", "old" }, false, other, replaceTemplate},

		{"the operator was upgraded", func(r *lastApplied) { r.Rendering = "old" }, false, other, keepTemplate},
		{"the operator was upgraded, and another client changed only metadata", func(r *lastApplied) { r.Rendering = "old" }, true, older, keepTemplate},
		{"the operator was upgraded, and another client changed a field of the user's", func(r *lastApplied) { r.Rendering = "old" }, true, other, revertTemplate},
		{"the operator was upgraded, and the user changed another part of the Ray", func(r *lastApplied) { r.RayGeneration, r.Rendering = 2, "old" }, false, other, keepTemplate},
		{"the hash of the inputs changed, but not the Ray", func(r *lastApplied) { r.Inputs = "old" }, false, other, keepTemplate},

		{"admission changed the template, and another client changed only metadata", func(r *lastApplied) { r.Stored = resources.Hash(other.Spec.Template) }, true, other, keepTemplate},
		{"admission changed the template, and another client changed it again", func(r *lastApplied) { r.Stored = resources.Hash(extended.Spec.Template) }, true, other, revertTemplate},
		{"admission changed the template, and the user changed it", func(r *lastApplied) {
			r.RayGeneration, r.Inputs, r.Stored = 2, "old", resources.Hash(other.Spec.Template)
		}, false, other, replaceTemplate},

		{"a new template of the user's waits", func(r *lastApplied) { r.Inputs, r.TemplatePending = "old", true }, false, other, replaceTemplate},
		{"a new template of the user's waits, which equals the old one again", func(r *lastApplied) { r.TemplatePending = true }, false, other, keepTemplate},

		{"an orphan was made from the same inputs, and another version rendered it", func(r *lastApplied) { r.RayGeneration, r.Rendering = 0, "old" }, true, withoutOwner(older), keepTemplate},
		{"an orphan was made from other inputs", func(r *lastApplied) { r.RayGeneration, r.Inputs = 0, "old" }, true, orphan, replaceTemplate},
		{"an orphan has no record", func(r *lastApplied) { *r = lastApplied{} }, true, withoutOwner(extended), recordTemplate},
		{"an orphan has no record, and another template", func(r *lastApplied) { *r = lastApplied{} }, true, orphan, revertTemplate},

		{"another client changed the recorded rendering", func(r *lastApplied) { r.Rendering = "x" }, true, desired, recordTemplate},
		{"the operator was upgraded and renders less", func(r *lastApplied) { r.Rendering = "old" }, true, extended, recordTemplate},
		{"another client changed the recorded inputs", func(r *lastApplied) { r.Inputs = "x" }, true, desired, recordTemplate},
		{"another client changed the recorded inputs and a field", func(r *lastApplied) { r.Inputs = "x" }, true, other, revertTemplate},
		{"another client removed the record", func(r *lastApplied) { *r = lastApplied{} }, true, extended, recordTemplate},
		{"another client removed the record and changed a field", func(r *lastApplied) { *r = lastApplied{} }, true, other, revertTemplate},
		{"another client removed the recorded inputs and changed a field", func(r *lastApplied) { r.Inputs = "" }, true, other, revertTemplate},
		{"another client removed the recorded inputs, and the user changed another part of the Ray", func(r *lastApplied) { r.RayGeneration, r.Inputs = 2, "" }, true, other, revertTemplate},
		{"another client removed the recorded rendering and changed a field", func(r *lastApplied) { r.Rendering = "" }, true, other, revertTemplate},
		{"the recorded generation is newer than the Ray", func(r *lastApplied) { r.RayGeneration = rayGeneration + 1 }, false, desired, recordTemplate},
		{"the recorded generation is newer than the Ray, and a field changed", func(r *lastApplied) { r.RayGeneration = rayGeneration + 1 }, false, other, revertTemplate},
		{"the recorded generation is negative, and the inputs differ", func(r *lastApplied) { r.RayGeneration, r.Inputs = -1, "old" }, false, other, revertTemplate},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			current := &lastApplied{RayGeneration: rayGeneration, Generation: 1, Inputs: "inputs", Rendering: "rendering"}
			recorded := *current
			if test.record != nil {
				test.record(&recorded)
			}
			observed := test.observed.DeepCopy()
			observed.Generation = 1
			if test.changed {
				observed.Generation++
			}
			if got := decideTemplate(ray, group, &recorded, current, observed, desired); got != test.want {
				t.Errorf("got the decision %s, want %s", names[got], names[test.want])
			}
		})
	}
}

func withoutOwner(d *appsv1.Deployment) *appsv1.Deployment {
	d = d.DeepCopy()
	d.OwnerReferences = nil
	return d
}

// renderDifferently makes the workers' Deployment one that another version of the operator rendered from
// the same Ray.
func renderDifferently(f *fixture) {
	group := groupOf(f.ray(), rayv1.RoleWorker)
	rendered := resources.NewDeployment(f.ray(), group)
	setOldRendering(rendered)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		setOldRendering(d)
		editLastApplied(d, func(r *lastApplied) {
			r.Rendering, r.Generation = resources.RenderingHash(group, rendered), d.Generation+1
		})
	})
	f.rollOut()
}

// renderOlderStrategy is renderDifferently for a version that renders only another strategy.
func renderOlderStrategy(f *fixture) {
	group := groupOf(f.ray(), rayv1.RoleWorker)
	rendered := resources.NewDeployment(f.ray(), group)
	setOldStrategy(rendered)
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		setOldStrategy(d)
		editLastApplied(d, func(r *lastApplied) {
			r.Rendering, r.Generation = resources.RenderingHash(group, rendered), d.Generation+1
		})
	})
	f.rollOut()
}

func setOldRendering(d *appsv1.Deployment) {
	container(d).Env[0].Name = "RAY_HEAD"
	metav1.SetMetaDataLabel(&d.Spec.Template.ObjectMeta, "old", "yes")
	setOldStrategy(d)
	setOldMinReadySeconds(d)
}

// The strategy and minReadySeconds go with the template.

func setOldStrategy(d *appsv1.Deployment) {
	d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromString("25%"))
}

func setOldMinReadySeconds(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 0 }

// TestRecordedRendering checks which parts of a Deployment the recorded rendering depends on: those that
// follow its template.
func TestRecordedRendering(t *testing.T) {
	f := newFixture(t)
	group := groupOf(f.ray(), rayv1.RoleWorker)
	rendering := func(change func(*appsv1.Deployment)) string {
		rendered := resources.NewDeployment(f.ray(), group)
		change(rendered)
		return newLastApplied(f.ray(), group, rendered).Rendering
	}
	before := rendering(func(*appsv1.Deployment) {})
	for _, test := range []struct {
		name   string
		change func(*appsv1.Deployment)
		want   bool
	}{
		{"the template", func(d *appsv1.Deployment) { container(d).Env[0].Name = "RAY_HEAD" }, true},
		{"the strategy", setOldStrategy, true},
		{"minReadySeconds", setOldMinReadySeconds, true},
		{"the replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) }, false},
		{"a label", func(d *appsv1.Deployment) { d.Labels["x"] = "y" }, false},
	} {
		if got := rendering(test.change) != before; got != test.want {
			t.Errorf("when %s changes, the recorded rendering changes: %t, want %t", test.name, got, test.want)
		}
	}
}

// TestUpgrade has a Deployment that another version of the operator rendered.
func TestUpgrade(t *testing.T) {
	runSyncTests(t, []syncTest{
		{
			name:         "an upgrade of the operator restarts no Pods",
			change:       renderDifferently,
			wantChildren: func(c *childSet) { setOldRendering(c.Worker) },
			wantHealth:   healthy,
		},
		{
			name: "scaling after an upgrade restarts no Pods",
			change: func(f *fixture) {
				renderDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) {
				setOldRendering(c.Worker)
				c.Worker.Spec.Replicas = new(int32(5))
			},
		},
		{
			name: "an older strategy is replaced when another client annotates the Deployment, which is not blamed",
			change: func(f *fixture) {
				renderOlderStrategy(f)
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { metav1.SetMetaDataAnnotation(&d.ObjectMeta, "note", "x") })
			},
			wantWrites:   []string{updateWorker},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations, strategy"},
			wantChildren: func(c *childSet) { metav1.SetMetaDataAnnotation(&c.Worker.ObjectMeta, "note", "x") },
		},
		{
			name: "an older strategy stays when the user scales, and is not that of admission",
			change: func(f *fixture) {
				renderOlderStrategy(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) {
				setOldStrategy(c.Worker)
				c.Worker.Spec.Replicas = new(int32(5))
			},
		},
		{
			name: "a change of the head after an upgrade restarts no workers",
			change: func(f *fixture) {
				renderDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites: []string{updateHead, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template"},
			wantChildren: func(c *childSet) {
				setOldRendering(c.Worker)
				container(c.Head).Image = "new"
			},
		},
		{
			name: "changed replicas are reverted after an upgrade, which restarts no Pods",
			change: func(f *fixture) {
				renderDifferently(f)
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(1)) })
			},
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "replicas"),
			wantChildren: func(c *childSet) { setOldRendering(c.Worker) },
		},
		{
			name: "another client annotates the Deployment after an upgrade",
			change: func(f *fixture) {
				renderDifferently(f)
				f.editDeployment(rayv1.RoleWorker, addNote)
				f.rollOut()
			},
			wantChildren: func(c *childSet) {
				setOldRendering(c.Worker)
				addNote(c.Worker)
			},
			wantHealth: healthy,
		},
		{
			name: "the next change of the template by the user applies the new rendering",
			change: func(f *fixture) {
				renderDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template, strategy, minReadySeconds"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
	})
}
