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

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestScaleEvents has changes, and the events about them.
func TestScaleEvents(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fixture)
		want   []string
	}{
		{"the minimum is raised", changeRay(autoscale(4, 6)), scaled(3, 4, "minReplicas is 4")},
		{"the maximum is lowered", changeRay(autoscale(1, 2)), scaled(3, 2, "maxReplicas is 2")},
		{"more than the maximum is recommended", func(f *fixture) { f.recommend(workers(9)) }, scaled(3, 6, "8 tasks wait")},
		{"the maximum is lowered, and more is recommended", func(f *fixture) {
			f.recommend(workers(5))
			f.editRay(autoscale(0, 2))
		}, scaled(3, 2, "maxReplicas is 2")},
		{"the Ray is suspended", changeRay(setSuspend(true)), append([]string{headUpdated[:len(headUpdated)-len("template")] + "replicas"}, scaled(3, 0, suspendedBySpec)...)},
		{
			"another client scales the Deployment",
			changeWorker(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) }),
			reverted("deployment sample-cluster-worker", "replicas"),
		},
		{
			"another client scales the Deployment, and another number is recommended",
			func(f *fixture) {
				f.recommend(workers(2))
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
			},
			scaled(5, 2, "8 tasks wait"),
		},
		{
			"another client scales the Deployment to what is recommended",
			func(f *fixture) {
				f.recommend(workers(5))
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(5)) })
			},
			[]string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newAutoscaledFixture(t)
			test.change(f)
			f.deliver()
			if err := f.sync(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, f.takeEvents()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestContentionOfTarget has another client that scales the Deployment again and again. Other recommendations do
// not wait for it.
func TestContentionOfTarget(t *testing.T) {
	f := newAutoscaledFixture(t)
	for range maxReverts {
		f.setReplicas(5)
		f.checkSync(nil, []string{updateWorker}, reverted("deployment sample-cluster-worker", "replicas"))
	}
	f.setReplicas(5)
	f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{"Warning ExternalChanges " + contentionMessage})
	f.deliver()
	f.recommend(workers(2))
	f.checkSync(isOnlyBlocked, []string{updateWorker}, scaled(5, 2, "8 tasks wait"))
}
