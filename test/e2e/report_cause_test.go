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
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestCauses creates Rays with a head or workers that do not become available, for one cause each, and
// checks that Health names it. Statuses that only a kubelet sets are set by the test.
func TestCauses(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	node := u.newNode()
	tests := causes(metav1.NewTime(time.Now().Add(-time.Minute)))
	for i, test := range tests {
		head := test.head
		if test.status != nil {
			head = fmt.Sprintf("nodeName: %s, terminationGracePeriodSeconds: 0, %s", node, head)
		}
		u.kubectlWith(smallRay(fmt.Sprintf("c%d", i), head, 4, test.worker), "create", "-f", "-")
	}
	for i, test := range tests {
		if test.status != nil {
			u.setPodStatus(fmt.Sprintf("c%d", i), rayv1.RoleHead, test.status)
		}
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u := &user{T: t, namespace: u.namespace}
			u.waitMatch(fmt.Sprintf("c%d", i), "PodFailure", test.want)
		})
	}
	for i, test := range tests {
		if test.status != nil {
			u.setPodStatus(fmt.Sprintf("c%d", i), rayv1.RoleHead, setRunning)
		}
	}
	for i, test := range tests {
		if test.status != nil {
			u.waitHealthy(fmt.Sprintf("c%d", i))
		}
	}
}

// causeTest is a Ray that does not become available.
type causeTest struct {
	name string
	// head and worker are specs of Pods. If worker is not empty, there are four.
	head, worker string
	// status sets the status of the head's Pod as a kubelet does. If it is nil, the Pods are left to the
	// scheduler and to kwok.
	status func(*corev1.Pod)
	// want is a regular expression for the message.
	want string
}

// causes returns the tests. Steps that take long have started at a time.
func causes(started metav1.Time) []causeTest {
	const plain = "containers: [{name: ray-head, image: a}]"
	exact := func(message string) string { return "^" + regexp.QuoteMeta(message) + "$" }
	return []causeTest{
		{
			name: "unschedulable workers", head: plain,
			worker: `containers: [{name: ray-worker, image: a, resources: {limits: {nvidia.com/gpu: 1}}}]`,
			want:   `^worker: 0 of 4 available: 4 Pods unschedulable: 0/\d+ nodes are available: .*Insufficient nvidia\.com/gpu`,
		},
		{
			name: "one unschedulable worker of four", head: plain,
			worker: `containers: [{name: ray-worker, image: a}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: ` +
				`[{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {ray.kubeflow.org/name: c1, ray.kubeflow.org/role: worker}}}]}}`,
			want: `^worker: 3 of 4 available: unschedulable: 0/\d+ nodes are available: .*didn't match pod anti-affinity rules`,
		},
		{
			name: "missing PersistentVolumeClaim",
			head: plain + `, volumes: [{name: models, persistentVolumeClaim: {claimName: models}}]`,
			want: `^head: 0 of 1 available: unschedulable: .*persistentvolumeclaim "models" not found`,
		},
		{
			name: "scheduling gate", head: plain + `, schedulingGates: [{name: example.com/queue}]`,
			want: exact("head: 0 of 1 available: waiting for scheduling gates: example.com/queue"),
		},
		{
			name: "crash", head: plain, status: setCrashed,
			want: exact(`head: 0 of 1 available: container "ray-head" exited with 2: Error: No such option '--redis-port'`),
		},
		{
			name: "out of memory", head: plain,
			status: waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container", 137, "OOMKilled", "Starting Ray"),
			want:   exact(`head: 0 of 1 available: container "ray-head" exited with 137 (OOMKilled)`),
		},
		{
			name: "image", head: "containers: [{name: ray-head, image: registry.example.com/ray:0}]",
			status: waiting("ImagePullBackOff", `Back-off pulling image "registry.example.com/ray:0": ErrImagePull: rpc error: code = NotFound desc = `+
				`failed to pull and unpack image "registry.example.com/ray:0": failed to resolve reference "registry.example.com/ray:0": registry.example.com/ray:0: not found`, 0, "", ""),
			want: exact(`head: 0 of 1 available: container "ray-head" cannot pull image "registry.example.com/ray:0": registry.example.com/ray:0: not found`),
		},
		{
			name: "init container", head: "initContainers: [{name: download, image: a}], " + plain,
			status: func(pod *corev1.Pod) {
				waiting("CrashLoopBackOff", "back-off 10s restarting failed container", 1, "Error", "curl: (6) Could not resolve host: models.example.com\n")(pod)
				pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses = pod.Status.ContainerStatuses, nil
				pod.Status.InitContainerStatuses[0].Name = "download"
			},
			want: exact(`head: 0 of 1 available: init container "download" exited with 1: curl: (6) Could not resolve host: models.example.com`),
		},
		{
			name: "missing Secret", head: plain,
			status: waiting("CreateContainerConfigError", `secret "ray-token" not found`, 0, "", ""),
			want:   exact(`head: 0 of 1 available: container "ray-head" cannot start: secret "ray-token" not found`),
		},
		{
			name: "readiness probe", head: "containers: [{name: ray-head, image: a, readinessProbe: {httpGet: {port: 8265}}}]",
			status: func(pod *corev1.Pod) {
				setRunning(pod)
				setReady(pod, corev1.ConditionFalse)
				pod.Status.ContainerStatuses[0].Ready = false
				pod.Status.ContainerStatuses[0].State.Running.StartedAt = started
			},
			want: exact(`head: 0 of 1 available: container "ray-head" is not ready: its readiness probe fails`),
		},
		{
			name: "volume that is not mounted", head: plain + `, volumes: [{name: models, nfs: {server: nfs.example.com, path: /}}]`,
			status: func(pod *corev1.Pod) {
				waiting("ContainerCreating", "", 0, "", "")(pod)
				pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: started}}
			},
			want: exact(`head: 0 of 1 available: waiting for volumes or network (volumes "models")`),
		},
		{
			name: "readiness gate", head: plain + `, readinessGates: [{conditionType: example.com/registered}]`,
			status: func(pod *corev1.Pod) {
				setRunning(pod)
				for i := range pod.Status.Conditions {
					condition := &pod.Status.Conditions[i]
					condition.LastTransitionTime = started
					if condition.Type == corev1.PodReady || condition.Type == "example.com/registered" {
						condition.Status = corev1.ConditionFalse
					}
				}
			},
			want: exact("head: 0 of 1 available: waiting for readiness gates: example.com/registered"),
		},
	}
}

// TestReplicaSetRejected has the API server reject the ReplicaSets of a Ray. The Deployment controller
// reports this only in the condition Progressing.
func TestReplicaSetRejected(t *testing.T) {
	t.Parallel()
	t.Run("quota", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.setQuota("count/replicasets.apps", "0")
		u.checkReplicaSetRejected("exceeded quota: only", func() { u.setQuota("count/replicasets.apps", "10") })
	})
	t.Run("policy", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.rejectReplicaSets()
		u.checkReplicaSetRejected("no replicasets here", func() {
			u.kubectl("delete", "validatingadmissionpolicybinding", u.namespace)
		})
	})
}

// checkReplicaSetRejected creates a Ray, checks that it reports the cause once, and ends the cause.
func (u *user) checkReplicaSetRejected(cause string, end func()) {
	u.Helper()
	u.kubectl("apply", "-f", cluster.Path(sampleManifest))
	u.waitMatch("sample-cluster", "ReplicaFailure",
		`^head: Deployment "sample-cluster-head" could not create a ReplicaSet: .*`+cause+`.*worker: Deployment "sample-cluster-worker" could not create a ReplicaSet: .*`+cause)
	u.waitEvent("sample-cluster", "Warning", "ReplicaFailure", cause)
	u.waitSteady()
	u.checkOneWarning("sample-cluster", "ReplicaFailure")
	end()
	u.waitHealthy("sample-cluster")
}

// rejectReplicaSets adds a policy that rejects ReplicaSets in the user's namespace.
func (u *user) rejectReplicaSets() {
	u.Helper()
	u.kubectlWith(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [replicasets]}
  validations: [{expression: "false", message: no replicasets here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}`, u.namespace), "apply", "-f", "-")
	u.Cleanup(func() {
		u.delete("--ignore-not-found", "validatingadmissionpolicy,validatingadmissionpolicybinding", u.namespace)
	})
	const probe = `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: probe}
spec:
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec: {containers: [{name: mine, image: mine}]}`
	u.eventually("the policy is enforced", func() error {
		return wantText(u.try(probe, "create", "--dry-run=server", "-f", "-").Stderr, "no replicasets here")
	})
}

// smallRay returns the manifest of a Ray with a head, and workers if the spec of their Pods is not empty.
// Specs are items of a YAML flow mapping.
func smallRay(name, head string, workers int, worker string) string {
	manifest := fmt.Sprintf(`
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: %s}
spec:
  head: {template: {spec: {%s}}}`, name, head)
	if worker != "" {
		manifest += fmt.Sprintf("\n  worker: {replicas: %d, template: {spec: {%s}}}", workers, worker)
	}
	return manifest
}

// waitProblem waits until Health is False with a reason and a message.
func (u *user) waitProblem(ray, reason, message string) {
	u.Helper()
	u.waitMatch(ray, reason, "^"+regexp.QuoteMeta(message)+"$")
}

// waitMatch is waitProblem with a regular expression for the message.
func (u *user) waitMatch(ray, reason, pattern string) {
	u.Helper()
	match := regexp.MustCompile(pattern)
	u.eventually(fmt.Sprintf("Health of %s is False, %s, %s", ray, reason, pattern), func() error {
		health := condition(u.ray(ray), rayv1.RayHealth)
		if health.Status != corev1.ConditionFalse || health.Reason != reason || !match.MatchString(health.Message) {
			return fmt.Errorf("it is %s, %s, %q", health.Status, health.Reason, health.Message)
		}
		return nil
	})
}

// checkOneWarning waits for a warning about a Ray, which follows the status, and checks that there is exactly
// one with the reason, recorded once.
func (u *user) checkOneWarning(ray, reason string) {
	u.Helper()
	u.waitEvent(ray, "Warning", reason, "")
	events, err := cluster.Kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray,involvedObject.name=" + ray})
	if err != nil {
		u.Fatal(err)
	}
	var found []string
	for _, event := range events.Items {
		if event.Type == corev1.EventTypeWarning && event.Reason == reason {
			found = append(found, fmt.Sprintf("%d times %q", event.Count, event.Message))
		}
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], "1 times ") {
		u.Errorf("the warnings %s are %v, want one", reason, found)
	}
}
