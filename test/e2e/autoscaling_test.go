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

	"k8s.io/utils/ptr"
)

// withAutoscaling returns the short sample with autoscaling of the workers, in the flow style of YAML.
func withAutoscaling(t *testing.T, autoscaling string) string {
	return shortSample(t, "    replicas: 2\n", "    replicas: 2\n    autoscaling: "+autoscaling+"\n")
}

// TestAutoscalingBounds changes the bounds of workers. Ray does not run, so there is no demand.
func TestAutoscalingBounds(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withAutoscaling(t, "{maxReplicas: 5}"), "apply", "-f", "-")
	u.checkDesiredReplicas(2)
	u.patchSpec(`{"worker":{"replicas":4}}`) // has no effect
	u.patchSpec(`{"worker":{"autoscaling":{"minReplicas":3}}}`)
	u.checkDesiredReplicas(3)
	u.patchSpec(`{"worker":{"autoscaling":{"minReplicas":1,"maxReplicas":1}}}`)
	u.checkDesiredReplicas(1)
	u.waitHealthy("ray-cluster")
}

// checkDesiredReplicas waits until the status and the Deployment have a number of workers.
func (u *user) checkDesiredReplicas(want int32) {
	u.Helper()
	u.eventually(fmt.Sprintf("%d workers are desired", want), func() error {
		worker := u.ray("ray-cluster").Status.Worker
		if worker == nil || ptr.Deref(worker.DesiredReplicas, -1) != want {
			return fmt.Errorf("the status of the workers is %v", worker)
		}
		return wantCount(int(want), int(*u.deployment("ray-cluster-worker").Spec.Replicas))
	})
}

// TestAutoscalingValidation creates Rays with settings that are not valid, and some that are unusual.
func TestAutoscalingValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	maximum := []string{"spec.worker.autoscaling.maxReplicas: Invalid value", "must not be less than minReplicas, which defaults to 0; raise maxReplicas or lower minReplicas"}
	for _, test := range []struct {
		autoscaling string
		want        []string
	}{
		{"{}", []string{"spec.worker.autoscaling.maxReplicas: Required value"}},
		{"{maxReplicas: -1}", maximum},
		{"{minReplicas: 3, maxReplicas: 2}", maximum},
		{"{minReplicas: -1, maxReplicas: 2}", []string{"spec.worker.autoscaling.minReplicas: Invalid value", "must not be negative"}},
		{"{maxReplicas: 2, idleTimeoutSeconds: 0}", []string{"spec.worker.autoscaling.idleTimeoutSeconds: Invalid value", "must be at least 1; to keep idle workers, set minReplicas"}},
		{"{maxReplicas: 99999999999}", []string{"must be of type integer with format int32 in spec.worker.autoscaling.maxReplicas"}},
		{"{maxReplicas: 2, priority: 1}", []string{`unknown field "spec.worker.autoscaling.priority"`}},
	} {
		t.Run(test.autoscaling, func(t *testing.T) { u.checkRejected(t, withAutoscaling(t, test.autoscaling), test.want...) })
	}
	for _, autoscaling := range []string{"{maxReplicas: 0}", "{minReplicas: 2, maxReplicas: 2}", "{minReplicas: null, maxReplicas: 1, idleTimeoutSeconds: null}"} {
		if out := u.try(withAutoscaling(t, autoscaling), "create", "--dry-run=server", "-f", "-"); out.Err != nil {
			t.Errorf("%s is rejected: %s", autoscaling, out.Stderr)
		}
	}
}
