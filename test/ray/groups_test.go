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
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// workerGroup is a worker group at the end of the short sample.
const workerGroup = `
  workerGroups:
    - name: labeled
      start:
        labels: {capacity: spot}
        resources: {license: 1}
      template:
        spec:
          containers:
            - name: ray-worker
              image: rayproject/ray:2.60.0
              resources:
                limits:
                  cpu: "1"
                  memory: 2Gi
`

// TestWorkerGroup adds a worker group, runs a task that only its node can run, suspends the Ray, and
// resumes it.
func TestWorkerGroup(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	o := u.apply("ray-cluster", u.sample(shortSample, "replicas: 2", "replicas: 1")+workerGroup)
	seen := o.waitReady()
	want := map[string]int{"head": 1, "worker": 1, "labeled": 1}
	if groups := seen.state.groups(); !maps.Equal(groups, want) {
		t.Errorf("the nodes by group are %v, want %v", groups, want)
	}
	for _, node := range seen.state.nodes {
		isLabeled := node.group == "labeled"
		if (node.resources["license"] == 1) != isLabeled || (node.labels["capacity"] == "spot") != isLabeled {
			t.Errorf("the node of group %s has the resources %v and the labels %v", node.group, node.resources, node.labels)
		}
	}

	o.step("suspend")
	u.patch("ray-cluster", `{"spec":{"suspend":true}}`)
	u.kubectl("wait", "--for=condition=Suspended", "--timeout="+startTimeout.String(), "ray/ray-cluster")
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker, "worker-labeled"} {
		for _, pod := range u.pods(role) {
			// One that has ended uses nothing any more, and is only yet to be deleted.
			if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
				t.Errorf("Suspended is True, but a Pod of the %s is %s", role, pod.Status.Phase)
			}
		}
	}
	if now := o.observation(); now.ready != corev1.ConditionFalse {
		t.Errorf("the Ray is suspended, but Ready is %s", now.ready)
	}

	o.step("resume")
	u.patch("ray-cluster", `{"spec":{"suspend":false}}`)
	if groups := o.waitReady().state.groups(); !maps.Equal(groups, want) {
		t.Errorf("after the Ray has resumed, the nodes by group are %v, want %v", groups, want)
	}
}
