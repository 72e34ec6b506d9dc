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

// TestChildDeleted deletes each child by hand: it comes back.
func TestChildDeleted(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	for _, child := range []string{"service/sample-cluster-head", "deployment/sample-cluster-head", "deployment/sample-cluster-worker"} {
		before := u.kubectl("get", child, "-o", "jsonpath={.metadata.uid}").stdout
		u.kubectl("delete", child)
		u.eventually(child+" is back", func() error {
			out := u.try("", "get", child, "-o", "jsonpath={.metadata.uid}")
			if out.err == nil && out.stdout == before {
				return errors.New("it is the old one")
			}
			return out.err
		})
		u.waitHealthy("sample-cluster")
	}
}

// TestChildEdited edits children by hand. What the operator had set is put back, and the
// user is told so.
func TestChildEdited(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, child, patch string
		fixed              string // a JSONPath
		want, event        string
	}{
		{
			"scaling a Deployment", "deployment/sample-cluster-worker", `{"spec":{"replicas":7}}`,
			"{.spec.replicas}", "3", "undo a change by somebody else of its replicas",
		},
		{
			"the image of a Deployment", "deployment/sample-cluster-head",
			`{"spec":{"template":{"spec":{"containers":[{"name":"ray-head","image":"mine"}]}}}}`,
			"{.spec.template.spec.containers[0].image}", "rayproject/examples:1", "undo a change by somebody else of its template",
		},
		{
			"a variable of a Deployment", "deployment/sample-cluster-worker",
			`{"spec":{"template":{"spec":{"containers":[{"name":"ray-worker","env":[{"name":"RAY_HEAD_SERVICE","$patch":"delete"}]}]}}}}`,
			"{.spec.template.spec.containers[0].env[0].value}", "sample-cluster-head", "undo a change by somebody else of its template",
		},
		{
			"the strategy of the head", "deployment/sample-cluster-head", `{"spec":{"strategy":{"type":"RollingUpdate"}}}`,
			"{.spec.strategy.type}", "Recreate", "undo a change by somebody else of its strategy",
		},
		{
			"a label of a Deployment", "deployment/sample-cluster-head", `{"metadata":{"labels":{"ray.kubeflow.org/name":null}}}`,
			`{.metadata.labels.ray\.kubeflow\.org/name}`, "sample-cluster", "undo a change by somebody else of its labels",
		},
		{
			"an annotation of a Deployment", "deployment/sample-cluster-head", `{"metadata":{"annotations":{"ray.kubeflow.org/ray-generation":"99"}}}`,
			`{.metadata.annotations.ray\.kubeflow\.org/ray-generation}`, "1", "undo a change by somebody else of its annotations",
		},
		{
			"the selector of the Service", "service/sample-cluster-head", `{"spec":{"selector":{"ray.kubeflow.org/role":"worker"}}}`,
			`{.spec.selector.ray\.kubeflow\.org/role}`, "head", "undo a change by somebody else of its selector",
		},
		{
			"the type of the Service", "service/sample-cluster-head", `{"spec":{"type":"NodePort"}}`,
			"{.spec.type}{.spec.ports[0].nodePort}", "ClusterIP", "undo a change by somebody else of its type",
		},
		{
			"the type of the Service, with what is valid beside it alone", "service/sample-cluster-head",
			`{"metadata":{"annotations":{"service.beta.kubernetes.io/load-balancer-source-ranges":"10.0.0.0/8"}},` +
				`"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.0/8"],"externalTrafficPolicy":"Local"}}`,
			"{.spec.type}{.spec.loadBalancerSourceRanges}", "ClusterIP", "undo a change by somebody else of its type",
		},
		{
			"a port of the Service", "service/sample-cluster-head", `{"spec":{"ports":[{"port":6379,"name":"redis"}]}}`,
			"{.spec.ports[?(@.port==6379)].name}", "gcs", "undo a change by somebody else of its ports",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.runSeed()
			u.kubectl("patch", test.child, "--type=strategic", "-p", test.patch)
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", test.event)
			if got := u.kubectl("get", test.child, "-o", "jsonpath="+test.fixed).stdout; got != test.want {
				t.Errorf("%s of %s is %q, want %q", test.fixed, test.child, got, test.want)
			}
			u.waitHealthy("sample-cluster")
		})
	}
}

// TestChildExtended adds to children what the operator does not set. It is left alone, also
// when something else of the same child is put back, until the user changes the template.
func TestChildExtended(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	mark := markAudit(t)
	u.kubectl("patch", "deployment", "sample-cluster-worker", "--type=strategic", "-p",
		`{"metadata":{"annotations":{"example.com/note":"mine"}},"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"sidecar:1"}]}}}}`)
	u.kubectl("annotate", "service", "sample-cluster-head", "example.com/note=mine")
	u.kubectl("rollout", "status", "deployment", "sample-cluster-worker")
	u.waitHealthy("sample-cluster")
	for _, write := range operatorWrites(t, mark, u.namespace) {
		if write.ObjectRef.Resource != "rays" {
			t.Errorf("the operator meddled with what it does not set: %v", write)
		}
	}

	u.kubectl("set", "image", "deployment/sample-cluster-worker", "ray-worker=mine")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "undo a change by somebody else of its template")
	if got := containerNames(u.deployment("sample-cluster-worker")); !slices.Equal(got, []string{"ray-worker", "sidecar"}) {
		t.Errorf("after a change was undone the containers are %v", got)
	}
	u.waitHealthy("sample-cluster")

	u.setImage(rayv1.RoleWorker, "rayproject/examples:2")
	u.waitHealthy("sample-cluster")
	if got := containerNames(u.deployment("sample-cluster-worker")); !slices.Equal(got, []string{"ray-worker"}) {
		t.Errorf("after the user changed the template the containers are %v", got)
	}
}

func containerNames(deployment *appsv1.Deployment) []string {
	var names []string
	for _, container := range deployment.Spec.Template.Spec.Containers {
		names = append(names, container.Name)
	}
	return names
}

// TestNameTaken creates a Ray whose children's names others have: they are not touched,
// the user is told, and all heals when the name is free.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		child, manifest string
	}{
		{"service/sample-cluster-head", `
apiVersion: v1
kind: Service
metadata: {name: sample-cluster-head}
spec: {selector: {app: mine}, ports: [{port: 80}]}`},
		{"deployment/sample-cluster-head", foreignDeployment("sample-cluster-head", "")},
		{"deployment/sample-cluster-worker", foreignDeployment("sample-cluster-worker",
			"labels: {ray.kubeflow.org/name: sample-cluster, ray.kubeflow.org/role: worker}")},
	} {
		t.Run(test.child, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.kubectlWith(test.manifest, "apply", "-f", "-")
			kind, name, _ := strings.Cut(test.child, "/")
			before := u.kubectl("get", test.child, "-o", "jsonpath={.spec}{.metadata.labels}{.metadata.ownerReferences}").stdout

			u.kubectl("apply", "-f", path(seedManifest))
			text := fmt.Sprintf("the name of the %s %s is taken", kind, name)
			if health := u.waitHealth("sample-cluster", corev1.ConditionFalse, text); health.Reason != "NameTaken" {
				t.Errorf("the reason is %s, want NameTaken", health.Reason)
			}
			u.waitEvent("sample-cluster", "Warning", "NameTaken", text)
			if after := u.kubectl("get", test.child, "-o", "jsonpath={.spec}{.metadata.labels}{.metadata.ownerReferences}").stdout; after != before {
				t.Errorf("%s was %s and is %s", test.child, before, after)
			}

			u.kubectl("delete", test.child)
			u.waitHealthy("sample-cluster")
		})
	}
}

func foreignDeployment(name, labels string) string {
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

// TestAdmissionRewrites has the API server rewrite children when the operator writes them,
// as a mutating webhook does. That is not fought over, also not by a new operator.
func TestAdmissionRewrites(t *testing.T) {
	u := newUser(t)
	u.kubectlWith(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: rewrite-children}
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
metadata: {name: rewrite-children}
spec: {policyName: rewrite-children}
`, u.namespace), "apply", "-f", "-")
	t.Cleanup(func() {
		u.delete("mutatingadmissionpolicy,mutatingadmissionpolicybinding", "rewrite-children")
	})
	u.eventually("the policy is in force", func() error {
		out := u.try(foreignDeployment("probe", "labels: {app: mine}"), "create", "--dry-run=server", "-o", "jsonpath={.spec.template.spec.containers[0].image}", "-f", "-")
		if out.stdout != "mirror.example.com/ray" {
			return fmt.Errorf("the image is %q %s", out.stdout, out.stderr)
		}
		return nil
	})

	u.kubectl("apply", "-f", path(seedManifest))
	u.waitHealth("sample-cluster", corev1.ConditionFalse, "worker: 2 of 3 available")
	quiet := func(when string) {
		t.Helper()
		mark := markAudit(t)
		time.Sleep(5 * time.Second)
		if writes := operatorWrites(t, mark, u.namespace); len(writes) > 0 {
			t.Errorf("%s the operator wrote %v", when, writes)
		}
	}
	u.comesToRest()
	quiet("at rest")
	operator.kill(t)
	operator.restart(t)
	quiet("after a restart")

	u.kubectl("scale", "ray/sample-cluster", "--replicas=1")
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "deployment/sample-cluster-worker", "--replicas=2")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "undo a change by somebody else of its replicas")
	u.waitHealthy("sample-cluster")
}
