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
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestEachProblemIsReported(t *testing.T) {
	f := newFixture(t)
	f.reject(overQuota(), "create ")
	f.checkSync(apierrors.IsForbidden, []string{createService, createHead, updateStatus}, []string{
		`Warning FailedCreate Service "sample-cluster-head" could not be created: ` + overQuotaMessage,
		`Warning FailedCreate Deployment "sample-cluster-head" could not be created: ` + overQuotaMessage,
	})
	f.checkSteadyState(apierrors.IsForbidden)
}

// TestProblemIsReportedAfterStatus has a problem with a status that cannot be written at first. The event
// is recorded when the status is stored.
func TestProblemIsReportedAfterStatus(t *testing.T) {
	f := newFixture(t)
	f.reject(overQuota(), createHead, updateStatus)
	f.checkSync(apierrors.IsForbidden, []string{createService, createHead, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
	})
	f.reject(overQuota(), createHead)
	f.deliver()
	f.checkSync(apierrors.IsForbidden, []string{createHead, updateStatus}, []string{
		`Warning FailedCreate Deployment "sample-cluster-head" could not be created: ` + overQuotaMessage,
	})
	f.checkSteadyState(apierrors.IsForbidden)
}

// TestProblemIsReportedAgain has a problem that ends and begins again, which is a new problem.
func TestProblemIsReportedAgain(t *testing.T) {
	f := newHealthyFixture(t)
	event := []string{`Warning FailedCreate Service "sample-cluster-head" could not be created: ` + overQuotaMessage}
	f.drop(serviceResource, serviceKey)
	f.deliver()
	f.reject(overQuota(), createService)
	f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus}, event)
	f.server.reject = nil
	f.makeHealthy()

	f.drop(serviceResource, serviceKey)
	f.deliver()
	f.reject(overQuota(), createService)
	f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus}, event)
	f.checkSteadyState(apierrors.IsForbidden)
}

// TestProblemRecursBeforeStatus has a problem that ends and begins again before a status without it is
// written. It is not a new problem.
func TestProblemRecursBeforeStatus(t *testing.T) {
	f := newProgressingFixture(t)
	f.drop(serviceResource, serviceKey)
	f.deliver()
	f.reject(overQuota(), createService)
	f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus},
		[]string{`Warning FailedCreate Service "sample-cluster-head" could not be created: ` + overQuotaMessage})
	f.deliver()
	f.server.reject = nil
	f.checkSync(nil, []string{createService}, []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"})
	f.drop(serviceResource, serviceKey)
	f.deliver()
	f.reject(overQuota(), createService)
	f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
}

// TestVaryingMessage has a rejection with a new message for each retry, such as the number of the request.
// It is the same problem: there is one event, and a new message is progress.
func TestVaryingMessage(t *testing.T) {
	f := newFixture(t)
	retries := 0
	f.server.reject = func(write string) *apierrors.StatusError {
		if !strings.HasPrefix(write, createService) {
			return nil
		}
		retries++
		return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "x", fmt.Errorf("request %d is denied", retries))
	}
	message := func(retry int) string {
		return fmt.Sprintf(`Service "sample-cluster-head" could not be created: services "x" is forbidden: request %d is denied`, retry)
	}
	f.checkRejected([]string{createService, createHead, createWorker, updateStatus}, "FailedCreate "+message(1))
	f.deliver()
	f.clock.Step(minStatusInterval - time.Second)
	f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
	f.clock.Step(minStatusInterval)
	f.checkSync(apierrors.IsForbidden, []string{createService, updateStatus}, nil)
	if got := f.health(); !strings.Contains(got, message(3)) {
		t.Errorf("Health is %q, want the message %q", got, message(3))
	}
}

// TestInvalidStatus has admission reject statuses as invalid. Problems are then reported in events only,
// and the status is sent again after rejectionInterval even if the Ray does not change.
func TestInvalidStatus(t *testing.T) {
	f := newHealthyFixture(t)
	invalid := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	f.reject(invalid, updateStatus)
	f.setAvailableWorkers(2)
	f.checkSync(nil, []string{updateStatus}, nil)

	f.editService(func(s *corev1.Service) { s.Spec.Selector = nil })
	f.deliver()
	f.server.reject = func(write string) *apierrors.StatusError {
		switch {
		case strings.HasPrefix(write, updateStatus):
			return invalid
		case strings.HasPrefix(write, updateService):
			return overQuota()
		default:
			return nil
		}
	}
	f.checkSync(apierrors.IsForbidden, []string{updateService}, []string{
		`Warning FailedUpdate Service "sample-cluster-head" could not be updated: ` + overQuotaMessage,
	})
	f.clock.Step(time.Minute)
	f.checkSync(apierrors.IsForbidden, []string{updateService}, nil)
	f.clock.Step(rejectionInterval)
	f.checkSync(apierrors.IsForbidden, []string{updateService, updateStatus}, nil)

	f.server.reject = nil
	f.queue.asked = nil
	f.checkSync(nil, []string{updateService}, reverted("service sample-cluster-head", "selector"))
	if diff := cmp.Diff([]string{"default/sample-cluster after 5m0s"}, f.queue.asked); diff != "" {
		t.Errorf("requeues (-want +got):\n%s", diff)
	}
	f.clock.Step(rejectionInterval)
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: worker: 2 of 3 available")
}

// TestPrunedStatus has a CustomResourceDefinition that is older than the operator and lacks a field of the
// status. The other fields must be current, and no status may be sent twice.
func TestPrunedStatus(t *testing.T) {
	f := newFixture(t)
	f.server.prune = func(status *rayv1.RayStatus) { status.Head.UpdatedReplicas = 0 }
	f.makeHealthy()
	f.checkHealth(healthy)
	f.checkSteadyState(nil)
	f.setAvailableWorkers(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)

	f.server.prune = nil
	f.setAvailableWorkers(1)
	f.clock.Step(time.Minute)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkSteadyState(nil)
	if got := f.ray().Status.Head.UpdatedReplicas; got != 1 {
		t.Errorf("with the newer schema, updatedReplicas is %d, want 1", got)
	}
}

// TestAlteredStatus has admission that replaces the message of a condition. The computed condition thus
// differs from the stored one in each sync, and so do its times. The status must not be sent twice.
func TestAlteredStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.prune = func(status *rayv1.RayStatus) {
		findCondition(status.Conditions, rayv1.RayHealth).Message = "admission"
	}
	f.setAvailableWorkers(2)
	f.checkSync(nil, []string{updateStatus}, nil)
	f.checkHealth("False RolloutIncomplete: admission")
	f.deliver()
	f.clock.Step(maxRetryDelay)
	f.checkSync(nil, nil, nil)
	f.clock.Step(maxRetryDelay)
	f.checkSteadyState(nil)
}
