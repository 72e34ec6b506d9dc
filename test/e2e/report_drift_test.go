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
	"strings"
	"testing"
)

// TestRevertAfterUpgrade changes children by hand after an upgrade to a version that renders Pods
// differently. What the user wrote is reverted; what only the operator renders differently is not.
func TestRevertAfterUpgrade(t *testing.T) {
	u := newUser(t)
	for _, name := range []string{"sample-cluster", "other"} {
		u.kubectlWith(u.sample("name: sample-cluster", "name: "+name, "replicas: 3", "replicas: 1"), "create", "-f", "-")
	}
	for _, name := range []string{"sample-cluster", "other"} {
		u.waitHealthy(name)
	}
	before := u.podState()
	stopOperator(t)
	// A change while no operator runs is reverted, too.
	u.kubectl("set", "image", "deployment/sample-cluster-worker", "ray-worker=mine")
	next := newOperator(t, "next", "--namespace", u.namespace)
	next.Binary = cluster.Path("bin/ray-operator-next")
	start(t, next)
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-worker: revert external changes to its template")
	u.waitWorkerImage("rayproject/examples:1")
	u.kubectl("scale", "ray/sample-cluster", "--replicas=2")
	u.waitHealthy("sample-cluster")
	env := u.deployment("sample-cluster-worker").Spec.Template.Spec.Containers[0].Env
	if last := env[len(env)-1].Name; last != "RAY_NEXT" {
		t.Errorf("after the revert, the last variable is %s, want RAY_NEXT of this version", last)
	}

	// An image that is changed together with the number of workers is reverted with it.
	u.kubectl("set", "image", "deployment/other-worker", "ray-worker=mine")
	u.kubectl("scale", "ray/other", "--replicas=2")
	u.eventually("the image is reverted", func() error {
		return wantText(u.deployment("other-worker").Spec.Template.Spec.Containers[0].Image, "rayproject/examples:1")
	})
	u.waitHealthy("other")
	u.waitSteady()
	after := u.podState()
	for name := range before {
		if strings.Contains(name, "-head") && after[name] != before[name] {
			t.Errorf("%s was replaced, although only the version of the operator changed", name)
		}
	}
}
