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

package ray

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestOutOfMemory fills the memory of the head's container, and checks that the message has the reason.
func TestOutOfMemory(t *testing.T) {
	// Not parallel: without workers, Ready is too early if the head's raylet takes long (docs/design.md, known limits).
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample, "replicas: 2", "replicas: 0"))
	o.waitReady()
	fill := func() {
		o.step("out of memory")
		// Files in this directory count as memory of the container. The command is killed, or ends with the container.
		u.try("", "exec", "deployment/ray-cluster-head", "--", "sh", "-c", "cat /dev/zero >/dev/shm/fill")
	}
	hasReason := func() bool {
		seen := o.observation()
		return seen.ready != corev1.ConditionTrue && strings.Contains(seen.message, "OOMKilled")
	}
	// After the first time, the container restarts at once, and may be ready again before its Pod is looked at.
	deadline, lastFill := time.Now().Add(startTimeout), time.Time{}
	for !hasReason() {
		if time.Now().After(deadline) {
			t.Fatalf("the message is %q", o.observation().message)
		}
		if time.Since(lastFill) > 15*time.Second {
			fill()
			lastFill = time.Now()
		}
		time.Sleep(pollInterval)
	}
	t.Logf("the message is %q", o.observation().message)
}
