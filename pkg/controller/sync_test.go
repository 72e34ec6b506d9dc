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

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestFirstSync(t *testing.T) {
	f := newFixture(t)
	f.checkSync(nil,
		[]string{createService, createHead, createWorker, updateStatus},
		[]string{
			"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
		})
	f.checkHealth("Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet")
	f.checkSteadyState(nil)
	f.restart()
	f.checkSteadyState(nil)
}

func TestRayWithoutWorkers(t *testing.T) {
	f := newFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	f.deliver()
	f.checkSync(nil,
		[]string{createService, createHead, updateStatus},
		[]string{
			"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
		})
	f.rollOut()
	f.converge()
	f.checkHealth(healthy)
}

func TestSpecChanges(t *testing.T) {
	const (
		headUnobserved   = "False RolloutIncomplete: head: the Deployment's newest generation has not been observed yet"
		workerUnobserved = "False RolloutIncomplete: worker: the Deployment's newest generation has not been observed yet"
		bothUnobserved   = headUnobserved + "; worker: the Deployment's newest generation has not been observed yet"
	)
	runSyncTests(t, []syncTest{
		{
			name:       "an unchanged Ray causes no writes",
			wantHealth: healthy,
		},
		{
			name:         "scaling the workers changes only their replicas",
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
			wantHealth:   workerUnobserved,
		},
		{
			name: "scaling to 0 keeps the Deployments",
			change: changeRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Replicas, ray.Spec.Worker.Replicas = new(int32(0)), new(int32(0))
			}),
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: replicas",
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas",
			},
			wantChildren: func(c *childSet) { c.Head.Spec.Replicas, c.Worker.Spec.Replicas = new(int32(0)), new(int32(0)) },
			wantHealth:   "False Suspended: suspended, since spec.head.replicas is 0; " + strings.TrimPrefix(bothUnobserved, "False RolloutIncomplete: "),
		},
		{
			name:         "a new image of the workers does not change the head",
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
			wantHealth:   workerUnobserved,
		},
		{
			name:         "a field that is removed from a template is removed from the Deployment",
			prepare:      changeRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.NodeSelector = map[string]string{"gpu": "yes"} }),
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.NodeSelector = nil }),
			wantWrites:   []string{updateHead, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template"},
			wantChildren: func(c *childSet) { c.Head.Spec.Template.Spec.NodeSelector = nil },
			wantHealth:   headUnobserved,
		},
		{
			name: "a new port of the head is set in its Deployment before the Service",
			change: changeRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 6379}}
			}),
			wantWrites: []string{updateHead, updateService, updateStatus},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports",
			},
			wantChildren: func(c *childSet) {
				c.Service.Spec.Ports = []corev1.ServicePort{{Name: "gcs", Port: 6379, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(6379)}}
				container(c.Head).Ports = []corev1.ContainerPort{{ContainerPort: 6379, Protocol: corev1.ProtocolTCP}}
			},
			wantHealth: headUnobserved,
		},
		{
			name:         "the Deployment of workers that are removed from the spec is deleted",
			change:       changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil }),
			wantWrites:   []string{deleteWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"},
			wantChildren: func(c *childSet) { c.Worker = nil },
			wantHealth:   healthy,
		},
		{
			name:       "a label of the Ray causes no writes",
			change:     changeRay(func(ray *rayv1.Ray) { ray.Labels = map[string]string{"team": "a"} }),
			wantHealth: healthy,
		},
		{
			name: "a status that another client emptied is written again",
			change: func(f *fixture) {
				edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status = rayv1.RayStatus{} })
			},
			wantWrites: []string{updateStatus},
			wantHealth: healthy,
		},
		{
			name: "a Deployment that loses a Pod makes the Ray unhealthy",
			change: func(f *fixture) {
				f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 })
			},
			wantWrites: []string{updateStatus},
			wantHealth: "False RolloutIncomplete: worker: 1 of 3 available",
		},
	})
}

func TestDeletedRay(t *testing.T) {
	t.Run("a Ray that no longer exists causes no writes and leaves nothing in memory", func(t *testing.T) {
		f := newFixture(t)
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.setWorkers(0, 0)
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.takeWrites()
		f.takeEvents()
		r := &f.controller.reconciler
		if len(r.statusWriter.records) == 0 || len(r.memory.rays) == 0 || len(r.causes.rays) == 0 {
			t.Fatal("nothing was recorded about the Ray")
		}
		f.drop(rayResource, rayName)
		f.deliver(rayResource)
		f.checkSync(nil, nil, nil)
		if len(r.statusWriter.records)+len(r.memory.rays)+len(r.causes.rays) > 0 {
			t.Errorf("there are still %d status records, %d Rays in memory, and %d with causes", len(r.statusWriter.records), len(r.memory.rays), len(r.causes.rays))
		}
	})
}

// TestTerminatingNamespace checks that rejections by a namespace that is being deleted are not reported:
// the Ray is deleted with it.
func TestTerminatingNamespace(t *testing.T) {
	terminating := overQuota()
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}

	f := newFixture(t)
	f.reject(terminating, "create ")
	f.checkSync(nil, []string{createService, createHead}, nil)

	f = newHealthyFixture(t)
	f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
	f.deliver()
	f.reject(terminating, "create ")
	f.checkSync(nil, []string{createWorker}, nil)
	f.checkHealth(healthy)
}
