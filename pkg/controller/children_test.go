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
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// ownedBy returns the metadata of an object that has the name of a child and another controller, or none.
func ownedBy(name string, owner *metav1.OwnerReference) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	if owner != nil {
		owner.Controller = new(true)
		meta.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return meta
}

// earlierRay returns a reference to a deleted Ray with the same name.
func earlierRay() *metav1.OwnerReference {
	return &metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.String(), Kind: "Ray", Name: rayName, UID: "old"}
}

func TestMissingChildrenAreCreated(t *testing.T) {
	runSyncTests(t, []syncTest{
		{
			name:       "a deleted Service is created again",
			change:     func(f *fixture) { f.drop(serviceResource, serviceKey) },
			wantWrites: []string{createService},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"},
			wantHealth: healthy,
		},
		{
			name:       "a deleted head is created again",
			change:     func(f *fixture) { f.drop(deploymentResource, deploymentName(rayv1.RoleHead)) },
			wantWrites: []string{createHead, updateStatus},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head"},
			wantHealth: "False RolloutIncomplete: head: the Deployment has not been observed yet",
		},
		{
			name:       "deleted workers are created again",
			change:     func(f *fixture) { f.drop(deploymentResource, deploymentName(rayv1.RoleWorker)) },
			wantWrites: []string{createWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"},
			wantHealth: "False RolloutIncomplete: worker: the Deployment has not been observed yet",
		},
	})
}

// TestNameAlreadyExists has objects with the name of a child of a new Ray that the Ray does not control.
// They must not be changed, and only a head blocks another child: its workers. Once they are deleted, the
// Ray becomes healthy.
func TestNameAlreadyExists(t *testing.T) {
	service := func(owner *metav1.OwnerReference) object {
		return &corev1.Service{ObjectMeta: ownedBy(serviceKey, owner)}
	}
	head := func(owner *metav1.OwnerReference) object {
		return &appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleHead), owner)}
	}
	worker := func(owner *metav1.OwnerReference) object {
		return &appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleWorker), owner)}
	}
	tests := []struct {
		name       string
		existing   object
		wantEvent  string
		wantHealth string
	}{
		{
			name:       "a Service without a controller",
			existing:   service(nil),
			wantEvent:  `Warning AlreadyExists Service "sample-cluster-head" already exists and is not controlled by this Ray; delete it or rename the Ray`,
			wantHealth: `False AlreadyExists: Service "sample-cluster-head" already exists and is not controlled by this Ray; delete it or rename the Ray; head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet`,
		},
		{
			name:       "a Deployment of another Ray",
			existing:   worker(&metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.String(), Kind: "Ray", Name: "other", UID: "other"}),
			wantEvent:  `Warning AlreadyExists Deployment "sample-cluster-worker" already exists and is controlled by Ray "other"; delete it or rename the Ray`,
			wantHealth: `False AlreadyExists: head: the Deployment has not been observed yet; worker: Deployment "sample-cluster-worker" already exists and is controlled by Ray "other"; delete it or rename the Ray`,
		},
		{
			name:       "a Deployment of an object of another API group with the kind and name of the Ray",
			existing:   head(&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Ray", Name: rayName, UID: "other"}),
			wantEvent:  `Warning AlreadyExists Deployment "sample-cluster-head" already exists and is controlled by Ray "sample-cluster"; delete it or rename the Ray`,
			wantHealth: `False AlreadyExists: head: Deployment "sample-cluster-head" already exists and is controlled by Ray "sample-cluster"; delete it or rename the Ray; worker: not created: waiting for the head`,
		},
		{
			name:       "the Service of a deleted Ray with the same name",
			existing:   service(earlierRay()),
			wantEvent:  `Normal ChildTerminating Service "sample-cluster-head" of an earlier Ray with this name is being deleted`,
			wantHealth: `False ChildTerminating: Service "sample-cluster-head" of an earlier Ray with this name is being deleted; head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet`,
		},
		{
			name:       "the Deployment of a deleted Ray with the same name",
			existing:   head(earlierRay()),
			wantEvent:  `Normal ChildTerminating Deployment "sample-cluster-head" of an earlier Ray with this name is being deleted`,
			wantHealth: `False ChildTerminating: head: Deployment "sample-cluster-head" of an earlier Ray with this name is being deleted; worker: not created: waiting for the head`,
		},
	}
	for _, test := range tests {
		for _, cached := range []bool{false, true} {
			name := test.name + " that the cache does not show"
			if cached {
				name = test.name + " that the cache shows"
			}
			t.Run(name, func(t *testing.T) {
				f := newFixture(t)
				existing := clone(test.existing)
				if cached {
					existing.SetLabels(map[string]string{rayv1.LabelName: rayName})
				}
				f.put(existing)
				f.deliver()
				id := idOf(existing)
				before := f.server.objects[id].GetResourceVersion()

				f.checkBlocked(id, cached, test.wantEvent, test.wantHealth)
				if after := f.server.objects[id]; after == nil || after.GetResourceVersion() != before {
					t.Errorf("%s %q was changed", id.resource, id.name)
				}
				f.checkSteadyState(isOnlyBlocked)

				// A quota would count every attempt to create it.
				if err := f.sync(); !isOnlyBlocked(err) {
					t.Errorf("sync returned %v, want that it is blocked", err)
				}
				if writes := f.takeWrites(); len(writes) > 0 {
					t.Errorf("another sync made the writes %q", writes)
				}

				f.drop(id.resource, id.name)
				f.makeHealthy()
			})
		}
	}
}

// checkBlocked syncs a new Ray with one child that is blocked by an existing object. Workers are not created
// without their head.
func (f *fixture) checkBlocked(existing objectID, cached bool, wantEvent, wantHealth string) {
	f.t.Helper()
	head := objectID{deploymentResource, namespace, deploymentName(rayv1.RoleHead)}
	var wantWrites, wantEvents []string
	for _, child := range []objectID{
		{serviceResource, namespace, serviceKey}, head, {deploymentResource, namespace, deploymentName(rayv1.RoleWorker)},
	} {
		if existing == head && child.name == deploymentName(rayv1.RoleWorker) {
			continue
		}
		if child != existing || !cached { // otherwise no request to create it is needed
			wantWrites = append(wantWrites, "create "+child.resource+" "+child.name)
		}
		if child != existing {
			wantEvents = append(wantEvents, "Normal SuccessfullyCreate Successfully create the "+strings.TrimSuffix(child.resource, "s")+" "+child.name)
		}
	}
	f.checkSync(isOnlyBlocked, append(wantWrites, updateStatus), append(wantEvents, wantEvent))
	f.checkHealth(wantHealth)
}

// TestControllerChanged has children that the Ray no longer controls.
func TestControllerChanged(t *testing.T) {
	setOwner := func(uid types.UID) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.OwnerReferences[0].UID = uid }
	}
	const terminating = `ChildTerminating Deployment "sample-cluster-head" of an earlier Ray with this name is being deleted`
	runSyncTests(t, []syncTest{
		{
			name: "workers of a Ray with another UID are not deleted with the group",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, setOwner("other"))
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			wantWrites:   []string{updateStatus},
			wantChildren: func(c *childSet) { setOwner("other")(c.Worker) },
			wantHealth:   healthy,
		},
		{
			name: "a head of a Ray with another UID is not updated",
			change: changeHead(func(d *appsv1.Deployment) {
				setOwner("other")(d)
				d.Spec.Replicas = new(int32(0))
			}),
			wantErr:    isOnlyBlocked,
			wantWrites: []string{updateStatus},
			wantEvents: []string{"Normal " + terminating},
			wantChildren: func(c *childSet) {
				setOwner("other")(c.Head)
				c.Head.Spec.Replicas = new(int32(0))
			},
			wantHealth: `False ChildTerminating: head: Deployment "sample-cluster-head" of an earlier Ray with this name is being deleted`,
		},
	})
}

// TestExternalControllerWithUID has children with a controller that has the UID of the Ray, and another kind or
// name. The cache has only their identity, so to write them would remove the rest.
func TestExternalControllerWithUID(t *testing.T) {
	claim := func(child metav1.Object, kind, name string) {
		child.GetOwnerReferences()[0].Kind, child.GetOwnerReferences()[0].Name = kind, name
		child.SetFinalizers([]string{"example.com/a"})
		child.GetAnnotations()["note"] = "x"
	}
	const reason = `already exists and is controlled by %s; delete it or rename the Ray`
	ofService := `Service "sample-cluster-head" ` + strings.ReplaceAll(reason, "%s", `Job "sample-cluster"`)
	ofWorker := `Deployment "sample-cluster-worker" ` + strings.ReplaceAll(reason, "%s", `Ray "other"`)
	claimWorker := func(d *appsv1.Deployment) { claim(d, "Ray", "other") }
	claimService := func(s *corev1.Service) {
		claim(s, "Job", rayName)
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	runSyncTests(t, []syncTest{
		{
			name: "a Service of another kind of controller is not updated",
			change: changeService(func(s *corev1.Service) {
				claimService(s)
				s.Spec.Ports = s.Spec.Ports[1:]
			}),
			wantErr:    isOnlyBlocked,
			wantWrites: []string{updateStatus},
			wantEvents: []string{"Warning AlreadyExists " + ofService},
			wantChildren: func(c *childSet) {
				claimService(c.Service)
				c.Service.Spec.Ports = c.Service.Spec.Ports[1:]
			},
			wantHealth: "False AlreadyExists: " + ofService,
		},
		{
			name: "workers of a controller with another name are not updated",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, claimWorker)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantErr:      isOnlyBlocked,
			wantWrites:   []string{updateStatus},
			wantEvents:   []string{"Warning AlreadyExists " + ofWorker},
			wantChildren: func(c *childSet) { claimWorker(c.Worker) },
			wantHealth:   "False AlreadyExists: worker: " + ofWorker,
		},
		{
			name: "workers of a controller with another name are not deleted with the group",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, claimWorker)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			wantWrites:   []string{updateStatus},
			wantChildren: func(c *childSet) { claimWorker(c.Worker) },
			wantHealth:   healthy,
		},
	})
}

func TestTerminatingChildren(t *testing.T) {
	const event = `Normal ChildTerminating Deployment "sample-cluster-worker" is being deleted`
	terminate := func(f *fixture) {
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Finalizers = []string{"foregroundDeletion"} })
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
	}
	terminating := func(c *childSet) {
		c.Worker.Finalizers = []string{"foregroundDeletion"}
		c.Worker.DeletionTimestamp = new(serverTime)
	}
	runSyncTests(t, []syncTest{
		{
			name: "workers that are being deleted are not updated",
			change: func(f *fixture) {
				terminate(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantErr:      isOnlyBlocked,
			wantWrites:   []string{updateStatus},
			wantEvents:   []string{event},
			wantChildren: terminating,
			wantHealth:   `False ChildTerminating: worker: Deployment "sample-cluster-worker" is being deleted`,
		},
		{
			name: "workers that are being deleted are not deleted again with the group",
			change: func(f *fixture) {
				terminate(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			wantErr:      isOnlyBlocked,
			wantWrites:   []string{updateStatus},
			wantEvents:   []string{event},
			wantChildren: terminating,
			wantHealth:   `False ChildTerminating: worker: Deployment "sample-cluster-worker" is being deleted`,
		},
	})
	t.Run("workers are created again once the old ones no longer exist", func(t *testing.T) {
		f := newHealthyFixture(t)
		terminate(f)
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{event})
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Finalizers = nil })
		f.deliver()
		f.clock.Step(time.Minute)
		f.checkSync(nil, []string{createWorker, updateStatus}, []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"})
		f.makeHealthy()
	})
}

// TestCreateNotFound has a creation that is rejected with NotFound. A creation is not based on a cached
// state, so the error must be reported instead of being regarded as a stale cache.
func TestCreateNotFound(t *testing.T) {
	f := newFixture(t)
	f.reject(apierrors.NewNotFound(schema.GroupResource{Resource: "webhooks"}, "x"), createHead)
	f.checkSync(apierrors.IsNotFound, []string{createService, createHead, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
		`Warning FailedCreate Deployment "sample-cluster-head" could not be created: webhooks "x" not found`,
	})
	f.checkSteadyState(apierrors.IsNotFound)
}

// TestQuotaConflict has a quota that other clients use at the same time, so that the API server returns
// conflicts.
func TestQuotaConflict(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "quota", errors.New("the object has been modified"))
	t.Run("a creation is retried at once", func(t *testing.T) {
		f := newFixture(t)
		conflicts := 2
		f.server.reject = func(write string) *apierrors.StatusError {
			if !strings.HasPrefix(write, createHead) || conflicts == 0 {
				return nil
			}
			conflicts--
			return conflict
		}
		f.checkSync(nil, []string{createService, createHead, createHead, createHead, createWorker, updateStatus}, []string{
			"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
		})
	})
	t.Run("a conflict that persists is reported", func(t *testing.T) {
		f := newFixture(t)
		f.reject(conflict, createHead)
		if err := f.sync(); !apierrors.IsConflict(err) || isStale(err) {
			t.Errorf("sync returned %v, want the conflict", err)
		}
		if got, want := f.health(), "False FailedCreate: "; !strings.HasPrefix(got, want) {
			t.Errorf("Health is %q, want the prefix %q", got, want)
		}
	})
}
