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
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// Parts of the sample, and the same with a volume mount that the API server rejects.
const (
	headPorts     = "            ports:\n              - containerPort: 6379\n"
	invalidMounts = "            volumeMounts: [{name: nowhere, mountPath: /data}]\n"
	notFound      = `volumeMounts[0].name: Not found: "nowhere"`
)

// invalidSample returns the sample with a new image for both groups, and a template that the API server
// rejects in one of them.
func (u *user) invalidSample(role rayv1.Role) string {
	u.Helper()
	manifest := u.sample("replicas: 3", "replicas: 1", "examples:1", "examples:2")
	if role == rayv1.RoleHead {
		return strings.Replace(manifest, headPorts, invalidMounts+headPorts, 1)
	}
	at := strings.LastIndex(manifest, "            ports:\n")
	return manifest[:at] + invalidMounts + manifest[at:]
}

// TestAllOrNothing changes the templates of both groups. If the API server rejects one of them, neither
// group is rolled out: nodes of two Ray versions do not form a cluster.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		invalid rayv1.Role
		want    string
	}{
		{rayv1.RoleHead, `^head: Deployment "sample-cluster-head" could not be updated: .*Not found: "nowhere".*; worker: not updated: waiting for the head$`},
		{rayv1.RoleWorker, `^head: not updated: an update of another group was rejected; worker: Deployment "sample-cluster-worker" could not be updated: .*Not found: "nowhere"`},
	} {
		t.Run("invalid "+string(test.invalid), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample("replicas: 3", "replicas: 1")
			before := u.podState()
			mark := markAudit(t)

			u.kubectlWith(u.invalidSample(test.invalid), "apply", "-f", "-")
			u.waitMatch("sample-cluster", "FailedUpdate", test.want)
			u.waitEvent("sample-cluster", "Warning", "FailedUpdate", notFound)
			u.waitRetries(mark, 5)
			u.checkOneWarning("sample-cluster", "FailedUpdate")
			u.checkUnchanged(before, "an update of which a part was rejected")
			for _, write := range operatorWrites(t, mark, u.namespace) {
				if write.Resource() == "deployments" && (write.Committed() || write.ObjectRef.Name != "sample-cluster-"+string(test.invalid)) {
					t.Errorf("although a part was rejected, the operator wrote: %v", write)
				}
			}

			changes := u.watchOrder("rayproject/examples:2")
			u.kubectlWith(u.sample("replicas: 3", "replicas: 1", "examples:1", "examples:2"), "apply", "-f", "-")
			u.waitHealthy("sample-cluster")
			changes()
		})
	}
}

// waitRetries waits until the operator has sent some rejected updates of Deployments, dry runs included.
func (u *user) waitRetries(mark audit.Mark, count int) {
	u.Helper()
	u.eventually("the operator has retried", func() error {
		rejected := 0
		for _, request := range u.requestsSince(mark) {
			if request.Resource() == "deployments" && request.Verb == "update" && !request.Committed() {
				rejected++
			}
		}
		if rejected < count {
			return fmt.Errorf("%d updates were rejected, want at least %d", rejected, count)
		}
		return nil
	})
}

// TestInvalidHeadOfNewRay checks that a new Ray with a head that is rejected gets no workers.
func TestInvalidHeadOfNewRay(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	mark := markAudit(t)
	u.kubectlWith(u.invalidSample(rayv1.RoleHead), "create", "-f", "-")
	u.waitMatch("sample-cluster", "FailedCreate",
		`^head: Deployment "sample-cluster-head" could not be created: .*Not found: "nowhere".*; worker: not created: waiting for the head$`)
	u.waitEvent("sample-cluster", "Warning", "FailedCreate", notFound)
	for _, request := range u.requestsSince(mark) {
		if request.Verb == "create" && request.Resource() == "deployments" && request.Committed() {
			t.Errorf("the operator created a Deployment: %v", request)
		}
	}
	if _, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(t.Context(), "sample-cluster-worker", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("getting the workers' Deployment returns %v, want NotFound", err)
	}
	u.applySample("replicas: 3", "replicas: 1")
}

// TestHeadFirst changes the templates of both groups and the number of workers. The workers are scaled at
// once, but get their template only when the new head is available.
func TestHeadFirst(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	node := fmt.Sprintf("      spec:\n        nodeName: %s\n        terminationGracePeriodSeconds: 0\n        containers:\n          - name: ray-head\n", u.newNode())
	sample := func(replacements ...string) string {
		return u.sample(append([]string{"      spec:\n        containers:\n          - name: ray-head\n", node}, replacements...)...)
	}
	u.kubectlWith(sample("replicas: 3", "replicas: 1"), "create", "-f", "-")
	u.setPodStatus("sample-cluster", rayv1.RoleHead, setRunning)
	u.waitHealthy("sample-cluster")
	workers := u.podUIDs(rayv1.RoleWorker)

	changes := u.watchOrder("rayproject/examples:2")
	u.kubectlWith(sample("replicas: 3", "replicas: 2", "examples:1", "examples:2"), "apply", "-f", "-")
	u.waitHealth("sample-cluster", corev1.ConditionFalse, "worker: not updated: waiting for the head")
	u.eventually("the workers are scaled", func() error {
		return wantCount(2, int(*u.deployment("sample-cluster-worker").Spec.Replicas))
	})
	u.eventually("the head is replaced", func() error {
		pods := u.podsOf("sample-cluster", rayv1.RoleHead)
		if len(pods) != 1 || pods[0].Spec.Containers[0].Image != "rayproject/examples:2" {
			return fmt.Errorf("there are %d heads, want one with the new image", len(pods))
		}
		return nil
	})
	// A rollout of the head that takes a while does not change this.
	u.setPodStatus("sample-cluster", rayv1.RoleHead, waiting("ContainerCreating", "", 0, "", ""))
	worker := u.deployment("sample-cluster-worker")
	if image := worker.Spec.Template.Spec.Containers[0].Image; image != "rayproject/examples:1" {
		t.Errorf("the workers have the image %s before the head is available", image)
	}
	if record := worker.Annotations[rayv1.AnnotationLastApplied]; !strings.Contains(record, `"templatePending":true`) {
		t.Errorf("the record does not say that the template is pending: %s", record)
	}
	if len(u.podUIDs(rayv1.RoleWorker)) < len(workers) {
		t.Error("a worker was deleted before the head is available")
	}

	u.setPodStatus("sample-cluster", rayv1.RoleHead, setRunning)
	u.waitHealthy("sample-cluster")
	changes()
	worker = u.deployment("sample-cluster-worker")
	if record := worker.Annotations[rayv1.AnnotationLastApplied]; strings.Contains(record, "templatePending") {
		t.Errorf("after the rollout, the record is %s", record)
	}
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-worker: template, strategy")
}

// watchOrder watches the Deployments of the Ray until the returned function is called. That fails the test
// unless both got an image, the workers after the head's rollout.
func (u *user) watchOrder(image string) func() {
	u.Helper()
	ctx, cancel := context.WithCancel(u.Context())
	list, err := cluster.Kube.AppsV1().Deployments(u.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		u.Fatal(err)
	}
	changes, err := cluster.Kube.AppsV1().Deployments(u.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		u.Fatal(err)
	}
	headRolled, worker, early := false, false, false
	var done sync.WaitGroup
	done.Go(func() {
		for event := range changes.ResultChan() {
			deployment, ok := event.Object.(*appsv1.Deployment)
			if !ok || deployment.Spec.Template.Spec.Containers[0].Image != image {
				continue
			}
			if deployment.Labels[rayv1.LabelRole] == string(rayv1.RoleHead) {
				headRolled = isRolled(deployment)
				continue
			}
			worker = true
			early = early || !headRolled
		}
	})
	return func() {
		u.Helper()
		u.eventually("the workers have the image", func() error {
			return wantText(u.deployment("sample-cluster-worker").Spec.Template.Spec.Containers[0].Image, image)
		})
		cancel()
		done.Wait()
		if !headRolled || !worker || early {
			u.Errorf("the head was rolled out: %t, the workers were changed: %t, too early: %t", headRolled, worker, early)
		}
	}
}

// isRolled returns whether all Pods of a Deployment are updated and available.
func isRolled(deployment *appsv1.Deployment) bool {
	desired, status := *deployment.Spec.Replicas, deployment.Status
	return status.ObservedGeneration >= deployment.Generation && status.UpdatedReplicas == desired && status.Replicas == desired && status.AvailableReplicas == desired
}

// TestRolloutWithoutRoom changes the images while a quota has room only for the running Pods: first those of all groups,
// and then that of the workers.
func TestRolloutWithoutRoom(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d workers", replicas), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			check := func(headImage, workerImage string) {
				t.Helper()
				u.waitHealthy("sample-cluster")
				for role, image := range map[rayv1.Role]string{rayv1.RoleHead: headImage, rayv1.RoleWorker: workerImage} {
					for _, pod := range u.pods(role) {
						if got := pod.Spec.Containers[0].Image; got != image {
							t.Errorf("the Ray is healthy, but Pod %s has the image %s, want %s", pod.Name, got, image)
						}
					}
				}
				strategy := u.deployment("sample-cluster-worker").Spec.Strategy.RollingUpdate
				if strategy == nil || strategy.MaxSurge.String() != "0" || strategy.MaxUnavailable.String() != "25%" {
					t.Errorf("the strategy of the workers is %v, want 0 maxSurge and 25%% maxUnavailable", strategy)
				}
			}
			u.setQuota("pods", strconv.Itoa(replicas+1))
			u.applySample("replicas: 3", fmt.Sprintf("replicas: %d", replicas))
			check("rayproject/examples:1", "rayproject/examples:1")
			u.kubectlWith(u.sample("replicas: 3", fmt.Sprintf("replicas: %d", replicas), "examples:1", "examples:2"), "apply", "-f", "-")
			check("rayproject/examples:2", "rayproject/examples:2")
			// All workers are replaced at once, and then the strategy is the default again.
			for _, parts := range []string{"template, strategy", "strategy"} {
				u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-worker: "+parts)
			}
			u.kubectl("patch", "ray/sample-cluster", "--type=json", "-p", `[{"op":"replace","path":"/spec/worker/template/spec/containers/0/image","value":"rayproject/examples:3"}]`)
			check("rayproject/examples:2", "rayproject/examples:3")
		})
	}
}
