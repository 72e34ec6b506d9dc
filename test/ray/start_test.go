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
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// readyLimit is how long after the last node Ready may become True.
const readyLimit = 5 * time.Second

// TestShortSample applies the short sample, checks the nodes and their resources in Ray, and deletes it.
func TestShortSample(t *testing.T) {
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample))
	seen := o.waitReady()
	measured(t, "created, until all nodes are alive", seen.completeSince.Sub(o.start), 0)
	measured(t, "created, until Ready is True", seen.readySince.Sub(o.start), 0)
	measured(t, "all nodes are alive, until Ready is True", seen.readySince.Sub(seen.completeSince), readyLimit)

	if got := seen.state.groups(); got["head"] != 1 || got["worker"] != 2 {
		t.Errorf("the GCS has the groups %v, want one head and two workers", got)
	}
	const memory = 2 << 30
	for _, node := range seen.state.nodes {
		store := node.resources["object_store_memory"]
		if node.resources["CPU"] != 1 || store < 0.29*memory || store > 0.31*memory || node.resources["memory"]+store != memory {
			t.Errorf("the node of Pod %s has the resources %v, want 1 CPU, 30 %% of 2 GiB as object store and 70 %% as memory", node.pod, node.resources)
		}
	}
	checkTasks(u, "ray-cluster", 3)
	checkDeletion(u, o)
}

// TestCommandsSample applies the sample with commands for today's Ray.
func TestCommandsSample(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster-commands", u.sample(commandsSample))
	seen := o.waitReady()
	measured(t, "all nodes are alive, until Ready is True", seen.readySince.Sub(seen.completeSince), 0)
	checkTasks(u, "ray-cluster-commands", 4)
}

// TestHeadThatIsNotReady has a head that is not ready before its worker has joined, as with a probe of Ray Serve.
func TestHeadThatIsNotReady(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample,
		"spec:\n  head:", "spec:\n  headService: {publishNotReadyAddresses: true}\n  head:",
		"- name: ray-head", "- name: ray-head\n            readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}",
		"replicas: 2", "replicas: 1"))
	o.eventually("the worker joins", startTimeout, func(seen observation) bool { return len(seen.state.nodes) == 2 })
	if seen := o.observation(); seen.ready == corev1.ConditionTrue {
		t.Error("Ready is True, but the head is not ready")
	}
	u.kubectl("exec", "deployment/ray-cluster-head", "--", "touch", "/tmp/ready")
	o.waitReady()
}

// TestSeedSampleWithTodaysRay applies the sample of 2019 with today's Ray, which refuses its flags.
func TestSeedSampleWithTodaysRay(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("sample-cluster", u.sample(seedSample, "rayproject/examples:1", image(*version)))
	seen := o.eventually("the message quotes the refused flag", startTimeout, func(seen observation) bool {
		return strings.Contains(seen.message, "No such option '--redis-port'")
	})
	t.Logf("Ready is %s: %s", seen.ready, seen.message)
	// Restarted containers run for some seconds, again and again.
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if seen := o.observation(); seen.ready == corev1.ConditionTrue {
			t.Fatal("Ready is True, but Ray never ran")
		}
		time.Sleep(pollInterval)
	}
	if counts := restarts(u.pods(rayv1.RoleHead)); len(counts) != 1 {
		t.Errorf("the head's Pods have restarted %v, want one Pod", counts)
	}
	if seen := o.observation(); !strings.Contains(seen.message, "No such option") {
		t.Errorf("after some restarts, the message is %q", seen.message)
	}
}

// TestOldestVersion applies the short sample with the oldest supported version of Ray.
func TestOldestVersion(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample, image(*version), image(*oldestVersion)))
	seen := o.waitReady()
	measured(t, "all nodes are alive, until Ready is True", seen.readySince.Sub(seen.completeSince), 0)
	checkTasks(u, "ray-cluster", 3)
}

// checkTasks checks that Ray runs tasks on a number of nodes.
func checkTasks(u *user, ray string, nodes int) {
	u.Helper()
	out := u.python(ray, `
import sys, ray
ray.init(address="auto", log_to_driver=False)
@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def node():
    import time
    time.sleep(0.5)
    return ray.util.get_node_ip_address()
print(len(set(ray.get([node.remote() for _ in range(4 * int(sys.argv[1]))]))))
`, strconv.Itoa(nodes))
	if got := strings.TrimSpace(out); got != strconv.Itoa(nodes) {
		u.Errorf("tasks ran on %s nodes, want %d", got, nodes)
	}
}
