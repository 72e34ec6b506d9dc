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
	"slices"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// withStrategy returns the short sample with a strategy of the workers, in the flow style of YAML.
func withStrategy(t *testing.T, strategy string) string {
	return shortSample(t, "    replicas: 2\n", "    replicas: 2\n    strategy: "+strategy+"\n")
}

// TestStrategy changes the strategy of the workers, which restarts nothing.
func TestStrategy(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withStrategy(t, "{maxUnavailable: 0, maxSurge: 1}"), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	pods := u.podUIDs(rayv1.RoleWorker)
	u.checkStrategy("0 1")
	u.patchSpec(`{"worker":{"strategy":{"maxUnavailable":"50%","maxSurge":null}}}`)
	u.checkStrategy("50% 0")
	u.patchSpec(`{"worker":{"strategy":null}}`)
	u.checkStrategy("25% 0")
	u.waitHealthy("ray-cluster")
	if after := u.podUIDs(rayv1.RoleWorker); !slices.Equal(after, pods) {
		t.Errorf("the workers are %v, before they were %v", after, pods)
	}
}

// checkStrategy waits until the workers' Deployment has a maxUnavailable and a maxSurge.
func (u *user) checkStrategy(want string) {
	u.Helper()
	u.eventually("the strategy is "+want, func() error {
		rolling := u.deployment("ray-cluster-worker").Spec.Strategy.RollingUpdate
		if got := rolling.MaxUnavailable.String() + " " + rolling.MaxSurge.String(); got != want {
			return fmt.Errorf("the strategy is %s", got)
		}
		return nil
	})
}

// TestStrategyValidation creates Rays with strategies that are not valid, and some that are unusual.
func TestStrategyValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	// The message has the value between the field and the rule.
	bothZero := []string{"spec.worker.strategy: Invalid value: must not have a maxUnavailable and a maxSurge of 0, since no worker could be replaced; raise one of them"}
	unavailable := []string{"spec.worker.strategy.maxUnavailable: Invalid value", "must be a number that is not negative, or a percentage from 0% to 100%"}
	surge := []string{"spec.worker.strategy.maxSurge: Invalid value", "must be a number that is not negative, or a percentage"}
	for _, test := range []struct {
		strategy string
		want     []string
	}{
		{"{maxUnavailable: 0}", bothZero},
		{"{maxUnavailable: 0, maxSurge: 0}", bothZero},
		{"{maxUnavailable: 0%, maxSurge: 0}", bothZero},
		{"{maxUnavailable: 0, maxSurge: 0%}", bothZero},
		{"{maxUnavailable: -1}", unavailable},
		{"{maxUnavailable: 101%}", unavailable},
		{"{maxUnavailable: half}", unavailable},
		{"{maxUnavailable: '1'}", unavailable},
		{"{maxUnavailable: 05%}", unavailable},
		{"{maxSurge: -1}", surge},
		{"{maxSurge: 1.5%}", surge},
		{"{maxSurge: 99999999999}", []string{"spec.worker.strategy.maxSurge: Invalid value"}},
		{"{maxSurge: 1, type: Recreate}", []string{`unknown field "spec.worker.strategy.type"`}},
	} {
		t.Run(test.strategy, func(t *testing.T) { u.checkRejected(t, withStrategy(t, test.strategy), test.want...) })
	}
	for _, strategy := range []string{"{}", "{maxSurge: 0}", "{maxSurge: 200%}", "{maxUnavailable: 100%}", "{maxUnavailable: 0, maxSurge: 1%}", "{maxUnavailable: null, maxSurge: null}"} {
		if out := u.try(withStrategy(t, strategy), "create", "--dry-run=server", "-f", "-"); out.Err != nil {
			t.Errorf("%s is rejected: %s", strategy, out.Stderr)
		}
	}
}
