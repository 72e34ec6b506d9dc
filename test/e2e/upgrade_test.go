package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestUpgrade goes from this version to the next one and back, with Rays that run. The next one
// renders Pods otherwise and has a field in the status that the CustomResourceDefinition
// lacks (next.patch).
func TestUpgrade(t *testing.T) {
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	u := newUser(t)
	this, next := newReplica(t, "this", ""), newReplica(t, "next", "bin/ray-operator-next")
	this.restart(t)
	u.runMany(50)
	running := u.restartable()

	next.restart(t)
	handOver(t, this, next)
	u.kubectl("scale", "ray/r0", "--replicas=2") // when it is done, the others have been synced, too
	u.waitHealthy("r0")
	u.checkStill(running, "the next version runs")
	u.comesToRest() // with an older CustomResourceDefinition

	u.kubectl("patch", "ray", "r1", "--type=json", "-p", `[{"op":"replace","path":"/spec/head/template/spec/containers/0/image","value":"rayproject/examples:2"}]`)
	u.waitHealthy("r1")
	env := u.deployment("r1-head").Spec.Template.Spec.Containers[0].Env
	if got := env[len(env)-1].Name; got != "RAY_NEXT" {
		t.Errorf("a change by the user is rendered with %s as the last variable, want the next version's RAY_NEXT", got)
	}
	changed := u.restartable()
	for name := range running {
		if !strings.HasPrefix(name, "Deployment r1-head") && !strings.HasPrefix(name, "Pod r1-head") && changed[name] != running[name] {
			t.Errorf("%s is another one since r1's head has changed", name)
		}
	}

	this.restart(t)
	handOver(t, next, this)
	u.kubectl("scale", "ray/r0", "--replicas=3")
	u.waitHealthy("r0")
	u.checkStill(changed, "this version runs again")
}

// TestNewerSchema has a CustomResourceDefinition that is newer than the operator: what the
// operator does not know stays as it is.
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
		u.try("", "patch", "crd", crd, "--type=json", "-p", fmt.Sprintf(`[{"op":"remove","path":%q},{"op":"remove","path":%q}]`, headNote, phasePath))
	})
	u.eventually("the newer schema is in force", func() error {
		return u.try(u.seed("  head:\n", "  head:\n    note: mine\n"), "apply", "-f", "-").err
	})
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")
	if got := u.kubectl("get", "ray", "sample-cluster", "-o", "jsonpath={.spec.head.note} {.status.phase}").stdout; got != "mine New" {
		t.Errorf("the fields that the operator does not know are %q, want %q", got, "mine New")
	}
}

// newReplica returns an operator of a version that takes part in the election of a leader.
func newReplica(t *testing.T, name, binary string) *process {
	t.Helper()
	replica, err := newProcess(name, "--leader-elect")
	if err != nil {
		t.Fatal(err)
	}
	replica.binary = binary
	t.Cleanup(replica.stop)
	return replica
}

// handOver stops an operator beside which another one stands by, which then acts.
func handOver(t *testing.T, from, to *process) {
	t.Helper()
	before := strings.Count(readFile(t, to.log), "Starting workers")
	if err := from.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	(&user{T: t}).eventually("the other version acts", func() error {
		if strings.Count(readFile(t, to.log), "Starting workers") == before {
			return fmt.Errorf("the log is %s", to.log)
		}
		return nil
	})
}

// runMany makes Rays with one worker each, and waits for their Health.
func (u *user) runMany(count int) {
	u.Helper()
	var manifests strings.Builder
	for i := range count {
		manifests.WriteString(u.seed("name: sample-cluster", fmt.Sprintf("name: r%d", i), "replicas: 3", "replicas: 1"))
		manifests.WriteString("\n---\n")
	}
	u.kubectlWith(manifests.String(), "create", "-f", "-")
	u.kubectl("wait", "--for=condition=Health", "--timeout=120s", "rays", "--all")
}

// restartable returns what must not change unless a user asks for it: the Pod templates of the
// Deployments, and the Pods.
func (u *user) restartable() map[string]string {
	u.Helper()
	all := map[string]string{}
	deployments, err := kube.AppsV1().Deployments(u.namespace).List(u.Context(), metav1.ListOptions{})
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

// checkStill checks that all is there which was there before, and has not changed.
func (u *user) checkStill(before map[string]string, when string) {
	u.Helper()
	now := u.restartable()
	for name := range now {
		if _, found := before[name]; !found {
			delete(now, name) // a Pod of a Ray that was scaled up
		}
	}
	if diff := cmp.Diff(before, now); diff != "" {
		u.Errorf("%s, and these have changed (-before +now):\n%s", when, diff)
	}
}
