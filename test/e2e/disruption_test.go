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
	"fmt"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestDisruptionBudgetSample checks that the sample of PodDisruptionBudgets keeps the head from being evicted, and lets
// one worker at a time be evicted.
func TestDisruptionBudgetSample(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectl("apply", "-f", cluster.Path("manifests/samples/ray-cluster.yaml"), "-f", cluster.Path("manifests/samples/disruption-budget.yaml"))
	u.waitHealthy("ray-cluster")
	want := "ray-cluster-head 1 0 ray-cluster-workers 2 1 "
	u.eventually("the budgets count the Pods", func() error {
		got := u.kubectl("get", "poddisruptionbudgets", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.currentHealthy} {.status.disruptionsAllowed} {end}").Stdout
		if got != want {
			return fmt.Errorf("names, healthy Pods and allowed evictions are %q, want %q", got, want)
		}
		return nil
	})
	for role, allowed := range map[rayv1.Role]bool{rayv1.RoleHead: false, rayv1.RoleWorker: true} {
		eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: u.pods(role)[0].Name}}
		err := cluster.Kube.CoreV1().Pods(u.namespace).EvictV1(t.Context(), eviction)
		if (err == nil) != allowed || err != nil && !apierrors.IsTooManyRequests(err) {
			t.Errorf("the eviction of a Pod of the role %s returns %v, want it to be allowed: %t", role, err, allowed)
		}
	}
}
