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
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const faultTolerantSample = "manifests/samples/fault-tolerant-cluster.yaml"

// startActor creates a detached actor on a worker. It starts a task that runs until the actor lets it end.
const startActor = `
import time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ray.init(address="auto", namespace="test", log_to_driver=False)
workers = [node["NodeID"] for node in ray.nodes() if node["Alive"] and "node:__internal_head__" not in node["Resources"]]

@ray.remote(num_cpus=0)
class Counter:
    def __init__(self):
        self.count, self.begun, self.ended = 0, False, False
    def add(self):
        self.count += 1
        return self.count
    def start(self, me, node):
        self.task = wait_for_end.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(me)
    def end(self):
        self.ended = True
    def has_begun(self):
        return self.begun
    def has_ended(self):
        self.begun = True
        return self.ended
    def result(self):
        return ray.get(self.task)

@ray.remote(num_cpus=1, max_retries=0)
def wait_for_end(counter):
    started = time.time()
    while not ray.get(counter.has_ended.remote()):
        time.sleep(0.5)
    return time.time() - started

strategy = NodeAffinitySchedulingStrategy(workers[0], soft=False)
counter = Counter.options(name="counter", lifetime="detached", max_concurrency=4, scheduling_strategy=strategy).remote()
ray.get(counter.start.remote(counter, workers[1]))
while not ray.get(counter.has_begun.remote()):
    time.sleep(0.1)
print(ray.get(counter.add.remote()))
`

// useActor adds to the count of the actor.
const useActor = `
import ray
ray.init(address="auto", namespace="test", log_to_driver=False)
print(ray.get(ray.get_actor("counter").add.remote()))
`

// endTask lets the task of the actor end, and prints for how many seconds it has run.
const endTask = `
import ray
ray.init(address="auto", namespace="test", log_to_driver=False)
counter = ray.get_actor("counter")
ray.get(counter.end.remote())
print(ray.get(counter.result.remote()))
`

// TestGCSOnVolume applies the sample with a volume, and loses the head in two ways. Then it deletes the Ray and creates
// it again with the same claim.
func TestGCSOnVolume(t *testing.T) {
	directory := t.TempDir()
	if err := os.Chmod(directory, 0o777); err != nil { // as a volume with the group of the Pod
		t.Fatal(err)
	}
	u := newUser(t)
	u.createVolume("fault-tolerant-cluster", directory)
	o := u.apply("fault-tolerant-cluster", u.sample(faultTolerantSample))
	o.waitReady()
	session := o.observation().state.session
	checkHeadReplacement(u, o)

	u.kubectl("delete", "ray", o.name)
	waitNoPods(u)
	if phase := u.kubectl("get", "persistentvolumeclaim", "fault-tolerant-cluster", "-o", "jsonpath={.status.phase}").Stdout; phase != "Bound" {
		t.Errorf("after the deletion of the Ray, the claim is %s", phase)
	}
	stored, err := os.ReadFile(filepath.Join(directory, "session_name"))
	if err != nil || string(stored) != session {
		t.Errorf("after the deletion of the Ray, the volume has the session %q, %v, want %s", stored, err, session)
	}
	o.step("the Ray is created again")
	u.change(u.sample(faultTolerantSample))
	if seen := o.waitReady(); seen.state.session != session {
		t.Errorf("the session of the new Ray is %s, want %s", seen.state.session, session)
	}
	u.kubectl("delete", "ray", o.name)
	waitNoPods(u)
}

// TestGCSInRedis is TestGCSOnVolume for a Redis with a password, from the package of Debian.
func TestGCSInRedis(t *testing.T) {
	u := newUser(t)
	u.change(fmt.Sprintf(redisManifest, cluster.Path("bin/redis"), image(*version)))
	u.kubectl("wait", "--for=condition=Available", "--timeout=60s", "deployment/redis")
	o := u.apply("ray-cluster", u.sample(shortSample, "spec:\n  head:\n", `spec:
  gcs:
    redis:
      address: redis:6379
      passwordSecretKeyRef: {name: redis, key: password}
  head:
`))
	o.waitReady()
	checkHeadReplacement(u, o)
	keys := u.kubectl("exec", "deployment/redis", "--", "/redis/usr/bin/redis-cli", "--no-auth-warning", "-a", "secret", "--scan").Stdout
	for key := range strings.Lines(keys) {
		if uid := string(o.observation().ray.UID); !strings.Contains(key, uid) {
			t.Errorf("the name of the key %q does not contain the UID %s of the Ray", key, uid)
		}
	}
	if keys == "" {
		t.Error("Redis has no keys")
	}
}

// checkHeadReplacement loses the head while an actor and a task run on workers, and checks that they go on.
func checkHeadReplacement(u *user, o *observer) {
	u.Helper()
	session, before := o.observation().state.session, restarts(u.pods(rayv1.RoleWorker))
	count := 1
	u.checkOutput(o.name, startActor, "1")
	for _, loss := range []struct {
		name string
		lose func(head *corev1.Pod)
	}{
		{"the head's container is killed", u.killContainer},
		{"the head's Pod is deleted", func(head *corev1.Pod) { u.kubectl("delete", "pod", head.Name, "--wait=false") }},
	} {
		o.step("%s", loss.name)
		head := u.pods(rayv1.RoleHead)[0]
		stop := countGCS(u)
		lost := time.Now()
		loss.lose(&head)
		after := o.eventually("all nodes are alive, and Ready is True", startTimeout, func(seen observation) bool {
			return seen.completeSince.After(lost) && seen.ready == corev1.ConditionTrue && seen.readySince.After(lost)
		})
		if most := stop(); most > 1 {
			u.Errorf("%s: %d GCS run at the same time", loss.name, most)
		}
		measured(u, loss.name+": lost, until all nodes are alive again", after.completeSince.Sub(lost), 0)
		measured(u, loss.name+": lost, until Ready is True again", after.readySince.Sub(lost), 0)
		if after.state.session != session {
			u.Errorf("%s: the session changes from %s to %s", loss.name, session, after.state.session)
		}
		count++
		u.checkOutput(o.name, useActor, strconv.Itoa(count))
	}
	var seconds float64
	if _, err := fmt.Sscan(u.python(o.name, endTask), &seconds); err != nil || seconds < 10 {
		u.Errorf("the task has run for %f seconds, %v, want it to run since before the head was lost", seconds, err)
	}
	for pod, restarts := range restarts(u.pods(rayv1.RoleWorker)) {
		if restarts != before[pod] {
			u.Errorf("the container of worker %s has restarted %d times", pod, restarts-before[pod])
		}
	}
}

// checkOutput checks what a program prints in the head's container.
func (u *user) checkOutput(ray, program, want string) {
	u.Helper()
	if got := strings.TrimSpace(u.python(ray, program)); got != want {
		u.Errorf("the program prints %q, want %q", got, want)
	}
}

// countGCS counts the GCS of the user's Pods until the returned function is called. That returns the largest number of
// GCS at any time.
func countGCS(u *user) (stop func() int) {
	most, done := 0, make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(rayv1.RoleHead)})
			count := 0
			for i := range list.Items {
				if slices.ContainsFunc(podProcesses(u, &list.Items[i]), isGCS) {
					count++
				}
			}
			if err == nil {
				most = max(most, count)
			}
			select {
			case <-done:
				return
			case <-time.After(pollInterval):
			}
		}
	})
	return func() int {
		close(done)
		running.Wait()
		return most
	}
}

func isGCS(p process) bool {
	return len(p.command) > 0 && filepath.Base(p.command[0]) == "gcs_server"
}

// waitNoPods waits until the Ray has no Pods.
func waitNoPods(u *user) {
	u.Helper()
	u.waitPods(rayv1.RoleHead, 0)
	u.waitPods(rayv1.RoleWorker, 0)
}

// createVolume creates a volume for a claim, in a directory of the machine, which is the node.
func (u *user) createVolume(claim, directory string) {
	u.Helper()
	u.change(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  claimRef: {namespace: %[1]s, name: %[2]s}
  hostPath: {path: %[3]s, type: Directory}
  persistentVolumeReclaimPolicy: Retain
`, u.namespace, claim, directory))
	u.Cleanup(func() {
		if err := cluster.Kube.CoreV1().PersistentVolumes().Delete(context.Background(), u.namespace, metav1.DeleteOptions{}); err != nil {
			u.Error(err)
		}
	})
}

// redisManifest has a Redis with a password. The arguments are the directory of its program and an image.
const redisManifest = `
apiVersion: v1
kind: Secret
metadata: {name: redis}
stringData: {password: secret}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{port: 6379}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      enableServiceLinks: false
      containers:
        - name: redis
          image: %[2]s
          imagePullPolicy: Never
          command: [/redis/usr/bin/redis-server, --requirepass, $(PASSWORD), --save, "", --protected-mode, "no", --dir, /tmp]
          env:
            - {name: LD_LIBRARY_PATH, value: /redis/usr/lib/x86_64-linux-gnu}
            - {name: PASSWORD, valueFrom: {secretKeyRef: {name: redis, key: password}}}
          readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}
          volumeMounts: [{name: redis, mountPath: /redis, readOnly: true}]
      volumes:
        - {name: redis, hostPath: {path: %[1]s, type: Directory}}
`
