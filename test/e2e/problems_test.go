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

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// observationTime is how long to observe that a problem is retried with backoff and reported once.
const observationTime = 15 * time.Second

// TestDeploymentQuota has a quota reject one of the Deployments. The other children are created, the
// status has the cause, and the Ray recovers once the quota is raised.
func TestDeploymentQuota(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.setQuota("count/deployments.apps", "1")
	u.kubectl("apply", "-f", cluster.Path(sampleManifest))

	started := time.Now()
	health := u.waitHealth("sample-cluster", corev1.ConditionFalse, `worker: Deployment "sample-cluster-worker" could not be created: `)
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("the status was written after %s, want at most 5s", took)
	}
	if health.Reason != "FailedCreate" || !strings.Contains(health.Message, "exceeded quota: only") {
		t.Errorf("Health has the reason %s and the message %q", health.Reason, health.Message)
	}
	u.waitEvent("sample-cluster", "Warning", "FailedCreate", "exceeded quota: only")
	u.eventually("the head exists", func() error { return wantCount(1, len(u.pods(rayv1.RoleHead))) })
	u.eventually("the head is available", func() error {
		if message := condition(u.ray("sample-cluster"), rayv1.RayHealth).Message; strings.Contains(message, "head") {
			return errors.New(message)
		}
		return nil
	})
	u.checkBackoff("the quota is exceeded")

	u.setQuota("count/deployments.apps", "2")
	u.waitHealthy("sample-cluster")
}

// TestPodQuota has a quota reject Pods. The ReplicaSet controller retries with new Pod names, which
// must not cause status updates.
func TestPodQuota(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.setQuota("pods", "2")
	u.kubectl("apply", "-f", cluster.Path(sampleManifest))

	u.waitHealth("sample-cluster", corev1.ConditionFalse, "exceeded quota: only")
	ray := u.ray("sample-cluster")
	failures := []rayv1.RayConditionType{rayv1.RayHeadDeploymentReplicaFailure, rayv1.RayWorkerDeploymentReplicaFailure}
	if condition(ray, failures[0]).Status != corev1.ConditionTrue && condition(ray, failures[1]).Status != corev1.ConditionTrue {
		t.Errorf("neither of %v is True: %v", failures, ray.Status.Conditions)
	}
	u.eventually("two Pods are available", func() error {
		status := u.ray("sample-cluster").Status
		return wantCount(2, int(status.Head.AvailableReplicas+status.Worker.AvailableReplicas))
	})
	u.waitSteady()
	u.checkBackoff("the quota is exceeded")

	u.setQuota("pods", "10")
	// The ReplicaSet controller backs off. A change makes it retry at once.
	u.kubectl("scale", "ray/sample-cluster", "--replicas=2")
	u.waitHealthy("sample-cluster")
}

// TestPodLoss deletes a Pod of a healthy Ray while a quota rejects its replacement.
func TestPodLoss(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role rayv1.Role
		want string
	}{
		{rayv1.RoleHead, "head: 0 of 1 available"},
		{rayv1.RoleWorker, "worker: 2 of 3 available"},
	} {
		t.Run(string(test.role), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample()
			u.setQuota("pods", "0")
			u.kubectl("delete", "pod", u.pods(test.role)[0].Name)
			u.waitHealth("sample-cluster", corev1.ConditionFalse, test.want)
			u.waitSteady()

			u.setQuota("pods", "10")
			u.waitHealthy("sample-cluster")
		})
	}
}

// setQuota sets the quota of the user's namespace.
func (u *user) setQuota(resource, limit string) {
	u.Helper()
	u.kubectlWith(fmt.Sprintf(`
apiVersion: v1
kind: ResourceQuota
metadata: {name: only}
spec: {hard: {%s: "%s"}}`, resource, limit), "apply", "-f", "-")
	u.eventually("the quota is enforced", func() error {
		if out := u.kubectl("get", "resourcequota", "only", "-o", "jsonpath={.status.hard}").Stdout; !strings.Contains(out, `"`+limit+`"`) {
			return fmt.Errorf("its status is %s", out)
		}
		return nil
	})
}

// checkBackoff checks that, while a problem lasts, the operator only makes retries with backoff.
func (u *user) checkBackoff(while string) {
	u.Helper()
	mark := markAudit(u.T)
	time.Sleep(observationTime)
	retries := 0
	for _, write := range operatorWrites(u.T, mark, u.namespace) {
		if write.Verb == "create" && write.ResponseStatus.Code >= 400 {
			retries++
			continue
		}
		u.Errorf("while %s, the operator made a write: %v", while, write)
	}
	if retries > 10 {
		u.Errorf("while %s, the operator made %d retries in %s", while, retries, observationTime)
	}
}

// TestInvalidTemplate has the API server reject the head's Deployment of a new Ray, which gets no workers
// either, and of a healthy one, which keeps its children.
func TestInvalidTemplate(t *testing.T) {
	t.Parallel()
	const invalid = "            volumeMounts: [{name: nowhere, mountPath: /data}]\n            ports:\n              - containerPort: 6379\n              - containerPort: 8265\n"
	const valid = "            ports:\n              - containerPort: 6379\n"

	t.Run("new Ray", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.kubectlWith(u.sample(valid, invalid), "apply", "-f", "-")
		health := u.waitHealth("sample-cluster", corev1.ConditionFalse, `head: Deployment "sample-cluster-head" could not be created: `)
		if health.Reason != "FailedCreate" || !strings.Contains(health.Message, `volumeMounts[0].name: Not found: "nowhere"`) {
			t.Errorf("Health has the reason %s and the message %q", health.Reason, health.Message)
		}
		u.waitEvent("sample-cluster", "Warning", "FailedCreate", `volumeMounts[0].name: Not found: "nowhere"`)
		if !strings.HasSuffix(health.Message, "; worker: not created: waiting for the head") {
			t.Errorf("the message does not say that the workers wait: %q", health.Message)
		}
		if pods := len(u.pods(rayv1.RoleWorker)); pods > 0 {
			t.Errorf("there are %d workers without a head", pods)
		}

		u.kubectl("apply", "-f", cluster.Path(sampleManifest))
		u.waitHealthy("sample-cluster")
	})

	t.Run("healthy Ray", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample()
		children := func() string {
			return u.kubectl("get", "deployments,services,pods", "-o", "jsonpath={range .items[*]}{.metadata.uid}{.spec}{end}").Stdout
		}
		before := children()
		u.kubectlWith(u.sample(valid, invalid), "apply", "-f", "-")
		health := u.waitHealth("sample-cluster", corev1.ConditionFalse, `head: Deployment "sample-cluster-head" could not be updated: `)
		if health.Reason != "FailedUpdate" {
			t.Errorf("the reason is %s, want FailedUpdate", health.Reason)
		}
		u.waitEvent("sample-cluster", "Warning", "FailedUpdate", `volumeMounts[0].name: Not found: "nowhere"`)
		if after := children(); after != before {
			t.Errorf("the children were\n%s\nand are\n%s", before, after)
		}

		u.kubectl("apply", "-f", cluster.Path(sampleManifest))
		u.waitHealthy("sample-cluster")
		if after := children(); after != before {
			t.Errorf("the children were\n%s\nand are\n%s", before, after)
		}
	})
}

// TestUnhealthyRaysDoNotDelayOthers creates a Ray next to many with rejected children.
func TestUnhealthyRaysDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	unhealthy, healthy := newUser(t), newUser(t)
	unhealthy.setQuota("count/deployments.apps", "0")
	for i := range 20 {
		unhealthy.kubectlWith(unhealthy.sample("name: sample-cluster", fmt.Sprintf("name: unhealthy-%d", i)), "create", "-f", "-")
	}
	unhealthy.waitHealth("unhealthy-19", corev1.ConditionFalse, "exceeded quota")
	started := time.Now()
	healthy.applySample()
	if took := time.Since(started) - minReadySeconds*time.Second; took > 10*time.Second {
		t.Errorf("next to 20 unhealthy Rays, one became healthy %s after its Pods could be available, want at most 10s", took)
	}
}
