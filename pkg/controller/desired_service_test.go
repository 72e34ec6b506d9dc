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
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// updated are the events of an update of the Service that the user asked for.
func updated(parts string) []string {
	return []string{"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: " + parts}
}

// exposed has settings of the Service, and some that clients and the API server add to such a Service.
func exposed(ray *rayv1.Ray) {
	ray.Spec.HeadService = &rayv1.HeadServiceSpec{
		Type:        new(corev1.ServiceTypeNodePort),
		Annotations: map[string]string{"example.com/a": "1"},
		Labels:      map[string]string{"team": "a"},
	}
}

// expose prepares a Ray with an exposed Service.
func expose(f *fixture) {
	f.editRay(exposed)
	f.deliver()
}

// TestHeadServiceChanges changes the settings of the Service, as its user.
func TestHeadServiceChanges(t *testing.T) {
	headPorts := func(change func(*corev1.Container)) func(*fixture) {
		return func(f *fixture) {
			f.editService(func(s *corev1.Service) {
				s.Spec.Ports[0].NodePort, s.Spec.Ports[1].NodePort = 30001, 30002
				s.Spec.Ports[0].AppProtocol, s.Spec.Ports[1].AppProtocol = new("redis"), new("redis")
			})
			f.editRay(func(ray *rayv1.Ray) { change(&ray.Spec.Head.Template.Spec.Containers[0]) })
		}
	}
	runSyncTests(t, []syncTest{
		{
			name:       "type, annotations and labels are set, and those of other clients remain",
			change:     func(f *fixture) { f.editService(addMetadata); f.editRay(exposed) },
			wantWrites: []string{updateService, updateStatus},
			wantEvents: updated("labels, annotations, type"),
			wantChildren: func(c *childSet) {
				c.Service.Spec.Type = corev1.ServiceTypeNodePort
				maps.Copy(c.Service.Labels, map[string]string{"team": "a", "other": "1"})
				c.Service.Annotations = map[string]string{"example.com/a": "1", "other": "1"}
			},
		},
		{
			name:    "settings that the user removes are removed, and those of other clients remain",
			prepare: expose,
			change: func(f *fixture) {
				f.editService(addMetadata)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.HeadService = nil })
			},
			wantWrites: []string{updateService, updateStatus},
			wantEvents: updated("labels, annotations, type"),
			wantChildren: func(c *childSet) {
				c.Service.Spec.Type = corev1.ServiceTypeClusterIP
				delete(c.Service.Labels, "team")
				c.Service.Labels["other"] = "1"
				c.Service.Annotations = map[string]string{"other": "1"}
			},
		},
		{
			name:       "an annotation that the user sets to another value",
			prepare:    expose,
			change:     changeRay(func(ray *rayv1.Ray) { ray.Spec.HeadService.Annotations["example.com/a"] = "2" }),
			wantWrites: []string{updateService, updateStatus},
			wantEvents: updated("annotations"),
			wantChildren: func(c *childSet) {
				c.Service.Annotations = map[string]string{"example.com/a": "2"}
			},
		},
		{
			name:    "the other ports keep what other clients set when one is removed",
			prepare: expose,
			change:  headPorts(func(head *corev1.Container) { head.Ports = slices.Delete(head.Ports, 1, 2) }),
			// The template changes, too.
			wantWrites: []string{updateHead, updateService, updateStatus},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports",
			},
			wantChildren: func(c *childSet) {
				container(c.Head).Ports = slices.Delete(container(c.Head).Ports, 1, 2)
				c.Service.Spec.Ports = slices.Delete(c.Service.Spec.Ports, 1, 2)
				c.Service.Spec.Ports[0].NodePort, c.Service.Spec.Ports[0].AppProtocol = 30001, new("redis")
			},
		},
	})
}

// addMetadata adds an annotation and a label of another client.
func addMetadata(service *corev1.Service) {
	service.Annotations["other"], service.Labels["other"] = "1", "1"
}

// TestHeadServiceChangesAreReverted has external changes to what the user sets on the Service.
func TestHeadServiceChangesAreReverted(t *testing.T) {
	for _, test := range []struct {
		name, part string
		change     func(*corev1.Service)
	}{
		{"a removed annotation", "annotations", func(s *corev1.Service) { delete(s.Annotations, "example.com/a") }},
		{"a changed annotation", "annotations", func(s *corev1.Service) { s.Annotations["example.com/a"] = "2" }},
		{"a removed label", "labels", func(s *corev1.Service) { delete(s.Labels, "team") }},
		{"another type", "type", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer }},
	} {
		runSyncTests(t, []syncTest{{
			name: test.name, prepare: expose, change: changeService(test.change),
			wantWrites: []string{updateService},
			wantEvents: reverted("service sample-cluster-head", test.part),
		}})
	}
}

// TestDualStackIsKept checks that the operator does not change the IP families of a Service, which depend on the
// cluster.
func TestDualStackIsKept(t *testing.T) {
	dualStack := func(s *corev1.Service) { s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack) }
	runSyncTests(t, []syncTest{{
		name:         "when a label is reverted",
		change:       changeService(func(s *corev1.Service) { dualStack(s); delete(s.Labels, "app.kubernetes.io/name") }),
		wantWrites:   []string{updateService},
		wantEvents:   reverted("service sample-cluster-head", "labels"),
		wantChildren: func(c *childSet) { dualStack(c.Service) },
	}})
}
