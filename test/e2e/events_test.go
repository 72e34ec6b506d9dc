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
)

// TestEventsAfterManyChanges scales the workers 30 times, then removes them and adds them again. client-go
// drops all events about an object after 25, by default.
func TestEventsAfterManyChanges(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	const changes = 30
	for i := range changes {
		replicas := 1 + i%2
		if err := u.patchRay("sample-cluster", fmt.Sprintf(`[{"op":"replace","path":"/spec/worker/replicas","value":%d}]`, replicas)); err != nil {
			t.Fatal(err)
		}
		u.eventually("the Deployment is scaled", func() error {
			return wantCount(replicas, int(*u.deployment("sample-cluster-worker").Spec.Replicas))
		})
	}
	u.eventually("the updates are one event", func() error {
		return u.wantEventCount("sample-cluster", "Successfully update the deployment sample-cluster-worker: replicas", changes)
	})
	u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p", `[{"op":"remove","path":"/spec/worker"}]`)
	u.waitDeploymentGone("sample-cluster-worker")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyDelete", "Successfully delete the deployment sample-cluster-worker")
	u.applySample()
	u.eventually("the second creation is recorded", func() error {
		return u.wantEventCount("sample-cluster", "Successfully create the deployment sample-cluster-worker", 2)
	})
}
