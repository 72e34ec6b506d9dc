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
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// mirror is the registry to which a policy redirects all images.
const mirror = "mirror.example.com/"

// TestAdmissionOfTemplates has a policy rewrite the images of Deployments on creation, on updates, or on
// both. Whatever it does, nothing restarts and nothing is written later, nobody is blamed for what
// admission did, and changes that other clients make are reverted.
func TestAdmissionOfTemplates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		operations string
		// mirrored says whether the image is rewritten when the Ray gets a new one.
		mirrored bool
	}{
		{"CREATE", false},
		{"UPDATE", true},
		{"CREATE, UPDATE", true},
	} {
		t.Run(test.operations, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.mirrorImages(test.operations)
			u.applySample("replicas: 3", "replicas: 1")
			if test.operations == "UPDATE" {
				// The first update by any client has the policy rewrite the image, which restarts the Pods.
				u.kubectl("annotate", "deployments", "--all", "example.com/note=first")
				u.waitWorkerImage(mirror + "rayproject/examples:1")
				u.checkNotBlamed()
			}
			u.checkNothingHappens()

			// Scaling does not change the template.
			before := u.podState()
			u.kubectl("scale", "ray/sample-cluster", "--replicas=2")
			u.waitHealthy("sample-cluster")
			u.checkUnchanged(before, "scaling")
			u.checkNotBlamed()

			want := "rayproject/examples:2"
			if test.mirrored {
				want = mirror + want
			}
			u.setImage(rayv1.RoleWorker, "rayproject/examples:2")
			u.waitWorkerImage(want)
			u.checkNothingHappens()
			u.checkNotBlamed()

			u.kubectl("set", "image", "deployment/sample-cluster-worker", "ray-worker=mine")
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "revert external changes to its template")
			u.waitWorkerImage(want)
		})
	}
}

// TestDroppedFields creates a Ray with a field that the API server drops, since its feature is disabled.
func TestDroppedFields(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// spec is the beginning of the spec of the workers' Pods.
		spec string
	}{
		{"field of the Pod", "schedulingGroup: {podGroupName: workers}, containers: [{name: ray-worker, image: a, command: [ray]}]"},
		{"field of a container", "containers: [{name: ray-worker, image: a, command: [ray], livenessProbe: {httpGet: {port: 8265, protocol: H2C}}}]"},
		{"field of a volume", "containers: [{name: ray-worker, image: a, command: [ray]}], volumes: [{name: shm, emptyDir: {medium: Memory, mode: 448}}]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.kubectlWith(smallRay("sample-cluster", "containers: [{name: ray-head, image: a, command: [ray]}]", 1, test.spec), "create", "-f", "-")
			u.waitHealthy("sample-cluster")
			worker := u.deployment("sample-cluster-worker").Spec.Template.Spec
			for _, volume := range worker.Volumes {
				if volume.EmptyDir.Mode != nil {
					t.Fatal("the API server keeps the field: test another one")
				}
			}
			if probe := worker.Containers[0].LivenessProbe; worker.SchedulingGroup != nil || probe != nil && probe.HTTPGet.Protocol != nil {
				t.Fatal("the API server keeps the field: test another one")
			}
			u.checkNothingHappens()
			u.checkNotBlamed()

			u.kubectl("set", "image", "deployment/sample-cluster-worker", "ray-worker=mine")
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "revert external changes to its template")
			u.waitWorkerImage("a")
			u.checkNothingHappens()
		})
	}
}

// checkNothingHappens waits for the steady state. Then it has another client annotate the children, and
// checks that no Pod template and no Pod changes, and that the operator writes nothing.
func (u *user) checkNothingHappens() {
	u.Helper()
	u.waitHealthy("sample-cluster")
	u.waitSteady()
	before := u.podState()
	mark := markAudit(u.T)
	u.kubectl("annotate", "deployments,services", "--all", "--overwrite", fmt.Sprintf("example.com/note=%d", mark))
	time.Sleep(5 * time.Second)
	if writes := operatorWrites(u.T, mark, u.namespace); len(writes) > 0 {
		u.Errorf("after another client annotated the children, the operator made writes: %v", writes)
	}
	u.checkUnchanged(before, "annotating the children")
}

// checkNotBlamed checks that no event says that another client has changed a child.
func (u *user) checkNotBlamed() {
	u.Helper()
	events, err := cluster.Kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray"})
	if err != nil {
		u.Fatal(err)
	}
	for _, event := range events.Items {
		if strings.Contains(event.Message, "external changes") || event.Type == corev1.EventTypeWarning {
			u.Errorf("an event blames another client: %s %s", event.Reason, event.Message)
		}
	}
}

// waitWorkerImage waits until the workers run an image.
func (u *user) waitWorkerImage(image string) {
	u.Helper()
	u.eventually("the workers have the image "+image, func() error {
		worker := u.deployment("sample-cluster-worker")
		if got := worker.Spec.Template.Spec.Containers[0].Image; got != image || !isRolled(worker) {
			return fmt.Errorf("the image is %s, the status is %v", got, worker.Status)
		}
		return nil
	})
	u.waitHealthy("sample-cluster")
}

// mirrorImages adds a policy that rewrites the images of Deployments in the user's namespace.
func (u *user) mirrorImages(operations string) {
	u.Helper()
	u.kubectlWith(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [%[2]s], resources: [deployments]}
  matchConditions:
    - {name: other-registry, expression: '!object.spec.template.spec.containers[0].image.startsWith("%[3]s")'}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          [JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image",
          value: "%[3]s" + object.spec.template.spec.containers[0].image}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s}
`, u.namespace, operations, mirror), "apply", "-f", "-")
	u.Cleanup(func() { u.delete("mutatingadmissionpolicy,mutatingadmissionpolicybinding", u.namespace) })
	probe := newDeployment("probe", "labels: {app: mine}")
	args := []string{"create", "--dry-run=server", "-o", "jsonpath={.spec.template.spec.containers[0].image}", "-f", "-"}
	if operations == "UPDATE" {
		u.kubectlWith(probe, "create", "-f", "-")
		args[0] = "apply"
		probe = strings.Replace(probe, "image: mine", "image: mine:2", 1)
	}
	u.eventually("the policy is enforced", func() error {
		out := u.try(probe, args...)
		if !strings.HasPrefix(out.Stdout, mirror) {
			return fmt.Errorf("the image is %q %s", out.Stdout, out.Stderr)
		}
		return nil
	})
	if operations == "UPDATE" {
		u.kubectl("delete", "deployment", "probe")
	}
}
