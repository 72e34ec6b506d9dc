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
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// job runs 200 tasks, and reports their starts and ends to an actor on the head.
const job = `
import json, time
import ray

ray.init()

@ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})
class Recorder:
    def __init__(self):
        self.started, self.ended, self.nodes = 0, 0, set()
    def start(self, node):
        self.started += 1
        self.nodes.add(node)
    def end(self):
        self.ended += 1
    def report(self):
        return {"started": self.started, "ended": self.ended, "nodes": len(self.nodes)}

@ray.remote(num_cpus=1)
def task(number, recorder):
    ray.get(recorder.start.remote(ray.get_runtime_context().get_node_id()))
    time.sleep(0.5)
    ray.get(recorder.end.remote())
    return number

recorder = Recorder.remote()
results = ray.get([task.remote(number, recorder) for number in range(200)])
report = ray.get(recorder.report.remote())
report["results"] = len(set(results))
print("report: " + json.dumps(report))
`

// TestScaleDuringJob scales the workers from two to three and to one while a job runs, and then again
// while they are idle.
func TestScaleDuringJob(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample))
	o.waitReady()

	output := make(chan string, 1)
	go func() { output <- u.submitJob("ray-cluster", job) }()
	o.eventually("all nodes have tasks", startTimeout, func(seen observation) bool { return seen.state.busy() == 3 })
	o.step("to 3 workers")
	start := time.Now()
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":3}}}`)
	up := o.eventually("the third worker has tasks", startTimeout, func(seen observation) bool { return seen.state.busy() == 4 })
	measured(t, "scaled from 2 to 3 workers during a job, until the new one is alive", up.completeSince.Sub(start), 0)
	o.step("to 1 worker")
	start = time.Now()
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":1}}}`)
	u.waitPods(rayv1.RoleWorker, 1)
	measured(t, "scaled from 3 to 1 workers during a job with tasks of 0.5 s, until the Pods are gone", time.Since(start), 5*time.Second)

	var report struct{ Started, Ended, Results, Nodes int }
	printed := <-output
	_, line, _ := strings.Cut(printed, "report: ")
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&report); err != nil {
		t.Fatalf("the job prints %s: %v", printed, err)
	}
	t.Logf("the report of the job: %+v", report)
	if report.Results != 200 {
		t.Errorf("the job has the results of %d tasks, want 200", report.Results)
	}
	// Ray retries a task that is interrupted. Workers that leave finish theirs, so none is.
	if report.Started != 200 || report.Ended != 200 {
		t.Errorf("%d tasks have started and %d have ended, want 200: a task was interrupted", report.Started, report.Ended)
	}

	o.waitReady()
	o.step("to 0 workers")
	start = time.Now()
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":0}}}`)
	o.eventually("the worker has left", startTimeout, func(seen observation) bool { return len(seen.state.nodes) == 1 })
	measured(t, "scaled down an idle worker, until it has left Ray", time.Since(start), 2*time.Second)
	u.waitPods(rayv1.RoleWorker, 0)
	measured(t, "scaled down an idle worker, until its Pod is gone", time.Since(start), 5*time.Second)

	// ray handles SIGTERM only after some seconds.
	o.step("to 1 worker, and to 0 while it starts")
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":1}}}`)
	harness.Eventually(u, "the worker's container runs", func() error {
		for _, pod := range u.pods(rayv1.RoleWorker) {
			if len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].State.Running != nil {
				return nil
			}
		}
		return errors.New("no container runs")
	})
	start = time.Now()
	u.patch("ray-cluster", `{"spec":{"worker":{"replicas":0}}}`)
	u.waitPods(rayv1.RoleWorker, 0)
	measured(t, "scaled down a worker that starts, until its Pod is gone", time.Since(start), 5*time.Second)
	if nodes := o.observation().state.nodes; len(nodes) != 1 {
		t.Errorf("there are %d nodes, want the head only", len(nodes))
	}
}

// submitJob submits a program as a job in the head's container, and returns what it prints.
func (u *user) submitJob(ray, program string) string {
	const file = "/tmp/job.py"
	if out := u.try(program, "exec", "--stdin", "deployment/"+ray+"-head", "--", "sh", "-c", "cat >"+file); out.Err != nil {
		return out.Err.Error()
	}
	out := u.try("", "exec", "deployment/"+ray+"-head", "--", "ray", "job", "submit", "--address=http://127.0.0.1:8265", "--", "python3", file)
	if out.Err != nil {
		return out.Err.Error()
	}
	return out.Stdout
}

// waitPods waits until a role has a number of Pods, including those that terminate.
func (u *user) waitPods(role rayv1.Role, want int) {
	u.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		pods := u.pods(role)
		if len(pods) == want {
			return
		}
		if time.Now().After(deadline) {
			u.Fatalf("there are %d Pods of the role %s, want %d", len(pods), role, want)
		}
		time.Sleep(pollInterval)
	}
}

// containerID returns the ID of a container, as its cgroup is named.
func containerID(status *corev1.ContainerStatus) string {
	_, id, _ := strings.Cut(status.ContainerID, "://")
	return id
}
