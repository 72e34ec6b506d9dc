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
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestRejectedWrites rejects one write at a time. The other children, unless they wait for the rejected
// one, and the status must still be written, the problem is reported once, and the Ray becomes healthy when the write is accepted.
func TestRejectedWrites(t *testing.T) {
	scaleAndUpdate := func(f *fixture) {
		f.makeHealthy()
		f.editRay(func(ray *rayv1.Ray) {
			ray.Spec.Head.Template.Spec.Containers[0].Ports = nil
			ray.Spec.Worker.Replicas = new(int32(5))
		})
	}
	tests := []struct {
		name       string
		before     func(*fixture)
		rejected   string
		wantWrites []string
		wantEvent  string
	}{
		{
			name:       "a Service that cannot be created does not block the Deployments",
			rejected:   createService,
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  `FailedCreate Service "sample-cluster-head" could not be created: ` + overQuotaMessage,
		},
		{
			name:       "a head that cannot be created keeps the workers from being created",
			rejected:   createHead,
			wantWrites: []string{createService, createHead, updateStatus},
			wantEvent:  `FailedCreate Deployment "sample-cluster-head" could not be created: ` + overQuotaMessage,
		},
		{
			name:       "workers that cannot be created do not block the head",
			rejected:   createWorker,
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  `FailedCreate Deployment "sample-cluster-worker" could not be created: ` + overQuotaMessage,
		},
		{
			name:       "the Service keeps its ports if the head cannot be updated",
			before:     scaleAndUpdate,
			rejected:   updateHead,
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvent:  `FailedUpdate Deployment "sample-cluster-head" could not be updated: ` + overQuotaMessage,
		},
		{
			name: "the selector of the Service is reverted even if the head cannot be updated",
			before: func(f *fixture) {
				scaleAndUpdate(f)
				f.editService(func(s *corev1.Service) { s.Spec.Selector[rayv1.LabelRole] = "worker" })
			},
			rejected:   updateHead,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  `FailedUpdate Deployment "sample-cluster-head" could not be updated: ` + overQuotaMessage,
		},
		{
			name:       "workers that cannot be updated block neither the head nor the Service",
			before:     scaleAndUpdate,
			rejected:   updateWorker,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  `FailedUpdate Deployment "sample-cluster-worker" could not be updated: ` + overQuotaMessage,
		},
		{
			name:       "a Service that cannot be updated does not block the Deployments",
			before:     scaleAndUpdate,
			rejected:   updateService,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  `FailedUpdate Service "sample-cluster-head" could not be updated: ` + overQuotaMessage,
		},
		{
			name: "workers that cannot be deleted are reported",
			before: func(f *fixture) {
				f.makeHealthy()
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			rejected:   deleteWorker,
			wantWrites: []string{deleteWorker, updateStatus},
			wantEvent:  `FailedDelete Deployment "sample-cluster-worker" could not be deleted: ` + overQuotaMessage,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.before != nil {
				test.before(f)
			}
			f.deliver()
			ports := f.servicePorts()
			f.reject(overQuota(), test.rejected)
			f.checkRejected(test.wantWrites, test.wantEvent)
			if test.rejected == updateHead && !cmp.Equal(ports, f.servicePorts()) {
				t.Errorf("the ports of the Service changed from %v to %v", ports, f.servicePorts())
			}
			f.checkSteadyState(apierrors.IsForbidden)
			f.checkRestart(apierrors.IsForbidden)

			f.server.reject = nil
			f.makeHealthy()
		})
	}
}

func (f *fixture) servicePorts() []corev1.ServicePort {
	if service := f.service(); service != nil {
		return service.Spec.Ports
	}
	return nil
}

// checkRejected syncs while one write is rejected, and checks that the problem is the only one that is
// reported.
func (f *fixture) checkRejected(wantWrites []string, wantEvent string) {
	f.t.Helper()
	if err := f.sync(); !apierrors.IsForbidden(err) {
		f.t.Errorf("sync returned %v, want a forbidden write", err)
	}
	if diff := cmp.Diff(wantWrites, f.takeWrites()); diff != "" {
		f.t.Errorf("writes (-want +got):\n%s", diff)
	}
	var warnings []string
	for _, event := range f.takeEvents() {
		if warning, ok := strings.CutPrefix(event, "Warning "); ok {
			warnings = append(warnings, warning)
		}
	}
	if len(warnings) != 1 || warnings[0] != wantEvent {
		f.t.Errorf("warnings %q, want %q", warnings, wantEvent)
	}
	reason, message, _ := strings.Cut(wantEvent, " ")
	if health := f.health(); !strings.HasPrefix(health, "False "+reason+": ") || !strings.Contains(health, message) {
		f.t.Errorf("Health is %q, want the reason %s and the message %q", health, reason, message)
	}
}

// TestRejectedAndBlocked checks that a rejected write is retried with backoff even if another child is
// blocked.
func TestRejectedAndBlocked(t *testing.T) {
	t.Run("a child is rejected", func(t *testing.T) {
		f := newFixture(t)
		f.put(&corev1.Service{ObjectMeta: ownedBy(serviceKey, nil)})
		f.deliver()
		f.reject(overQuota(), createWorker)
		if err := f.sync(); !apierrors.IsForbidden(err) || isBlocked(err) {
			t.Errorf("sync returned %v, want only the rejection", err)
		}
		if got := f.health(); !strings.Contains(got, "already exists") || !strings.Contains(got, overQuotaMessage) {
			t.Errorf("Health is %q, want both problems", got)
		}
	})
	t.Run("the status is rejected", func(t *testing.T) {
		f := newFixture(t)
		f.put(&corev1.Service{ObjectMeta: ownedBy(serviceKey, nil)})
		f.deliver()
		f.reject(overQuota(), updateStatus)
		if err := f.sync(); !apierrors.IsForbidden(err) || isBlocked(err) {
			t.Errorf("sync returned %v, want only the rejection", err)
		}
	})
}
