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
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// newAutoscaledRay creates a Ray "ray-cluster" with autoscaled workers of one CPU, and a number of them at creation.
func newAutoscaledRay(u *user, replicas int, autoscaling string) *fakeRay {
	u.Helper()
	f := u.newNamedRay("ray-cluster", replicas, autoscaling)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	return f
}

// deploymentWrites returns the writes of operators to a Deployment since mark, without those that were rejected: when
// another client has changed the Deployment, a write is repeated.
func (u *user) deploymentWrites(mark audit.Mark, name string) []*audit.Request {
	u.Helper()
	return slices.DeleteFunc(operatorWrites(u.T, mark, u.namespace), func(request *audit.Request) bool {
		return !request.Committed() || request.Resource() != "deployments" || request.ObjectRef.Name != name
	})
}

// checkDeploymentWrites checks the number of writes of operators to a Deployment since mark.
func (u *user) checkDeploymentWrites(what string, mark audit.Mark, name string, want int) {
	u.Helper()
	if writes := u.deploymentWrites(mark, name); len(writes) != want {
		u.Errorf("%s: %s was written %d times, want %d: %v", what, name, len(writes), want, writes)
	}
}

// TestAutoscalingUpAndDown scales workers from 0 to 10, removes 4 idle ones between busy ones, and then the rest.
func TestAutoscalingUpAndDown(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 0, "{maxReplicas: 10, idleTimeoutSeconds: 3}")
	u.waitHealthy("ray-cluster")
	f.waitWorkers(rayv1.RoleWorker, 0)
	generation := u.ray("ray-cluster").Generation
	costs := f.recordDeletionCosts()

	mark := markAudit(t)
	f.Submit(10)
	f.waitWorkers(rayv1.RoleWorker, 10)
	f.waitBusy(10)
	u.waitEvent("ray-cluster", "Normal", "Scaled", `Scaled group "worker" from 0 to 10: `)
	u.checkDeploymentWrites("scaling up", mark, "ray-cluster-worker", 1)
	u.waitHealthy("ray-cluster")
	u.checkAutoscaledColumns(10)
	f.waitScaling(rayv1.RayScalingLimited, corev1.ConditionFalse, "DesiredWithinRange", "")
	f.waitScaling(rayv1.RayInfeasibleDemand, corev1.ConditionFalse, "AllDemandFits", "")

	busy := f.Busy()
	rand.Shuffle(len(busy), func(i, j int) { busy[i], busy[j] = busy[j], busy[i] })
	idle, busy := slices.Sorted(slices.Values(busy[:4])), slices.Sorted(slices.Values(busy[4:]))
	mark = markAudit(t)
	f.Finish(idle...)
	f.waitWorkers(rayv1.RoleWorker, 6)
	u.waitEvent("ray-cluster", "Normal", "Scaled", `Scaled group "worker" from 10 to 6: idle for idleTimeoutSeconds`)
	u.checkDeploymentWrites("removing idle workers", mark, "ray-cluster-worker", 1)
	if drained := f.Drained(); !slices.Equal(drained, idle) {
		t.Errorf("the Pods %v were drained, want the idle ones %v", drained, idle)
	}
	if left := f.Busy(); !slices.Equal(left, busy) {
		t.Errorf("the Pods %v remain, want the busy ones %v", left, busy)
	}
	for _, pod := range u.pods(rayv1.RoleWorker) {
		if cost, found := pod.Annotations[corev1.PodDeletionCost]; found {
			t.Errorf("the busy Pod %s has the deletion cost %s", pod.Name, cost)
		}
	}

	mark = markAudit(t)
	f.Finish()
	f.waitWorkers(rayv1.RoleWorker, 0)
	u.checkDeploymentWrites("removing all workers", mark, "ray-cluster-worker", 1)
	u.waitHealthy("ray-cluster")
	u.checkAutoscaledColumns(0)
	f.checkNotInterrupted()
	for _, pod := range f.Drained() {
		if cost := costs(pod); cost != strconv.Itoa(math.MinInt32) {
			t.Errorf("the Pod %s had the deletion cost %q when its node was drained", pod, cost)
		}
	}
	if got := u.ray("ray-cluster").Generation; got != generation {
		t.Errorf("the generation of the Ray was %d and is %d, so that its spec was written", generation, got)
	}
}

// checkAutoscaledColumns checks the columns of kubectl get for a healthy Ray with a number of workers.
func (u *user) checkAutoscaledColumns(workers int) {
	u.Helper()
	want := regexp.MustCompile(fmt.Sprintf(`(?m)^ray-cluster +1 +%d +%d +True +\S+$`, workers, workers))
	u.eventually(fmt.Sprintf("kubectl get rays prints %s", want), func() error {
		if out := u.kubectl("get", "rays").Stdout; !want.MatchString(out) {
			return errors.New(out)
		}
		return nil
	})
}

// recordDeletionCosts records the deletion cost of each Pod when its node is drained. The result returns the cost of a
// Pod.
func (f *fakeRay) recordDeletionCosts() func(pod string) string {
	var mu sync.Mutex
	costs := map[string]string{}
	f.OnDrain(func(name string) {
		pod, err := cluster.Kube.CoreV1().Pods(f.u.namespace).Get(f.u.Context(), name, metav1.GetOptions{})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			costs[name] = err.Error()
			return
		}
		costs[name] = pod.Annotations[corev1.PodDeletionCost]
	})
	return func(pod string) string {
		mu.Lock()
		defer mu.Unlock()
		return costs[pod]
	}
}

// waitBusy waits until a number of nodes has tasks.
func (f *fakeRay) waitBusy(want int) {
	f.u.Helper()
	f.u.eventually(fmt.Sprintf("%d nodes are busy", want), func() error { return wantCount(want, len(f.Busy())) })
}

// TestAutoscalingManyIdle removes 70 idle workers, which are more than one poll drains, between 30 busy ones.
func TestAutoscalingManyIdle(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := newAutoscaledRay(u, 0, "{maxReplicas: 100, idleTimeoutSeconds: 2}")
	f.Submit(100)
	f.waitWorkers(rayv1.RoleWorker, 100)
	f.waitBusy(100)
	idle := f.Busy()
	rand.Shuffle(len(idle), func(i, j int) { idle[i], idle[j] = idle[j], idle[i] })
	mark := markAudit(t)
	f.Finish(idle[:70]...)
	f.waitWorkers(rayv1.RoleWorker, 30)
	f.checkNotInterrupted()
	if drained := len(f.Drained()); drained != 70 {
		t.Errorf("%d nodes were drained, want 70", drained)
	}
	u.checkDeploymentWrites("removing idle workers", mark, "ray-cluster-worker", 2)
}

// TestAutoscalingThousand has 10,000 tasks wait for two groups of together 1,000 workers. A quota holds back most Pods,
// for which a test machine has no time.
func TestAutoscalingThousand(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectl("create", "quota", "few", "--hard=pods=20")
	const group = `
  workerGroups:
    - name: more
      replicas: 0
      autoscaling: {maxReplicas: 400, idleTimeoutSeconds: 3}
      template: {spec: {containers: [{name: ray-worker, image: "rayproject/ray:2.60.0", resources: {limits: {cpu: "1", memory: 2Gi}}}]}}
`
	u.kubectlWith(shortSample(t, "    replicas: 2\n", "    replicas: 0\n    autoscaling: {maxReplicas: 600, idleTimeoutSeconds: 3}\n")+group, "apply", "-f", "-")
	f := newFakeRay(u, "ray-cluster")
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")

	mark, start := markAudit(t), time.Now()
	f.Submit(10_000)
	for name, want := range map[rayv1.Role]int{rayv1.RoleWorker: 600, "worker-more": 400} {
		u.eventually(fmt.Sprintf("%d nodes of group %s are desired", want, name), func() error { return wantCount(want, f.desired(name)) })
	}
	f.waitScaling(rayv1.RayScalingLimited, corev1.ConditionTrue, "TooManyReplicas", "maxReplicas")
	for _, name := range []string{"ray-cluster-worker", "ray-cluster-worker-more"} {
		for _, write := range u.deploymentWrites(mark, name) {
			t.Logf("%s was written %s after the tasks were submitted", name, write.Answered.Sub(start))
		}
	}
	time.Sleep(5 * time.Second) // no more writes while the Pods are pending
	for _, name := range []string{"ray-cluster-worker", "ray-cluster-worker-more"} {
		u.checkDeploymentWrites("scaling up", mark, name, 1)
	}

	// Pending nodes are removed without a drain, and then those that run.
	f.Finish()
	for _, name := range []rayv1.Role{rayv1.RoleWorker, "worker-more"} {
		f.waitWorkers(name, 0)
	}
	f.checkNotInterrupted()
}
