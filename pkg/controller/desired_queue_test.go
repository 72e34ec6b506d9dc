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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const queueLabel = "kueue.x-k8s.io/queue-name"

// setQueue sets the queue of the workers in their template, beside a label that is not Kueue's.
func setQueue(ray *rayv1.Ray) {
	metav1.SetMetaDataLabel(&ray.Spec.Worker.Template.ObjectMeta, queueLabel, "team-a")
	metav1.SetMetaDataLabel(&ray.Spec.Worker.Template.ObjectMeta, "team", "a")
}

// renderQueue sets it in the Deployment, as the operator does.
func renderQueue(d *appsv1.Deployment) {
	metav1.SetMetaDataLabel(&d.ObjectMeta, queueLabel, "team-a")
	metav1.SetMetaDataLabel(&d.Spec.Template.ObjectMeta, queueLabel, "team-a")
	metav1.SetMetaDataLabel(&d.Spec.Template.ObjectMeta, "team", "a")
}

// TestQueueLabels changes the queue of the workers in their template. Kueue finds it in the Deployment, too.
func TestQueueLabels(t *testing.T) {
	const event = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: labels, template"
	queued := func(f *fixture) { f.editRay(setQueue); f.deliver() }
	runSyncTests(t, []syncTest{
		{
			name:         "a queue",
			change:       changeRay(setQueue),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{event},
			wantChildren: func(c *childSet) { renderQueue(c.Worker) },
		},
		{
			name:    "no queue again",
			prepare: queued,
			change: changeRay(func(ray *rayv1.Ray) {
				delete(ray.Spec.Worker.Template.Labels, queueLabel)
				delete(ray.Spec.Worker.Template.Labels, "team")
			}),
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{event},
			wantChildren: func(c *childSet) {
				delete(c.Worker.Labels, queueLabel)
				delete(c.Worker.Spec.Template.Labels, queueLabel)
				delete(c.Worker.Spec.Template.Labels, "team")
			},
		},
		{
			name: "no queue again, after another client has removed the record",
			prepare: func(f *fixture) {
				queued(f)
				f.converge()
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { delete(d.Annotations, rayv1.AnnotationLastApplied) })
				f.makeHealthy()
			},
			change: changeRay(func(ray *rayv1.Ray) {
				delete(ray.Spec.Worker.Template.Labels, queueLabel)
				delete(ray.Spec.Worker.Template.Labels, "team")
			}),
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{event},
			wantChildren: func(c *childSet) {
				delete(c.Worker.Labels, queueLabel)
				delete(c.Worker.Spec.Template.Labels, queueLabel)
				delete(c.Worker.Spec.Template.Labels, "team")
			},
		},
		{
			name:         "another client changes it",
			prepare:      queued,
			change:       changeWorker(func(d *appsv1.Deployment) { d.Labels[queueLabel] = "team-b" }),
			wantChildren: func(c *childSet) { c.Worker.Labels[queueLabel] = "team-b" },
		},
		{
			name: "a queue, and the replicas, while the workers wait for the head",
			change: func(f *fixture) {
				f.editDeploymentStatus(rayv1.RoleHead, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 0 })
				changeRay(func(ray *rayv1.Ray) { setQueue(ray); ray.Spec.Worker.Replicas = new(int32(1)) })(f)
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(1)) },
		},
		{
			name:         "a queue that was only in the template, as an earlier version of the operator left it",
			prepare:      func(f *fixture) { queued(f); f.converge() },
			change:       changeWorker(func(d *appsv1.Deployment) { delete(d.Labels, queueLabel) }),
			wantChildren: func(c *childSet) { delete(c.Worker.Labels, queueLabel) },
		},
		{
			name:    "another client sets a priority",
			prepare: queued,
			change: func(f *fixture) {
				changeWorker(func(d *appsv1.Deployment) { d.Labels["kueue.x-k8s.io/priority-class"] = "low" })(f)
				changeRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(1)) })(f)
			},
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) {
				c.Worker.Labels["kueue.x-k8s.io/priority-class"] = "low"
				c.Worker.Spec.Replicas = new(int32(1))
			},
		},
	})
}
