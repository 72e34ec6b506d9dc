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

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// onCreate and onUpdate return admission that applies to one verb only. A created object has no
// resourceVersion yet.

func onCreate(admit func(object)) func(object) {
	return func(o object) {
		if o.GetResourceVersion() == "" {
			admit(o)
		}
	}
}

func onUpdate(admit func(object)) func(object) {
	return func(o object) {
		if o.GetResourceVersion() != "" {
			admit(o)
		}
	}
}

// dropResources drops a field of Pods that the API server does not know.
func dropResources(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		d.Spec.Template.Spec.Resources = nil
	}
}

// setResources sets that field for the workers.
func setResources(ray *rayv1.Ray) {
	ray.Spec.Worker.Template.Spec.Resources = &corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
	}
}

// addNote is a change by another client that does not concern the operator. It is a new generation of the
// Deployment, and the rewritten template looks like an external change then.
func addNote(d *appsv1.Deployment) { d.Annotations["note"] = "x" }

// TestStoredTemplates has templates that are not stored as they were sent. They are not reverted when
// another client changes something else.
func TestStoredTemplates(t *testing.T) {
	annotated := func(c *childSet) { addNote(c.Worker) }
	onlyImages := func(f *fixture) { f.server.admit = onCreate(mirrorImages) }
	dropped := func(f *fixture) {
		f.server.admit = dropResources
		f.editRay(setResources)
		f.deliver()
	}
	runSyncTests(t, []syncTest{
		{
			name:         "images changed on creation stay when another client annotates the Deployment",
			prepare:      onlyImages,
			change:       changeWorker(addNote),
			wantChildren: annotated,
			wantHealth:   healthy,
		},
		{
			name:    "images changed on creation stay when another client changes the replicas",
			prepare: onlyImages,
			change: changeWorker(func(d *appsv1.Deployment) {
				addNote(d)
				d.Spec.Replicas = new(int32(9))
			}),
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "replicas"),
			wantChildren: annotated,
			wantHealth:   healthy,
		},
		{
			name:         "images changed on creation stay when the user scales the workers",
			prepare:      onlyImages,
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{workerScaled},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
		{
			name:         "images changed on creation are replaced by new ones",
			prepare:      onlyImages,
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{workerUpdated},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name:         "images changed on creation are reverted to those of the Ray if another client changes them",
			prepare:      onlyImages,
			change:       changeWorker(func(d *appsv1.Deployment) { container(d).Image = "other" }),
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "template"),
			wantChildren: func(c *childSet) { container(c.Worker).Image = "rayproject/examples:1" },
			wantHealth:   healthy,
		},
		{
			name:         "fields that the API server drops are not sent again when another client annotates the Deployment",
			prepare:      dropped,
			change:       changeWorker(addNote),
			wantChildren: annotated,
			wantHealth:   healthy,
		},
		{
			name:       "other fields are reverted if the API server drops some",
			prepare:    dropped,
			change:     changeWorker(func(d *appsv1.Deployment) { container(d).Image = "other" }),
			wantWrites: []string{updateWorker, updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
			wantHealth: healthy,
		},
		{
			name: "images changed on each update, such as that of another client, are accepted without an event",
			change: func(f *fixture) {
				f.server.admit = onUpdate(mirrorImages)
				f.editDeployment(rayv1.RoleWorker, addNote)
			},
			wantWrites: []string{updateWorker, updateWorker},
			wantChildren: func(c *childSet) {
				addNote(c.Worker)
				container(c.Worker).Image = "mirror/rayproject/examples:1"
			},
			wantHealth: healthy,
		},
		{
			name: "parts that admission changes back are not in an event",
			change: func(f *fixture) {
				f.server.admit = onUpdate(limitReplicas)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
				f.editDeployment(rayv1.RoleWorker, addNote)
			},
			wantWrites: []string{updateWorker, updateWorker, updateStatus},
			wantEvents: []string{workerUpdated},
			wantChildren: func(c *childSet) {
				addNote(c.Worker)
				container(c.Worker).Image, c.Worker.Spec.Replicas = "new", new(int32(2))
			},
		},
	})
}

// TestStoredIsRecorded checks the record of templates that are stored in another form than they were sent
// in: a second write adds the hash, and only then.
func TestStoredIsRecorded(t *testing.T) {
	updateTwice := []string{createService, createHead, updateHead, createWorker, updateWorker, updateStatus}
	tests := []struct {
		name    string
		admit   func(object)
		prepare func(*rayv1.Ray)
		// wantWrites are those of the first sync.
		wantWrites           []string
		wantHead, wantWorker bool
	}{
		{name: "nothing is changed", wantWrites: []string{createService, createHead, createWorker, updateStatus}},
		{name: "images are changed on creation", admit: onCreate(mirrorImages), wantWrites: updateTwice, wantHead: true, wantWorker: true},
		{name: "images are changed on all writes", admit: mirrorImages, wantWrites: updateTwice, wantHead: true, wantWorker: true},
		{name: "images are changed on updates", admit: onUpdate(mirrorImages), wantWrites: []string{createService, createHead, createWorker, updateStatus}},
		{
			name: "a field is dropped", admit: dropResources, prepare: setResources,
			wantWrites: []string{createService, createHead, createWorker, updateWorker, updateStatus}, wantWorker: true,
		},
		{
			name: "fields are added",
			admit: func(o object) {
				if d, ok := o.(*appsv1.Deployment); ok {
					addSidecar(&d.Spec.Template.Spec)
				}
			},
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.server.admit = test.admit
			if test.prepare != nil {
				f.editRay(test.prepare)
				f.deliver()
			}
			if err := f.sync(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.wantWrites, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			for role, want := range map[rayv1.Role]bool{rayv1.RoleHead: test.wantHead, rayv1.RoleWorker: test.wantWorker} {
				d := f.deployment(role)
				recorded := readLastApplied(d)
				wantStored := ""
				if want {
					wantStored = resources.Hash(d.Spec.Template)
				}
				if recorded.Stored != wantStored || recorded.Generation != d.Generation || recorded.AdmissionOverride != nil {
					t.Errorf("the record of the %s is %+v, want the generation %d, and %q stored", role, recorded, d.Generation, wantStored)
				}
			}
			f.takeEvents()
			f.checkSteadyState(nil)
			f.restart()
			f.checkSteadyState(nil)
		})
	}
}

// TestStoredEnds has images that admission no longer changes. The hash in the record ends with a template
// that is stored as it was sent.
func TestStoredEnds(t *testing.T) {
	f := newFixture(t)
	f.server.admit = mirrorImages
	f.makeHealthy()
	f.server.admit = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
	f.deliver()
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerUpdated})
	if recorded := readLastApplied(f.deployment(rayv1.RoleWorker)); recorded.Stored != "" {
		t.Errorf("the record is %+v, want nothing stored", recorded)
	}
	f.checkImages("mirror/rayproject/examples:1", "new")
}

// TestStoredIsRecordedBesideAStatus has a status of each Deployment that is written between its creation and
// the second write, which conflicts then. Without the hash, the template would be reverted once another client
// changes something else.
func TestStoredIsRecordedBesideAStatus(t *testing.T) {
	f := newFixture(t)
	f.server.admit = onCreate(mirrorImages)
	f.server.onWrite = func(w fakeWrite) {
		if d, ok := w.after.(*appsv1.Deployment); ok && w.verb == "create" {
			observed := clone(d)
			observed.Status.ObservedGeneration = d.Generation
			f.server.store(w.id, observed)
		}
	}
	f.checkSync(nil, []string{createService, createHead, updateHead, updateHead, createWorker, updateWorker, updateWorker, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
	})
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		d := f.deployment(role)
		if recorded := readLastApplied(d); recorded.Stored != resources.Hash(d.Spec.Template) || recorded.Generation != d.Generation || d.Status.ObservedGeneration != 1 {
			t.Errorf("the record of the %s is %+v, want the generation %d, and %q stored", role, recorded, d.Generation, resources.Hash(d.Spec.Template))
		}
	}
	f.rollOut()
	f.makeHealthy()
	f.editBoth(addNote)
	f.rollOut()
	f.deliver()
	f.checkSync(nil, nil, nil)
	f.checkImages("mirror/rayproject/examples:1", "mirror/rayproject/examples:1")
	f.checkRestart(nil)
}

// TestStoredIsNotRecordedBesideAChange has another client change the replicas in the same moment. A record
// written then would accept these, too.
func TestStoredIsNotRecordedBesideAChange(t *testing.T) {
	f := newFixture(t)
	f.server.admit = onCreate(mirrorImages)
	f.server.onWrite = func(w fakeWrite) {
		if d, ok := w.after.(*appsv1.Deployment); ok && w.verb == "create" && w.id.name == deploymentName(rayv1.RoleWorker) {
			changed := clone(d)
			changed.Spec.Replicas, changed.Generation = new(int32(9)), d.Generation+1
			f.server.store(w.id, changed)
		}
	}
	if err := f.sync(); !isStale(err) {
		t.Errorf("sync returned %v, want a stale cache", err)
	}
	if recorded := readLastApplied(f.deployment(rayv1.RoleWorker)); recorded.Generation != 1 || recorded.Stored != "" {
		t.Errorf("the record is %+v, want that of the creation", recorded)
	}
	f.makeHealthy()
	if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 3 {
		t.Errorf("there are %d workers, want 3", got)
	}
}
