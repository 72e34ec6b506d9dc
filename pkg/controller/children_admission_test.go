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
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The functions below are mutating admission. They apply to all writes, including the operator's.

// mirrorImages replaces images by those of a mirror.
func mirrorImages(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		if image := &container(d).Image; !strings.HasPrefix(*image, "mirror/") {
			*image = "mirror/" + *image
		}
	}
}

// limitReplicas limits the replicas to 2.
func limitReplicas(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		d.Spec.Replicas = new(min(*d.Spec.Replicas, 2))
	}
}

// removeArgs removes arguments of a container, and a label of the Pods.
func removeArgs(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		container(d).Args = nil
		delete(d.Spec.Template.Labels, "app.kubernetes.io/name")
	}
}

// setLabel sets a label of children that the operator sets to another value.
func setLabel(o object) {
	if _, ok := o.(*rayv1.Ray); !ok {
		o.GetLabels()["app.kubernetes.io/instance"] = "admission"
	}
}

// setServiceType sets the type of Services.
func setServiceType(o object) {
	if s, ok := o.(*corev1.Service); ok {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
}

// setStrategy sets the strategy of Deployments.
func setStrategy(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType}
		setDefaults(d)
	}
}

// setMinReadySeconds sets minReadySeconds of Deployments.
func setMinReadySeconds(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		d.Spec.MinReadySeconds = 30
	}
}

func admit(change func(object)) func(*fixture) {
	return func(f *fixture) { f.server.admit = change }
}

// TestAdmissionChangesTemplates has admission that changes Pod templates. The operator accepts its values:
// it writes only if the user or another client changes something.
func TestAdmissionChangesTemplates(t *testing.T) {
	const updated = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: "
	runSyncTests(t, []syncTest{
		{
			name:       "changed images are accepted",
			prepare:    admit(mirrorImages),
			wantHealth: healthy,
		},
		{
			name:       "removed arguments and labels of Pods are accepted",
			prepare:    admit(removeArgs),
			wantHealth: healthy,
		},
		{
			name:         "scaling does not change images that admission set",
			prepare:      admit(mirrorImages),
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{updated + "replicas"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
		{
			name:         "a new image is changed and accepted",
			prepare:      admit(mirrorImages),
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" }),
			wantWrites:   []string{updateWorker, updateWorker, updateStatus},
			wantEvents:   []string{updated + "template"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "mirror/new" },
		},
		{
			name:       "replicas that another client changed are reverted, and the template stays as it was stored",
			prepare:    admit(mirrorImages),
			change:     changeWorker(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) }),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "replicas"),
		},
	})
}

// TestAdmissionLimitsReplicas has admission allow fewer replicas than the Ray has, which the status shows.
func TestAdmissionLimitsReplicas(t *testing.T) {
	f := newFixture(t)
	f.server.admit = limitReplicas
	f.rollOutWithAdmission()
	f.checkHealth("False RolloutIncomplete: worker: 2 of 3 available")
	f.checkSteadyState(nil)
	f.restart()
	f.checkSteadyState(nil)

	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.deliver()
	// The second write records the override. No event says that the replicas changed: they did not.
	f.checkSync(nil, []string{updateWorker, updateWorker, updateStatus}, nil)
	f.checkSteadyState(nil)
}

// rollOutWithAdmission is makeHealthy for a Ray that may not become healthy.
func (f *fixture) rollOutWithAdmission() {
	f.t.Helper()
	f.converge()
	f.rollOut()
	f.converge()
	f.takeWrites()
	f.takeEvents()
}

// TestAdmissionOverride has admission that changes an update back. The same update must not be sent again,
// not even by another process, and updates of other fields must succeed.
func TestAdmissionOverride(t *testing.T) {
	for _, test := range []struct {
		name  string
		admit func(object)
		// wantHead and wantWorker are the writes of the Deployments. A second one records the template as
		// it was stored, or that admission changed the strategy back.
		wantHead, wantWorker []string
		// wantEvent is the event for the update of the workers.
		wantEvent string
	}{
		{"a label", setLabel, []string{updateHead}, []string{updateWorker}, workerReplaced},
		{"a label, and images are changed", func(o object) { setLabel(o); mirrorImages(o) }, []string{updateHead, updateHead}, []string{updateWorker, updateWorker}, workerReplaced},
		{"the type of the Service", setServiceType, []string{updateHead}, []string{updateWorker}, workerReplaced},
		{"the strategy of Deployments", setStrategy, []string{updateHead}, []string{updateWorker, updateWorker}, workerUpdated},
		{"minReadySeconds of Deployments", setMinReadySeconds, []string{updateHead}, []string{updateWorker}, workerReplaced},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.server.admit = test.admit
			f.converge()
			for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
				d := f.deployment(role)
				if recorded := readLastApplied(d); recorded.Generation != d.Generation {
					t.Errorf("the recorded generation of the %s is %d, want %d", role, recorded.Generation, d.Generation)
				}
			}
			f.rollOutWithAdmission()
			f.checkSteadyState(nil)
			f.restart()
			f.takeWrites()
			f.checkSync(nil, nil, nil)
			f.checkSteadyState(nil)

			f.editRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Ports[1].ContainerPort = 7777
				ray.Spec.Worker.Template.Spec.Containers[0].Image = "new"
			})
			f.deliver()
			f.checkSync(nil, slices.Concat([]string{dryRunWorker}, test.wantHead, []string{updateService, updateStatus}), []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports",
			})
			f.checkSteadyState(nil)
			f.rollOut()
			f.deliver()
			f.checkSync(nil, slices.Concat(test.wantWorker, []string{updateStatus}), []string{test.wantEvent})
			if got := container(f.deployment(rayv1.RoleWorker)).Image; strings.TrimPrefix(got, "mirror/") != "new" {
				t.Errorf("the image of the workers is %q, want that of the user", got)
			}
			if got := f.service().Spec.Ports[1].Port; got != 7777 {
				t.Errorf("the port of the Service is %d, want that of the user", got)
			}
			f.checkSteadyState(nil)
		})
	}
}

// TestAdmissionSetsNewValues has admission that overrides a label, and sets another label to a new value at
// each write.
func TestAdmissionSetsNewValues(t *testing.T) {
	f := newFixture(t)
	writes := 0
	f.server.admit = func(o object) {
		setLabel(o)
		if d, ok := o.(*appsv1.Deployment); ok {
			writes++
			d.Labels["written"] = strconv.Itoa(writes)
		}
	}
	f.rollOutWithAdmission()
	f.checkSteadyState(nil)
}

// TestAdmissionAndAdoption adopts children of which admission has changed a part.
func TestAdmissionAndAdoption(t *testing.T) {
	for name, admission := range map[string]func(object){
		"replicas": limitReplicas, "minReadySeconds": setMinReadySeconds, "strategy": setStrategy, "a label": setLabel, "the type of the Service": setServiceType,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.server.admit = admission
			f.rollOutWithAdmission()
			f.editBoth(func(d *appsv1.Deployment) { d.OwnerReferences = nil })
			f.editService(func(s *corev1.Service) { s.OwnerReferences = nil })
			f.converge()
			for _, child := range []metav1.Object{f.deployment(rayv1.RoleHead), f.deployment(rayv1.RoleWorker), f.service()} {
				if !isControlledBy(child, f.ray()) {
					t.Errorf("%T %s is not adopted, and Health is %q", child, child.GetName(), f.health())
				}
			}
			f.takeEvents()
			f.checkSteadyState(nil)
		})
	}
}

// TestOrphanedHeadWithContention changes a head again and again, and then removes its owner, while the workers wait for
// it.
func TestOrphanedHeadWithContention(t *testing.T) {
	f := newFixture(t)
	f.server.admit = setMinReadySeconds
	f.rollOutWithAdmission()
	for range 5 {
		f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
		f.converge()
		f.clock.Step(2 * time.Second)
		f.converge()
	}
	f.editDeployment(rayv1.RoleHead, func(d *appsv1.Deployment) { d.OwnerReferences = nil })
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
	f.converge()
	if !isControlledBy(f.deployment(rayv1.RoleHead), f.ray()) {
		t.Error("the head is not adopted")
	}
}
