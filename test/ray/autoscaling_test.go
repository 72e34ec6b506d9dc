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
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// autoscaledRay has a head that runs no tasks, and up to three workers with one CPU each, of which one is created: as
// long as there is none, Ready says nothing of Ray's nodes but the head (docs/design.md, known limits).
const autoscaledRay = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata:
  name: x
spec:
  head:
    start: {resources: {CPU: 0}}
    template: {spec: {containers: [{name: ray, image: "rayproject/ray:2.60.0", resources: {limits: {cpu: "1", memory: 2Gi}}}]}}
  worker:
    replicas: 1
    autoscaling: {maxReplicas: 3, idleTimeoutSeconds: 20}
    template: {spec: {containers: [{name: ray, image: "rayproject/ray:2.60.0", resources: {requests: {cpu: 100m}, limits: {cpu: "1", memory: 1Gi}}}]}}
`

// threeTasks runs three tasks of three seconds, each on a CPU of its own, and prints when it submits them and when
// they are done. It waits for a line before that, so that the start of Python does not count.
const threeTasks = `
import sys, time
import ray

ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=1, max_retries=0)
def task(number):
    time.sleep(3)
    return number

print("ready", flush=True)
for line in sys.stdin:
    print("submitted", time.time(), flush=True)
    results = ray.get([task.remote(number) for number in range(3)])
    assert results == [0, 1, 2], results
    print("done", time.time(), flush=True)
`

// TestAutoscaling has no workers. Tasks create them, and they go when they are idle.
func TestAutoscaling(t *testing.T) {
	u := newUser(t)
	o := u.apply("x", autoscaledRay)
	o.waitReady()
	u.waitCondition("x", rayv1.RayScalingActive, corev1.ConditionTrue, "")
	u.waitPods(rayv1.RoleWorker, 0)
	driver := startDriver(u, "x", threeTasks)
	created := u.watchCreations(rayv1.RoleWorker)
	for range 2 {
		o.step("tasks")
		driver.send("go")
		submitted := driver.expectTime("submitted")
		first := <-created
		measured(t, "autoscaling: tasks submitted, until the first worker Pod is created", first.Sub(submitted), 2500*time.Millisecond)
		for range 2 {
			<-created
		}
		done := driver.expectTime("done")
		measured(t, "autoscaling: three tasks of 3 s submitted without workers, until they are done", done.Sub(submitted), 0)
		u.waitPods(rayv1.RoleWorker, 0)
		measured(t, "autoscaling: tasks done, until the Pods are gone, with an idle timeout of 20 s", time.Since(done), 24*time.Second)
	}
	events := u.kubectl("get", "events", "--field-selector", "reason=Scaled", "-o", "jsonpath={.items[*].message}").Stdout
	for _, want := range []string{`Scaled group "worker" from 0 to 3: `, `Scaled group "worker" from 3 to `} {
		if !strings.Contains(events, want) {
			t.Errorf("the events are %s, want %s", events, want)
		}
	}
	if out := u.kubectl("get", "ray", "x", "-o", "jsonpath={.spec.worker.replicas}").Stdout; out != "1" {
		t.Errorf("spec.worker.replicas is %s: the spec must not change", out)
	}
}

// groups are further groups of autoscaledRay: nodes of four CPUs, GPU nodes, and nodes with a label.
const groups = `
  workerGroups:
    - name: big
      replicas: 0
      start: {resources: {CPU: 4}}
      autoscaling: {maxReplicas: 2, idleTimeoutSeconds: 5}
      template: {spec: {containers: [{name: ray, image: "rayproject/ray:2.60.0", resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}}]}}
    - name: gpu
      replicas: 0
      start: {resources: {CPU: 1, GPU: 1}, labels: {zone: a}}
      autoscaling: {maxReplicas: 1, idleTimeoutSeconds: 5}
      template: {spec: {containers: [{name: ray, image: "rayproject/ray:2.60.0", resources: {requests: {cpu: 100m}, limits: {memory: 1Gi}}}]}}
`

// demands runs the program of each line that it reads, and prints "ok" when it has run.
const demands = `
import sys, time
import ray
from ray.autoscaler.sdk import request_resources
from ray.util.placement_group import placement_group, remove_placement_group

ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote(max_retries=0)
def task():
    return 1

@ray.remote
class Actor:
    def node(self):
        return ray.get_runtime_context().get_node_id()

print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("ok", flush=True)
`

// TestAutoscalingDemand has demand of all kinds, one after the other, and checks which groups get nodes for it.
func TestAutoscalingDemand(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	manifest := strings.Replace(autoscaledRay, "idleTimeoutSeconds: 20", "idleTimeoutSeconds: 5", 1)
	o := u.apply("x", manifest+groups)
	o.waitReady()
	u.waitCondition("x", rayv1.RayScalingActive, corev1.ConditionTrue, "")
	driver := startDriver(u, "x", demands)
	run := func(program string) {
		t.Helper()
		driver.send(program)
		driver.expect("ok")
	}
	expect := func(what string, want map[string]int) {
		t.Helper()
		want["head"] = 1
		o.eventually(what, startTimeout, func(seen observation) bool { return maps.Equal(seen.state.groups(), want) })
	}

	// Ray Data and Ray Train read the bounds of the groups with this call.
	run(`from ray._private.state import state; bounds = {g.name: (g.min_count, g.max_count, g.resources["CPU"], g.resources["GPU"]) for g in state.get_cluster_config().node_group_configs}`)
	run(`assert bounds == {"worker": (0, 3, 1, 0), "big": (0, 2, 4, 0), "gpu": (0, 1, 1, 1)}, bounds`)

	run(`p = placement_group([{"CPU": 1}] * 2, strategy="STRICT_SPREAD"); ray.get(p.ready())`)
	expect("STRICT_SPREAD has two nodes", map[string]int{"worker": 2})
	run(`remove_placement_group(p)`)
	expect("no node without demand", map[string]int{})
	run(`p = placement_group([{"CPU": 2}] * 2, strategy="STRICT_PACK"); ray.get(p.ready())`)
	expect("STRICT_PACK has one node for all bundles", map[string]int{"big": 1})
	run(`remove_placement_group(p); request_resources(bundles=[{"CPU": 4}] * 2)`)
	expect("request_resources has nodes", map[string]int{"big": 2})
	run(`request_resources(bundles=[])`)
	expect("no node after request_resources", map[string]int{})
	run(`r = task.options(num_gpus=1).remote(); assert ray.get(r) == 1`)
	expect("a GPU task has a GPU node", map[string]int{"gpu": 1})
	expect("no GPU node without demand", map[string]int{})
	run(`a = Actor.options(num_cpus=1, label_selector={"zone": "a"}).remote(); ray.get(a.node.remote()); r = task.options(num_cpus=3).remote(); ray.get(r)`)
	expect("an actor with a label selector holds its node, and the node of a task goes", map[string]int{"gpu": 1})

	run(`r = task.options(num_gpus=8).remote()`)
	u.waitCondition("x", rayv1.RayInfeasibleDemand, corev1.ConditionTrue, "GPU")
	if status := u.kubectl("exec", "deployment/x-head", "--", "ray", "status").Stdout; !strings.Contains(status, "'GPU': 8") {
		t.Errorf("ray status does not show the demand for 8 GPUs: %s", status)
	}
	run(`ray.cancel(r)`)
	u.waitCondition("x", rayv1.RayInfeasibleDemand, corev1.ConditionFalse, "")
	if len(driver.warnings) == 0 {
		t.Error("Ray does not warn the driver of infeasible demand")
	}
	run(`rs = [task.options(num_cpus=4).remote() for _ in range(3)] + [placement_group([{"CPU": 4}] * 3, strategy="STRICT_SPREAD")]`)
	u.waitCondition("x", rayv1.RayScalingLimited, corev1.ConditionTrue, "big")
}

// bursts runs tasks in bursts, with pauses of about the time in which the autoscaler sees that nodes are idle, so that
// they are removed while tasks are submitted. It ends after ten bursts, or later, when some nodes are gone. A task that is
// lost is not retried.
const bursts = `
import random, time
import ray

ray.init(logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=1, max_retries=0)
def task(number):
    time.sleep(random.uniform(0.05, 0.3))
    return number

def alive():
    return sum(node["Alive"] for node in ray.nodes())

total, bursts, removed = 0, 0, 0
while bursts < 10 or removed < 5 and bursts < 60:
    count = random.randint(4, 12)
    assert sorted(ray.get([task.remote(number) for number in range(count)])) == list(range(count))
    total, bursts, before = total + count, bursts + 1, alive()
    time.sleep(random.uniform(2, 5))
    removed += max(before - alive(), 0)
print("results:", total, flush=True)
`

// TestAutoscalingLosesNoTask removes nodes as early as possible, while tasks come in bursts.
func TestAutoscalingLosesNoTask(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("x", strings.Replace(autoscaledRay, "idleTimeoutSeconds: 20", "idleTimeoutSeconds: 1", 1))
	o.waitReady()
	if printed := u.python("x", bursts); !strings.Contains(printed, "results:") {
		t.Errorf("the tasks print %s", printed)
	}
	scaled := u.kubectl("get", "events", "--field-selector", "reason=Scaled", "-o", "json").Stdout
	var list corev1.EventList
	if err := json.Unmarshal([]byte(scaled), &list); err != nil {
		t.Fatal(err)
	}
	down := 0
	for _, event := range list.Items {
		if strings.Contains(event.Message, "idle") {
			down += int(max(event.Count, 1))
		}
	}
	if down < 3 {
		t.Errorf("nodes were removed %d times, which is too seldom to show anything", down)
	}
}

// TestAutoscalingHeadLoss loses the head while workers exist. They stay, and the demand of the next head is met.
func TestAutoscalingHeadLoss(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("x", autoscaledRay)
	o.waitReady()
	driver := startDriver(u, "x", demands)
	driver.send(`request_resources(num_cpus=2)`)
	driver.expect("ok")
	o.eventually("two workers", startTimeout, func(seen observation) bool { return seen.state.groups()["worker"] == 2 })
	o.waitReady()
	before, workers := o.observation().state.session, restarts(u.pods(rayv1.RoleWorker))

	o.step("the head goes")
	u.kubectl("delete", "pod", "--selector", rayv1.LabelRole+"=head", "--wait=false")
	o.eventually("another head", startTimeout, func(seen observation) bool {
		return seen.state.session != before && seen.state.groups()["worker"] == 2
	})
	for name := range restarts(u.pods(rayv1.RoleWorker)) {
		if _, found := workers[name]; !found {
			t.Errorf("the loss of the head replaced a worker: there is a new Pod %s", name)
		}
	}
	u.waitCondition("x", rayv1.RayScalingActive, corev1.ConditionTrue, "")
	o.eventually("workers that the new head does not need go", startTimeout, func(seen observation) bool { return seen.state.groups()["worker"] == 0 })
	driver = startDriver(u, "x", demands)
	driver.send(`assert ray.get(task.options(num_cpus=1).remote()) == 1`)
	driver.expect("ok")
}

// TestAutoscalingWithToken has a Ray that requires a token, which the operator may read with the Role of docs/autoscaling.md.
func TestAutoscalingWithToken(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.token = "0123456789abcdef0123456789abcdef"
	u.kubectl("create", "secret", "generic", "token", "--from-literal=token="+u.token)
	o := u.apply("x", strings.Replace(autoscaledRay, "spec:\n", "spec:\n  authentication: {tokenSecretKeyRef: {name: token, key: token}}\n", 1))
	o.waitReady()
	u.waitCondition("x", rayv1.RayScalingActive, corev1.ConditionFalse, `Secret "token"`)

	document, err := os.ReadFile(cluster.Path("docs/autoscaling.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(document), "\n## Token authentication\n")
	_, section, _ = strings.Cut(section, "\n```yaml\n")
	role, _, _ := strings.Cut(section, "\n```\n")
	u.change(strings.NewReplacer("NAMESPACE", u.namespace, "SECRET", "token").Replace(role))
	u.waitCondition("x", rayv1.RayScalingActive, corev1.ConditionTrue, "")
	driver := startDriver(u, "x", demands)
	driver.send(`request_resources(num_cpus=2)`)
	driver.expect("ok")
	o.eventually("two workers", startTimeout, func(seen observation) bool { return seen.state.groups()["worker"] == 2 })
}

// waitCondition waits until a condition of a Ray has a status, and a message that contains a text.
func (u *user) waitCondition(ray string, kind rayv1.RayConditionType, status corev1.ConditionStatus, message string) {
	u.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		got, err := cluster.Rays.RayV1().Rays(u.namespace).Get(u.Context(), ray, metav1.GetOptions{})
		if err != nil {
			u.Fatal(err)
		}
		c := condition(got, kind)
		if c.Status == status && strings.Contains(c.Message, message) {
			return
		}
		if time.Now().After(deadline) {
			u.Fatalf("%s is %s: %s; want %s: …%s…", kind, c.Status, c.Message, status, message)
		}
		time.Sleep(pollInterval)
	}
}

// watchCreations returns a channel with the time at which each new Pod of a role was seen.
func (u *user) watchCreations(role rayv1.Role) <-chan time.Time {
	u.Helper()
	watcher, err := cluster.Kube.CoreV1().Pods(u.namespace).Watch(u.Context(), metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)})
	if err != nil {
		u.Fatal(err)
	}
	created := make(chan time.Time, 100)
	go func() {
		defer watcher.Stop()
		for event := range watcher.ResultChan() {
			if event.Type == watch.Added {
				created <- time.Now()
			}
		}
	}()
	return created
}
