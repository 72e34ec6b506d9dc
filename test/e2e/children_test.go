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
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestRecreateDeletedChildren deletes each child.
func TestRecreateDeletedChildren(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	for _, child := range []string{"service/sample-cluster-head", "deployment/sample-cluster-head", "deployment/sample-cluster-worker"} {
		before := u.kubectl("get", child, "-o", "jsonpath={.metadata.uid}").Stdout
		u.kubectl("delete", child)
		u.eventually(child+" is recreated", func() error {
			out := u.try("", "get", child, "-o", "jsonpath={.metadata.uid}")
			if out.Err == nil && out.Stdout == before {
				return errors.New("it has the same UID")
			}
			return out.Err
		})
		u.waitHealthy("sample-cluster")
	}
}

// TestRevertExternalChanges changes fields of children that the operator manages.
func TestRevertExternalChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, child, patch string
		field, want        string // a JSONPath, and its value once the change is reverted
		event              string
	}{
		{
			"replicas of a Deployment", "deployment/sample-cluster-worker", `{"spec":{"replicas":7}}`,
			"{.spec.replicas}", "3", "revert external changes to its replicas",
		},
		{
			"image of a Deployment", "deployment/sample-cluster-head",
			`{"spec":{"template":{"spec":{"containers":[{"name":"ray-head","image":"mine"}]}}}}`,
			"{.spec.template.spec.containers[0].image}", "rayproject/examples:1", "revert external changes to its template",
		},
		{
			"variable of a Deployment", "deployment/sample-cluster-worker",
			`{"spec":{"template":{"spec":{"containers":[{"name":"ray-worker","env":[{"name":"RAY_HEAD_SERVICE","$patch":"delete"}]}]}}}}`,
			"{.spec.template.spec.containers[0].env[0].value}", "sample-cluster-head", "revert external changes to its template",
		},
		{
			"strategy of the head", "deployment/sample-cluster-head", `{"spec":{"strategy":{"type":"RollingUpdate"}}}`,
			"{.spec.strategy.type}", "Recreate", "revert external changes to its strategy",
		},
		{
			"label of a Deployment", "deployment/sample-cluster-head", `{"metadata":{"labels":{"ray.kubeflow.org/name":null}}}`,
			`{.metadata.labels.ray\.kubeflow\.org/name}`, "sample-cluster", "revert external changes to its labels",
		},
		{
			"value of a label of a Deployment", "deployment/sample-cluster-head", `{"metadata":{"labels":{"ray.kubeflow.org/role":"worker"}}}`,
			`{.metadata.labels.ray\.kubeflow\.org/role}`, "head", "revert external changes to its labels",
		},
		{
			"selector of the Service", "service/sample-cluster-head", `{"spec":{"selector":{"ray.kubeflow.org/role":"worker"}}}`,
			`{.spec.selector.ray\.kubeflow\.org/role}`, "head", "revert external changes to its selector",
		},
		{
			"type of the Service", "service/sample-cluster-head", `{"spec":{"type":"NodePort"}}`,
			"{.spec.type}{.spec.ports[0].nodePort}", "ClusterIP", "revert external changes to its type",
		},
		{
			"type of the Service, with fields that are valid only for that type", "service/sample-cluster-head",
			`{"metadata":{"annotations":{"service.beta.kubernetes.io/load-balancer-source-ranges":"10.0.0.0/8"}},` +
				`"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.0/8"],"externalTrafficPolicy":"Local"}}`,
			"{.spec.type}{.spec.loadBalancerSourceRanges}", "ClusterIP", "revert external changes to its type",
		},
		{
			"port of the Service", "service/sample-cluster-head", `{"spec":{"ports":[{"port":6379,"name":"redis"}]}}`,
			"{.spec.ports[?(@.port==6379)].name}", "gcs", "revert external changes to its ports",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample()
			u.kubectl("patch", test.child, "--type=strategic", "-p", test.patch)
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", test.event)
			if got := u.kubectl("get", test.child, "-o", "jsonpath="+test.field).Stdout; got != test.want {
				t.Errorf("%s of %s is %q, want %q", test.field, test.child, got, test.want)
			}
			u.waitHealthy("sample-cluster")
		})
	}
}

// TestKeepUnmanagedFields adds fields to children that the operator does not manage. They stay,
// even when other fields of the same child are reverted, until the user changes the template.
func TestKeepUnmanagedFields(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	mark := markAudit(t)
	u.kubectl("patch", "deployment", "sample-cluster-worker", "--type=strategic", "-p",
		`{"metadata":{"annotations":{"example.com/note":"mine"}},"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"sidecar:1"}]}}}}`)
	u.kubectl("annotate", "service", "sample-cluster-head", "example.com/note=mine")
	u.kubectl("rollout", "status", "deployment", "sample-cluster-worker")
	u.waitHealthy("sample-cluster")
	for _, write := range operatorWrites(t, mark, u.namespace) {
		if write.ObjectRef.Resource != "rays" {
			t.Errorf("the operator updated a child because of unmanaged fields: %v", write)
		}
	}

	u.kubectl("set", "image", "deployment/sample-cluster-worker", "ray-worker=mine")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "revert external changes to its template")
	if got := containerNames(u.deployment("sample-cluster-worker")); !slices.Equal(got, []string{"sidecar", "ray-worker"}) {
		t.Errorf("after a change was reverted, the containers are %v, want the sidecar in its place", got)
	}
	u.waitHealthy("sample-cluster")

	u.setImage(rayv1.RoleWorker, "rayproject/examples:2")
	u.waitHealthy("sample-cluster")
	if got := containerNames(u.deployment("sample-cluster-worker")); !slices.Equal(got, []string{"ray-worker"}) {
		t.Errorf("after the user changed the template, the containers are %v", got)
	}
}

func containerNames(deployment *appsv1.Deployment) []string {
	var names []string
	for _, container := range deployment.Spec.Template.Spec.Containers {
		names = append(names, container.Name)
	}
	return names
}

// TestAlreadyExists creates a Ray while objects that it does not control have the names of its
// children. They are not changed, and the Ray recovers once they are deleted.
func TestAlreadyExists(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind, child, manifest string
	}{
		{"Service", "service/sample-cluster-head", `
apiVersion: v1
kind: Service
metadata: {name: sample-cluster-head}
spec: {selector: {app: mine}, ports: [{port: 80}]}`},
		{"Deployment", "deployment/sample-cluster-head", newDeployment("sample-cluster-head", "")},
		{"Deployment", "deployment/sample-cluster-worker", newDeployment("sample-cluster-worker",
			"labels: {ray.kubeflow.org/name: sample-cluster, ray.kubeflow.org/role: worker}")},
	} {
		t.Run(test.child, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.kubectlWith(test.manifest, "apply", "-f", "-")
			_, name, _ := strings.Cut(test.child, "/")
			before := u.kubectl("get", test.child, "-o", "jsonpath={.spec}{.metadata.labels}{.metadata.ownerReferences}").Stdout

			u.kubectl("apply", "-f", cluster.Path(sampleManifest))
			text := fmt.Sprintf("%s %q already exists and is not controlled by this Ray; delete it or rename the Ray", test.kind, name)
			if health := u.waitHealth("sample-cluster", corev1.ConditionFalse, text); health.Reason != "AlreadyExists" {
				t.Errorf("the reason is %s, want AlreadyExists", health.Reason)
			}
			u.waitEvent("sample-cluster", "Warning", "AlreadyExists", text)
			if after := u.kubectl("get", test.child, "-o", "jsonpath={.spec}{.metadata.labels}{.metadata.ownerReferences}").Stdout; after != before {
				t.Errorf("%s was %s and is %s", test.child, before, after)
			}

			u.kubectl("delete", test.child)
			u.waitHealthy("sample-cluster")
		})
	}
}

// newDeployment returns the manifest of a Deployment that is unrelated to any Ray.
func newDeployment(name, labels string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %s
  %s
spec:
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec: {containers: [{name: mine, image: mine}]}`, name, labels)
}

// TestMutatingAdmission has a policy change children when the operator writes them, as a mutating
// webhook does. The operator accepts the values set by admission, even after a restart.
func TestMutatingAdmission(t *testing.T) {
	u := newUser(t)
	u.kubectlWith(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: change-children}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        expression: >-
          [JSONPatch{op: "add", path: "/metadata/labels/team", value: "a"},
          JSONPatch{op: "replace", path: "/spec/replicas", value: object.spec.replicas > 2 ? 2 : object.spec.replicas},
          JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example.com/ray"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: change-children}
spec: {policyName: change-children}
`, u.namespace), "apply", "-f", "-")
	t.Cleanup(func() {
		u.delete("mutatingadmissionpolicy,mutatingadmissionpolicybinding", "change-children")
	})
	u.eventually("the policy is enforced", func() error {
		out := u.try(newDeployment("probe", "labels: {app: mine}"), "create", "--dry-run=server", "-o", "jsonpath={.spec.template.spec.containers[0].image}", "-f", "-")
		if out.Stdout != "mirror.example.com/ray" {
			return fmt.Errorf("the image is %q %s", out.Stdout, out.Stderr)
		}
		return nil
	})

	u.kubectl("apply", "-f", cluster.Path(sampleManifest))
	u.waitHealth("sample-cluster", corev1.ConditionFalse, "worker: 2 of 3 available")
	checkNoWrites := func(when string) {
		t.Helper()
		mark := markAudit(t)
		time.Sleep(5 * time.Second)
		if writes := operatorWrites(t, mark, u.namespace); len(writes) > 0 {
			t.Errorf("%s, the operator made writes: %v", when, writes)
		}
	}
	u.waitSteady()
	checkNoWrites("in the steady state")
	kill(t, operator)
	start(t, operator)
	checkNoWrites("after a restart")

	u.kubectl("scale", "ray/sample-cluster", "--replicas=1")
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "deployment/sample-cluster-worker", "--replicas=2")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "revert external changes to its replicas")
	u.waitHealthy("sample-cluster")
}
