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
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// TestUpgrade upgrades to a later version and back while Rays run. The later version renders Pods
// differently and has a status field that the CustomResourceDefinition lacks (next.txt).
func TestUpgrade(t *testing.T) {
	stopOperator(t)
	u := newUser(t)
	current := newOperator(t, "current", "--leader-elect")
	next := newOperator(t, "next", "--leader-elect")
	next.Binary = cluster.Path("bin/ray-operator-next")
	start(t, current)
	u.createHealthy(20)
	before := u.podState()

	start(t, next)
	failOver(t, current, next)
	u.kubectl("scale", "ray/r0", "--replicas=2") // The other Rays are synced earlier.
	u.waitHealthy("r0")
	u.checkUnchanged(before, "the upgrade")
	u.waitSteady() // although the CustomResourceDefinition is older

	u.kubectl("patch", "ray", "r1", "--type=json", "-p", `[{"op":"replace","path":"/spec/head/template/spec/containers/0/image","value":"rayproject/examples:2"}]`)
	u.waitHealthy("r1")
	env := u.deployment("r1-head").Spec.Template.Spec.Containers[0].Env
	if got := env[len(env)-1].Name; got != "RAY_NEXT" {
		t.Errorf("the template that the user changed has %s as its last variable, want RAY_NEXT of the later version", got)
	}
	changed := u.podState()
	for name := range before {
		if !strings.HasPrefix(name, "Deployment r1-head") && !strings.HasPrefix(name, "Pod r1-head") && changed[name] != before[name] {
			t.Errorf("%s was replaced because the head of r1 changed", name)
		}
	}

	start(t, current)
	failOver(t, next, current)
	u.kubectl("scale", "ray/r0", "--replicas=3")
	u.waitHealthy("r0")
	u.checkUnchanged(changed, "the downgrade")
}

// TestNewerSchema uses a CustomResourceDefinition that is newer than the operator. The operator keeps
// the fields that it does not know.
func TestNewerSchema(t *testing.T) {
	const (
		crd       = "rays.ray.kubeflow.org"
		headNote  = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/head/properties/note"
		phasePath = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/phase"
	)
	u := newUser(t)
	u.kubectl("patch", "crd", crd, "--type=json", "-p",
		fmt.Sprintf(`[{"op":"add","path":%q,"value":{"type":"string"}},{"op":"add","path":%q,"value":{"type":"string","default":"New"}}]`, headNote, phasePath))
	t.Cleanup(func() {
		patch := fmt.Sprintf(`[{"op":"remove","path":%q},{"op":"remove","path":%q}]`, headNote, phasePath)
		if out := cluster.Kubectl(context.Background(), "", "patch", "crd", crd, "--type=json", "-p", patch); out.Err != nil {
			t.Error(out.Err)
		}
	})
	u.eventually("the newer schema is served", func() error {
		return u.try(u.sample("  head:\n", "  head:\n    note: mine\n"), "apply", "-f", "-").Err
	})
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")
	if got := u.kubectl("get", "ray", "sample-cluster", "-o", "jsonpath={.spec.head.note} {.status.phase}").Stdout; got != "mine New" {
		t.Errorf("unknown fields: got %q, want %q", got, "mine New")
	}
}

// failOver stops the leader and waits until a standby leads.
func failOver(t *testing.T, leader, standby *harness.Operator) {
	t.Helper()
	before := strings.Count(readFile(t, standby.Log), "Starting workers")
	leader.Stop()
	harness.Eventually(t, "the other version leads", func() error {
		if strings.Count(readFile(t, standby.Log), "Starting workers") == before {
			return fmt.Errorf("the log is %s", standby.Log)
		}
		return nil
	})
}

// createHealthy creates Rays with one worker each and waits until they are healthy.
func (u *user) createHealthy(count int) {
	u.Helper()
	var manifests strings.Builder
	for i := range count {
		manifests.WriteString(u.sample("name: sample-cluster", fmt.Sprintf("name: r%d", i), "replicas: 3", "replicas: 1"))
		manifests.WriteString("\n---\n")
	}
	u.kubectlWith(manifests.String(), "create", "-f", "-")
	u.kubectl("wait", "--for=condition=Health", "--timeout=120s", "rays", "--all")
}

// podState returns what only changes when Pods are replaced: the Pod templates of the Deployments and
// the UIDs of the Pods.
func (u *user) podState() map[string]string {
	u.Helper()
	all := map[string]string{}
	deployments, err := cluster.Kube.AppsV1().Deployments(u.namespace).List(u.Context(), metav1.ListOptions{})
	if err != nil {
		u.Fatal(err)
	}
	for i := range deployments.Items {
		template, err := json.Marshal(deployments.Items[i].Spec.Template)
		if err != nil {
			u.Fatal(err)
		}
		all["Deployment "+deployments.Items[i].Name] = string(template)
	}
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		for _, pod := range u.pods(role) {
			all["Pod "+pod.Name] = string(pod.UID)
		}
	}
	return all
}

// checkUnchanged checks that no Pod template and no Pod changed.
func (u *user) checkUnchanged(before map[string]string, event string) {
	u.Helper()
	now := u.podState()
	for name := range now {
		if _, found := before[name]; !found {
			delete(now, name) // A Pod of the Ray that was scaled up.
		}
	}
	if diff := cmp.Diff(before, now); diff != "" {
		u.Errorf("after %s (-before +now):\n%s", event, diff)
	}
}
