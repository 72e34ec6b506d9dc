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
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestNewImage updates Ray from the oldest supported version to today's, with a broken image first.
func TestNewImage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	// The kubelet must not look for the broken image in a registry.
	manifest := func(tag string) string {
		return u.sample(shortSample, image(*version), image(tag)+"\n            imagePullPolicy: Never")
	}
	o := u.apply("ray-cluster", manifest(*oldestVersion))
	o.waitReady()
	workers := podUIDs(u.pods(rayv1.RoleWorker))

	o.step("a broken image")
	u.change(manifest("broken"))
	broken := o.eventually("the message names the broken image", startTimeout, func(seen observation) bool {
		return seen.ready != corev1.ConditionTrue && strings.Contains(seen.message, "broken")
	})
	t.Logf("Ready is %s: %s", broken.ready, broken.message)
	if got := podUIDs(u.pods(rayv1.RoleWorker)); !slices.Equal(got, workers) {
		t.Errorf("with a broken image of the head, the workers are %s, before they were %s", got, workers)
	}

	o.step("the image with Ray %s", *version)
	start := time.Now()
	u.change(manifest(*version))
	after := o.waitReady()
	measured(t, "new image, until all nodes are alive", after.completeSince.Sub(start), 0)
	measured(t, "new image: all nodes are alive, until Ready is True", after.readySince.Sub(after.completeSince), 0)
	checkNewPods(u, image(*version))
}

// checkNewPods checks that all Pods have an image, that the workers were created after the head was
// ready, and that they do not crash.
func checkNewPods(u *user, want string) {
	u.Helper()
	heads, workers := u.pods(rayv1.RoleHead), u.pods(rayv1.RoleWorker)
	for _, pod := range slices.Concat(heads, workers) {
		if got := pod.Spec.Containers[0].Image; got != want {
			u.Errorf("Pod %s has the image %s, want %s", pod.Name, got, want)
		}
	}
	for pod, count := range restarts(workers) {
		if count > 0 {
			u.Errorf("the container of the new worker %s has restarted %d times", pod, count)
		}
	}
	// An old worker that connects to the new head may crash its GCS, since Ray does not support nodes of
	// two versions. Then the head is ready for the second time.
	if count := restarts(heads)[heads[0].Name]; count > 0 {
		u.Logf("the container of the new head has restarted %d times", count)
		if count > 1 {
			u.Errorf("the container of the new head has restarted %d times", count)
		}
		return
	}
	for _, pod := range workers {
		if headReady := readyTime(&heads[0]); pod.CreationTimestamp.Time.Before(headReady) {
			u.Errorf("the new worker %s was created at %s, before the new head was ready at %s", pod.Name, pod.CreationTimestamp, headReady)
		}
	}
}

// podUIDs returns the sorted UIDs of Pods.
func podUIDs(pods []corev1.Pod) []string {
	var uids []string
	for i := range pods {
		uids = append(uids, string(pods[i].UID))
	}
	slices.Sort(uids)
	return uids
}

// readyTime returns when a Pod became ready.
func readyTime(pod *corev1.Pod) time.Time {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
