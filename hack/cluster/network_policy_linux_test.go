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

package main

import (
	"testing"
	"time"
)

// testNetworkPolicies isolates Pods, given by name with their addresses, from another Pod. It also
// restarts the program that enforces this.
func testNetworkPolicies(t *testing.T, c cluster, pods map[string]string) {
	kubectl(t, c, "run", "other", "--image=localhost/probe:1")
	kubectl(t, c, "wait", "--for=condition=Ready", "pod/other", "--timeout=60s")
	if got := reached(t, c, "other", pods); got != len(pods) {
		t.Fatalf("without a policy, another Pod reaches %d of %d Pods", got, len(pods))
	}
	kubectl(t, c, "apply", "-f", "testdata/network-policy.yaml")
	await(t, "another Pod reaches no Pod", func() bool { return reached(t, c, "other", pods) == 0 })
	for name := range pods {
		if got := reached(t, c, name, pods); got != len(pods) {
			t.Errorf("Pod %s, which the policy admits, reaches %d of %d Pods", name, got, len(pods))
		}
	}
	restartComponent(t, c, "kube-router")
	if got := reached(t, c, "other", pods); got != 0 {
		t.Errorf("after a restart of kube-router, another Pod reaches %d Pods", got)
	}
	kubectl(t, c, "delete", "-f", "testdata/network-policy.yaml")
	await(t, "another Pod reaches all Pods", func() bool { return reached(t, c, "other", pods) == len(pods) })
}

// reached returns how many Pods another Pod reaches.
func reached(t *testing.T, c cluster, from string, pods map[string]string) int {
	t.Helper()
	count := 0
	for _, address := range pods {
		exec := c.command(t.Context(), "kubectl", "exec", from, "--", "/program", "get", "http://"+address+":8080/hostname")
		if exec.Run() == nil {
			count++
		}
	}
	return count
}

// await waits until a condition is met.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
