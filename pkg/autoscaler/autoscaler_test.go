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

package autoscaler

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

func TestDemandIsRecommended(t *testing.T) {
	f := newFixture(t)
	f.check(f.poll(), 1, "True DemandKnown")
	f.addTasks(10)
	r := f.poll()
	f.check(r, 3, "True DemandKnown")
	if r.UID != "uid-1" || r.Reasons["worker"] == "" {
		t.Errorf("recommendation for Ray %q with reason %q", r.UID, r.Reasons["worker"])
	}
	f.poll()
	if f.changes != 2 {
		t.Errorf("%d new recommendations, want 2: an equal one is none", f.changes)
	}
	f.addTasks(1000)
	r = f.poll()
	f.check(r, 10, "True DemandKnown")
	if limited := r.Conditions[1]; limited.Type != rayv1.RayScalingLimited || limited.Status != corev1.ConditionTrue || limited.Message != `group "worker" at maxReplicas is needed for {"CPU": 1}` {
		t.Errorf("ScalingLimited is %v", limited)
	}
	f.update(func(s *gcs.ClusterState) { s.Tasks[0].Request.Resources = gcs.Resources{"GPU": 8} })
	if infeasible := f.poll().Conditions[2]; infeasible.Status != corev1.ConditionTrue || !strings.Contains(infeasible.Message, "GPU") {
		t.Errorf("InfeasibleDemand is %v", infeasible)
	}
	if got := f.gcs.Violations(); len(got) > 0 {
		t.Error(got)
	}
}

// reject rejects requests as the API server does without permission.
func (f *fixture) reject(verb, resource string) {
	f.kubeClient.PrependReactor(verb, resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "", errors.New("no permission"))
	})
}

// TestTargetIsNotRecommended checks that only a change of the target is recommended: after a restart of the operator, the
// cache that has the target may be stale.
func TestTargetIsNotRecommended(t *testing.T) {
	f := newFixture(t)
	check := func(what string, want map[string]int32) {
		t.Helper()
		if got := f.poll().Replicas; !maps.Equal(got, want) {
			t.Errorf("%s: %v is recommended, want %v", what, got, want)
		}
	}
	check("no demand", nil)
	f.addTasks(10)
	check("demand", map[string]int32{"worker": 3})
	check("the Deployment is not written yet", map[string]int32{"worker": 3})
	*f.worker.Spec.Replicas = 3
	check("the Deployment is written", nil)
}

func TestNumberIsHeldWithoutGCS(t *testing.T) {
	f := newFixture(t)
	f.addTasks(10)
	f.check(f.poll(), 3, "True DemandKnown")
	f.gcs.Misbehave(gcstest.Fail(14, "down"))
	for range minFailures - 1 {
		f.check(f.poll(), 3, "True DemandKnown")
	}
	r := f.poll()
	f.check(r, 3, "False GCSUnreachable")
	for _, condition := range r.Conditions[1:] {
		if condition.Status != corev1.ConditionUnknown {
			t.Errorf("%s is %s, but the demand is unknown", condition.Type, condition.Status)
		}
	}
	f.head.Status.AvailableReplicas = 0
	f.check(f.poll(), 3, "False HeadUnavailable")
	f.gcs.Misbehave(nil)
	f.check(f.poll(), 3, "True DemandKnown")
}

// TestHeadThatNeedsWorkers has a head that becomes ready only with workers. Its Service leads to it before.
func TestHeadThatNeedsWorkers(t *testing.T) {
	f := newFixture(t)
	f.head.Status.ReadyReplicas, f.head.Status.AvailableReplicas = 0, 0
	f.ray.Spec.HeadService = &rayv1.HeadServiceSpec{PublishNotReadyAddresses: new(true)}
	f.addTasks(10)
	f.check(f.poll(), 3, "True DemandKnown")
}

// TestRestartWithoutHead has an operator that starts while the head is away, and a status from before.
func TestRestartWithoutHead(t *testing.T) {
	f := newFixture(t)
	f.head.Status.ReadyReplicas, f.head.Status.AvailableReplicas = 0, 0
	if r := f.poll(); r != nil {
		t.Errorf("a Ray with a head that starts has the recommendation %v", r)
	}
	f.ray = f.ray.DeepCopy()
	f.ray.Status.Conditions = []rayv1.RayCondition{{Type: rayv1.RayScalingActive, Status: corev1.ConditionTrue}}
	f.check(f.poll(), 1, "False HeadUnavailable")
}

// TestPollInterval checks when a Ray is polled next, and that failures and panics do not end the polls.
func TestPollInterval(t *testing.T) {
	f := newFixture(t, pod("a", ""))
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := f.pollSafely(t.Context(), rayKey); got.Round(10*time.Millisecond) != want {
			t.Errorf("%s: next poll after %v, want %v", what, got, want)
		}
	}
	check("the head works", pollInterval)
	f.gcs.Misbehave(gcstest.Fail(14, "down"))
	for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, maxFailureInterval, maxFailureInterval} {
		check("the GCS fails", want)
	}
	f.head.Status.AvailableReplicas = 0
	check("the head is not available", maxStartInterval)
	calls := f.gcs.Calls()["GetClusterResourceState"]
	f.head.Status.ReadyReplicas = 0
	check("the head is not ready", pollInterval)
	if f.gcs.Calls()["GetClusterResourceState"] > calls {
		t.Error("the GCS of a head that is not ready was asked")
	}
	f.head.Status.ReadyReplicas = 1
	check("the head is ready", 2*time.Second)
	f.service = nil
	check("there is no Service", maxStartInterval)
	f.reader = nil
	check("panic", maxFailureInterval)
}

// TestRetriesAreLimited has as many Rays that do not answer as may be polled at the same time.
func TestRetriesAreLimited(t *testing.T) {
	f := newFixture(t)
	f.poll()
	f.gcs.Misbehave(gcstest.Fail(14, "down"))
	f.poll()
	for range maxRetries {
		f.retries <- struct{}{}
	}
	calls := f.gcs.Calls()["GetClusterResourceState"]
	if after := f.pollSafely(t.Context(), rayKey); after != pollInterval || f.gcs.Calls()["GetClusterResourceState"] > calls {
		t.Errorf("the GCS was asked, or will be asked after %s, want %s", after, pollInterval)
	}
	<-f.retries
	f.gcs.Misbehave(nil)
	f.addTasks(10)
	f.check(f.poll(), 3, "True DemandKnown")
	if got := len(f.retries); got != maxRetries-1 {
		t.Errorf("%d retries are running after one has ended, want %d", got, maxRetries-1)
	}
	<-f.retries
	<-f.retries
	f.addTasks(30)
	f.check(f.poll(), 8, "True DemandKnown") // no retry
}

// TestUnscalableRays has Rays that cannot be scaled until they, or what they refer to, change.
func TestUnscalableRays(t *testing.T) {
	container := func(f *fixture) *corev1.Container { return &f.ray.Spec.Head.Template.Spec.Containers[0] }
	tests := []struct {
		name    string
		prepare func(f *fixture)
		reason  string
		message string
	}{
		{"TLS", func(f *fixture) { container(f).Env = []corev1.EnvVar{{Name: "RAY_USE_TLS", Value: "1"}} }, reasonTLS, "RAY_USE_TLS=1"},
		{"a command without the settings", func(f *fixture) { container(f).Command = []string{"ray", "start", "--head"} }, reasonHeadSettings, "the head lacks RAY_enable_autoscaler_v2=1 and --no-monitor"},
		{"a command without the port", func(f *fixture) {
			container(f).Command, container(f).Ports = []string{"/start.sh"}, []corev1.ContainerPort{{ContainerPort: 1}}
			container(f).Env = []corev1.EnvVar{{Name: "RAY_enable_autoscaler_v2", Value: "1"}}
		}, reasonHeadSettings, "port 6379"},
		{"a Service without an address", func(f *fixture) { f.service.Spec.ClusterIP = corev1.ClusterIPNone }, reasonHeadUnavailable, "no address"},
		{"an API server that does not return the Secret", func(f *fixture) {
			f.ray.Spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: "token", Key: "token"}}
			f.kubeClient.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewServiceUnavailable("away")
			})
			for range minFailures - 1 {
				f.poll()
			}
		}, reasonToken, "the API server does not return the Secret"},
		{"an old version of Ray", func(f *fixture) { f.gcs.Unimplement("GetClusterResourceState") }, reasonUnsupported, "use Ray 2.10"},
		{"a command and no CPU limit of the workers", func(f *fixture) {
			f.ray.Spec.Worker.Start = nil
			f.ray.Spec.Worker.Template.Spec.Containers[0].Command = []string{"/start.sh"}
		}, reasonUnknownResources, `of group "worker"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			test.prepare(f)
			r := f.poll()
			if active := r.Conditions[0]; active.Status != corev1.ConditionFalse || active.Reason != test.reason || !strings.Contains(active.Message, test.message) {
				t.Errorf("ScalingActive is %v, want False, %s and %q", active, test.reason, test.message)
			}
		})
	}
}

// TestLifeOfRay checks that nothing that was known of a Ray outlives it, or its suspension.
func TestLifeOfRay(t *testing.T) {
	f := newFixture(t)
	f.addTasks(10)
	f.check(f.poll(), 3, "True DemandKnown")

	f.ray = f.ray.DeepCopy()
	f.ray.Spec.Suspend = new(true)
	if r := f.Recommend(f.ray); r != nil {
		t.Errorf("a suspended Ray has the recommendation %v", r)
	}
	if after := f.pollSafely(t.Context(), rayKey); after != 0 {
		t.Error("a suspended Ray is polled")
	}
	f.ray = f.ray.DeepCopy()
	f.ray.Spec.Suspend, f.ray.Generation = nil, 2
	if r := f.Recommend(f.ray); r != nil {
		t.Errorf("a Ray that resumes has the old recommendation %v", r)
	}
	f.check(f.poll(), 3, "True DemandKnown")

	f.ray = f.ray.DeepCopy()
	f.ray.UID = "uid-2"
	if r := f.Recommend(f.ray); r != nil {
		t.Errorf("another Ray has the recommendation %v", r)
	}
	if r := f.poll(); r != nil {
		t.Errorf("the Service and the Deployments of an earlier Ray lead to the recommendation %v", r)
	}
	service := f.service.OwnerReferences
	f.setOwner("uid-2")
	f.service.OwnerReferences = service
	if r := f.poll(); r == nil || len(r.Replicas) > 0 {
		t.Errorf("the Service of an earlier Ray leads to the recommendation %v", r)
	}
	f.setOwner("uid-2")
	f.check(f.poll(), 3, "True DemandKnown")
	for name, change := range map[string]func(){
		"without autoscaling": func() { f.ray.Spec.Worker.Autoscaling = nil },
		"being deleted":       func() { f.ray.DeletionTimestamp = new(metav1.Now()) },
		"that does not exist": func() { f.ray = nil },
	} {
		before := f.ray
		f.ray = f.ray.DeepCopy()
		f.Recommend(f.ray)
		change()
		if after := f.pollSafely(t.Context(), rayKey); after != 0 || len(f.rays) > 0 {
			t.Errorf("a Ray %s is polled", name)
		}
		f.ray = before
	}
}

// TestTarget has Deployments of a group that nothing has been recommended for, and no demand.
func TestTarget(t *testing.T) {
	for _, test := range []struct {
		name    string
		running int32
		record  string
		want    int32
	}{
		{"the operator has restarted", 4, `{"replicas":4}`, 4},
		{"the operator has restarted, and no node is needed", 0, `{"replicas":0}`, 0},
		{"another client has scaled", 9, `{"replicas":4}`, 4},
		{"autoscaling is new", 4, `{}`, 4},
		{"the record is not valid", 4, `{`, 4},
		{"the Ray has just resumed", 0, `{}`, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.ray.Spec.Worker.Replicas = new(int32(2)) // at creation
			f.worker.Spec.Replicas = &test.running
			metav1.SetMetaDataAnnotation(&f.worker.ObjectMeta, rayv1.AnnotationLastApplied, test.record)
			f.check(f.poll(), test.want, "True DemandKnown")
		})
	}
}

// TestSlowPoll checks that a Ray with slow polls does not occupy a worker.
func TestSlowPoll(t *testing.T) {
	f := newFixture(t, ready("a"))
	f.addIdleNode("a", time.Hour)
	f.poll()
	f.kubeClient.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		f.clock.Step(2 * time.Second)
		return false, nil, nil
	})
	if after := f.pollSafely(t.Context(), rayKey); after != pauseFactor*2*time.Second {
		t.Errorf("next poll after %v, want %v", after, pauseFactor*2*time.Second)
	}
}

// TestRemovedGroup checks that nothing is remembered of a group that is removed.
func TestRemovedGroup(t *testing.T) {
	f := newFixture(t)
	f.addTasks(10)
	f.poll()
	f.ray = f.ray.DeepCopy()
	f.ray.Spec.WorkerGroups = []rayv1.WorkerGroup{{Name: "other", WorkerSpec: *f.ray.Spec.Worker}}
	f.ray.Spec.Worker = nil
	r := f.poll()
	if len(r.Reasons) != 1 || len(r.Replicas) != 1 || len(f.rays[rayKey].pendingSince) != 1 {
		t.Errorf("recommendation %+v, nodes pending since %v, want the group %q only", r, f.rays[rayKey].pendingSince, "other")
	}
}

// TestRun checks that Run polls again and again, and ends with its context.
func TestRun(t *testing.T) {
	f := newFixture(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		f.Run(ctx, 2)
		close(done)
	}()
	deadline := time.Now().Add(20 * time.Second)
	for f.gcs.Calls()["GetClusterResourceState"] < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("%v after 20 s", f.gcs.Calls())
		}
		f.clock.Step(100 * time.Millisecond)
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	<-done
}
