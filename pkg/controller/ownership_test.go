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
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	headAdopted    = "Normal SuccessfullyAdopt Successfully adopt the deployment sample-cluster-head"
	workerAdopted  = "Normal SuccessfullyAdopt Successfully adopt the deployment sample-cluster-worker"
	serviceAdopted = "Normal SuccessfullyAdopt Successfully adopt the service sample-cluster-head"
)

// orphan removes the owner references of a child. Its record is then one of an earlier Ray.
func orphan(child metav1.Object) {
	child.SetOwnerReferences(nil)
	editLastApplied(child, func(r *lastApplied) { r.RayGeneration = 99 })
}

// orphanWorker returns a change of the workers, which also removes their owner references.
func orphanWorker(change func(*appsv1.Deployment)) func(*fixture) {
	return func(f *fixture) {
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
			orphan(d)
			change(d)
		})
	}
}

// TestOrphansAreAdopted has children without a controller. Each is adopted in one write, and its template
// changes only if it is not the desired one.
func TestOrphansAreAdopted(t *testing.T) {
	scaled := func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(1)) }
	tests := []syncTest{
		{
			name:       "workers that were made from the same inputs",
			change:     orphanWorker(func(*appsv1.Deployment) {}),
			wantEvents: []string{workerAdopted},
		},
		{
			name:       "workers with other replicas",
			change:     orphanWorker(scaled),
			wantEvents: []string{workerAdopted, workerScaled},
		},
		{
			name: "workers that another version of the operator rendered from the same inputs",
			change: orphanWorker(func(d *appsv1.Deployment) {
				setOldRendering(d)
				editLastApplied(d, func(r *lastApplied) { r.Rendering = "old" })
			}),
			wantEvents:   []string{workerAdopted},
			wantChildren: func(c *childSet) { setOldRendering(c.Worker) },
		},
		{
			name: "workers that were made from other inputs",
			change: orphanWorker(func(d *appsv1.Deployment) {
				container(d).Image = "old"
				editLastApplied(d, func(r *lastApplied) { r.Inputs, r.Rendering = "old", "old" })
			}),
			wantEvents: []string{workerAdopted, workerUpdated},
		},
		{
			name: "workers without a record that contain what is desired",
			change: orphanWorker(func(d *appsv1.Deployment) {
				addSidecar(&d.Spec.Template.Spec)
				delete(d.Annotations, rayv1.AnnotationLastApplied)
			}),
			wantEvents: []string{workerAdopted},
			wantChildren: func(c *childSet) {
				addSidecar(&c.Worker.Spec.Template.Spec)
				setDefaults(c.Worker)
			},
		},
		{
			name: "workers without a record that differ, and have an addition",
			change: orphanWorker(func(d *appsv1.Deployment) {
				container(d).Image = "other"
				addSidecar(&d.Spec.Template.Spec)
				delete(d.Annotations, rayv1.AnnotationLastApplied)
			}),
			wantEvents: []string{workerAdopted, workerUpdated},
			wantChildren: func(c *childSet) {
				addSidecar(&c.Worker.Spec.Template.Spec)
				setDefaults(c.Worker)
			},
		},
		{
			name: "workers that lack labels which are not those of an orphan",
			change: orphanWorker(func(d *appsv1.Deployment) {
				d.Labels = map[string]string{rayv1.LabelName: rayName, rayv1.LabelRole: "worker", "note": "x"}
			}),
			wantEvents:   []string{workerAdopted},
			wantChildren: func(c *childSet) { c.Worker.Labels["note"] = "x" },
		},
		{
			name: "workers with other owners",
			change: orphanWorker(func(d *appsv1.Deployment) {
				d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}}
			}),
			wantEvents: []string{workerAdopted},
			wantChildren: func(c *childSet) {
				other := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}
				c.Worker.OwnerReferences = append([]metav1.OwnerReference{other}, c.Worker.OwnerReferences...)
			},
		},
		{
			name: "workers with an owner reference to the Ray that is not the controller",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.OwnerReferences[0].Controller = nil })
			},
			wantEvents: []string{workerAdopted},
		},
	}
	for _, test := range tests {
		test.wantWrites, test.wantHealth = []string{updateWorker}, healthy
		runSyncTests(t, []syncTest{test})
	}
	runSyncTests(t, []syncTest{
		{
			name:       "a head",
			change:     func(f *fixture) { f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { orphan(d) }) },
			wantWrites: []string{updateHead},
			wantEvents: []string{headAdopted},
			wantHealth: healthy,
		},
		{
			name: "a Service",
			change: changeService(func(s *corev1.Service) {
				orphan(s)
				s.Spec.Ports = s.Spec.Ports[1:]
			}),
			wantWrites: []string{updateService},
			wantEvents: []string{serviceAdopted, "Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports"},
			wantHealth: healthy,
		},
	})
}

// TestRecordOfAdopted checks the record that an adoption writes. That of the orphan has the generation of
// another Ray.
func TestRecordOfAdopted(t *testing.T) {
	f := newHealthyFixture(t)
	want := readLastApplied(f.deployment(rayv1.RoleWorker))
	orphanWorker(func(*appsv1.Deployment) {})(f)
	f.deliver()
	f.checkSync(nil, []string{updateWorker}, []string{workerAdopted})
	worker := f.deployment(rayv1.RoleWorker)
	want.Generation = worker.Generation
	if diff := cmp.Diff(want, readLastApplied(worker)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestChildrenOfEarlierRayAreAdopted has a Ray that was deleted with --cascade=orphan and is created again,
// with more workers. No Pod is restarted.
func TestChildrenOfEarlierRayAreAdopted(t *testing.T) {
	for _, test := range []struct {
		name string
		// stale are the caches that do not show the orphans yet.
		stale      []string
		wantWrites []string
	}{
		{"that the cache shows", nil, []string{updateHead, updateWorker, updateService, updateStatus}},
		{
			"that the cache does not show",
			[]string{serviceResource, deploymentResource},
			[]string{createService, createHead, updateHead, createWorker, updateWorker, updateService, updateStatus},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			want := f.children()
			f.drop(rayResource, rayName)
			f.editService(func(s *corev1.Service) { s.OwnerReferences = nil })
			f.editBoth(func(d *appsv1.Deployment) { d.OwnerReferences = nil })
			f.deliver()
			f.checkSync(nil, nil, nil)
			ray := readSample(t)
			ray.Spec.Worker.Replicas = new(int32(5))
			f.put(ray)
			f.restartWithStaleCaches(0, test.stale...)
			f.controller.reconciler.memory.sawCreation(f.ray())
			f.checkSync(nil, test.wantWrites, []string{headAdopted, workerAdopted, workerScaled, serviceAdopted})

			got := f.children()
			for _, child := range []metav1.Object{got.Service, got.Head, got.Worker} {
				if !metav1.IsControlledBy(child, f.ray()) {
					t.Errorf("%T %q has the owners %v", child, child.GetName(), child.GetOwnerReferences())
				}
			}
			want.Worker.Spec.Replicas = new(int32(5))
			for _, children := range []childSet{want, got} {
				children.Service.OwnerReferences, children.Head.OwnerReferences, children.Worker.OwnerReferences = nil, nil, nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("children (-want +got):\n%s", diff)
			}
			f.deliver()
			f.rollOut()
			f.makeHealthy()
		})
	}
}

// TestAdoptedWorkersWaitForHead has orphans that were made from other inputs. The workers are adopted at
// once, and get their new template once the head has rolled out.
func TestAdoptedWorkersWaitForHead(t *testing.T) {
	f := newHealthyFixture(t)
	f.editBoth(func(d *appsv1.Deployment) {
		orphan(d)
		container(d).Image = "old"
		editLastApplied(d, func(r *lastApplied) { r.Inputs = "old" })
	})
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.deliver()
	f.checkSync(nil, []string{updateHead, updateWorker, updateStatus}, []string{headAdopted, headUpdated, workerAdopted, workerScaled})
	f.checkImages("rayproject/examples:1", "old")
	f.checkPending(true)
	f.checkHealth("False RolloutIncomplete: " + headUnobserved + "; " + workerWaits)
	f.checkSteadyState(nil)
	f.rollOutHead()
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{workerReplaced})
	f.checkImages("rayproject/examples:1", "rayproject/examples:1")
	f.rollOut()
	f.makeHealthy()
}

// TestAdoptionReads checks the reads before an adoption: the orphan, of which the cache has only the
// identity, and the Ray, which may be gone.
func TestAdoptionReads(t *testing.T) {
	f := newHealthyFixture(t)
	orphanWorker(func(*appsv1.Deployment) {})(f)
	f.deliver()
	f.server.reads = nil
	if cached, err := f.controller.reconciler.caches[""].deployments.Deployments(namespace).Get(deploymentName(rayv1.RoleWorker)); err != nil || cached.Spec.Replicas != nil {
		t.Errorf("the cache has %v, %v; want only the identity", cached, err)
	}
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"get deployments sample-cluster-worker", "get rays sample-cluster"}, f.server.reads); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
}

// TestCacheShowsEarlierOwner has a cache that still shows that an earlier Ray controls the children, which are
// orphans by now.
func TestCacheShowsEarlierOwner(t *testing.T) {
	f := newHealthyFixture(t)
	f.drop(rayResource, rayName)
	seen := len(f.server.history)
	f.editService(func(s *corev1.Service) { s.OwnerReferences = nil })
	f.editBoth(func(d *appsv1.Deployment) { d.OwnerReferences = nil })
	f.put(readSample(t))
	f.restartWithStaleCaches(seen, serviceResource, deploymentResource)
	f.checkSync(nil, []string{updateHead, updateWorker, updateService, updateStatus}, []string{headAdopted, workerAdopted, serviceAdopted})
	f.makeHealthy()
}

// TestStaleRayAdoptsNothing has a cache with a Ray that has changed. Its orphans stay orphans.
func TestStaleRayAdoptsNothing(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fixture)
	}{
		{"a Ray that was deleted", func(f *fixture) { f.drop(rayResource, rayName) }},
		{"a Ray that is being deleted", func(f *fixture) {
			f.editRay(func(ray *rayv1.Ray) { ray.Finalizers = []string{"example.com/wait"} })
			f.deliver()
			f.drop(rayResource, rayName)
		}},
		{"a Ray that was created again", func(f *fixture) {
			f.drop(rayResource, rayName)
			f.put(readSample(t))
		}},
		{"a Ray with a new generation", changeRay(setImages("new"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			f.editService(func(s *corev1.Service) { orphan(s) })
			f.editBoth(func(d *appsv1.Deployment) { orphan(d) })
			f.deliver()
			test.change(f)
			f.checkChangesNothing()
		})
	}
}

// TestOthersAreNotAdopted has objects with the name of the workers that must not be adopted.
func TestOthersAreNotAdopted(t *testing.T) {
	const exists = `Deployment "sample-cluster-worker" already exists and is not controlled by this Ray; delete it or rename the Ray`
	orphaned := func(change func(*appsv1.Deployment)) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			orphan(d)
			change(d)
		}
	}
	tests := []struct {
		name   string
		change func(*appsv1.Deployment)
		// replace is whether the change is made to a new Deployment: a selector is immutable.
		replace bool
		// want is the event.
		want string
	}{
		{"without labels", orphaned(func(d *appsv1.Deployment) { d.Labels = nil }), false, "Warning AlreadyExists " + exists},
		{"with the label of another Ray", orphaned(func(d *appsv1.Deployment) { d.Labels[rayv1.LabelName] = "other" }), false, "Warning AlreadyExists " + exists},
		{"with the role of the head", orphaned(func(d *appsv1.Deployment) { d.Labels[rayv1.LabelRole] = "head" }), false, "Warning AlreadyExists " + exists},
		{"without a role", orphaned(func(d *appsv1.Deployment) { delete(d.Labels, rayv1.LabelRole) }), false, "Warning AlreadyExists " + exists},
		{"with another selector", orphaned(func(d *appsv1.Deployment) { d.Spec.Selector.MatchLabels["version"] = "2" }), true, "Warning AlreadyExists " + exists},
		{"with another controller", func(d *appsv1.Deployment) {
			d.OwnerReferences[0].Kind, d.OwnerReferences[0].APIVersion, d.OwnerReferences[0].UID = "Other", "example.com/v1", "other"
		}, false, `Warning AlreadyExists Deployment "sample-cluster-worker" already exists and is controlled by Other "sample-cluster"; delete it or rename the Ray`},
		{"that are being deleted", orphaned(func(d *appsv1.Deployment) {
			d.Finalizers, d.DeletionTimestamp = []string{"example.com/wait"}, &serverTime
		}), true, `Normal ChildTerminating Deployment "sample-cluster-worker" is being deleted`},
	}
	for _, test := range tests {
		t.Run("workers "+test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			if test.replace {
				worker := f.deployment(rayv1.RoleWorker)
				test.change(worker)
				f.server.store(idOf(worker), worker)
			} else {
				f.editDeployment(rayv1.RoleWorker, test.change)
			}
			f.deliver()
			before := f.children()
			f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{test.want})
			parts := strings.SplitN(test.want, " ", 3)
			f.checkHealth("False " + parts[1] + ": worker: " + parts[2])
			if diff := cmp.Diff(before, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.checkSteadyState(isOnlyBlocked)
			f.checkRestart(isOnlyBlocked)
		})
	}
}
