package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// settleTime is how long a rejection is held to see that it is neither retried in a hot
// loop nor reported again and again.
const settleTime = 15 * time.Second

// TestQuotaForbidsDeployments lets a quota refuse one of the Deployments. The rest is made,
// the status says why, and all heals when the quota allows it.
func TestQuotaForbidsDeployments(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.setQuota("count/deployments.apps", "1")
	u.kubectl("apply", "-f", path(seedManifest))

	started := time.Now()
	health := u.waitHealth("sample-cluster", corev1.ConditionFalse, "worker: could not create the deployment sample-cluster-worker: ")
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %s until the status said so", took)
	}
	if health.Reason != "FailedCreate" || !strings.Contains(health.Message, "exceeded quota: only") {
		t.Errorf("Health says %s, %q", health.Reason, health.Message)
	}
	u.waitEvent("sample-cluster", "Warning", "FailedCreate", "exceeded quota: only")
	u.eventually("the head runs", func() error { return wantCount(1, len(u.pods(rayv1.RoleHead))) })
	u.eventually("the status says no more of the head", func() error {
		if message := condition(u.ray("sample-cluster"), rayv1.RayHealth).Message; strings.Contains(message, "head") {
			return errors.New(message)
		}
		return nil
	})
	u.settles("the quota is exceeded")

	u.setQuota("count/deployments.apps", "2")
	u.waitHealthy("sample-cluster")
}

// TestQuotaForbidsPods lets a quota refuse Pods of the workers, which the Deployment's
// controllers try to make again and again under new names.
func TestQuotaForbidsPods(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.setQuota("pods", "2")
	u.kubectl("apply", "-f", path(seedManifest))

	u.waitHealth("sample-cluster", corev1.ConditionFalse, "exceeded quota: only")
	ray := u.ray("sample-cluster")
	failures := []rayv1.RayConditionType{rayv1.RayHeadDeploymentReplicaFailure, rayv1.RayWorkerDeploymentReplicaFailure}
	if condition(ray, failures[0]).Status != corev1.ConditionTrue && condition(ray, failures[1]).Status != corev1.ConditionTrue {
		t.Errorf("neither of %v is True: %v", failures, ray.Status.Conditions)
	}
	u.comesToRest()
	u.settles("the quota is exceeded")

	u.setQuota("pods", "10")
	// The ReplicaSet controller waits longer after each failure; a change wakes it up.
	u.kubectl("scale", "ray/sample-cluster", "--replicas=2")
	u.waitHealthy("sample-cluster")
}

// TestPodsAreLost has a Pod of a healthy Ray go, while a quota keeps another one from coming.
func TestPodsAreLost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role rayv1.Role
		want string
	}{
		{rayv1.RoleHead, "head: 0 of 1 available"},
		{rayv1.RoleWorker, "worker: 2 of 3 available"},
	} {
		t.Run(string(test.role), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.runSeed()
			u.setQuota("pods", "0")
			u.kubectl("delete", "pod", u.pods(test.role)[0].Name)
			u.waitHealth("sample-cluster", corev1.ConditionFalse, test.want)
			u.comesToRest()

			u.setQuota("pods", "10")
			u.waitHealthy("sample-cluster")
		})
	}
}

func (u *user) setQuota(resource, limit string) {
	u.Helper()
	u.kubectlWith(fmt.Sprintf(`
apiVersion: v1
kind: ResourceQuota
metadata: {name: only}
spec: {hard: {%s: "%s"}}`, resource, limit), "apply", "-f", "-")
	u.eventually("the quota is in force", func() error {
		if out := u.kubectl("get", "resourcequota", "only", "-o", "jsonpath={.status.hard}").stdout; !strings.Contains(out, `"`+limit+`"`) {
			return fmt.Errorf("its status has %s", out)
		}
		return nil
	})
}

// settles checks that the operator does not go on writing while something keeps a Ray from
// being as wanted. Trying again, ever more rarely, is no more than expected.
func (u *user) settles(while string) {
	u.Helper()
	mark := markAudit(u.T)
	time.Sleep(settleTime)
	tries := 0
	for _, write := range operatorWrites(u.T, mark, u.namespace) {
		if write.Verb == "create" && write.ResponseStatus.Code >= 400 {
			tries++
			continue
		}
		u.Errorf("while %s the operator writes on: %v", while, write)
	}
	if tries > 10 {
		u.Errorf("while %s the operator tried %d times in %s", while, tries, settleTime)
	}
}

// TestInvalidTemplate gives the API server a template that it refuses, for a new Ray and
// for one that runs: that stays as it was.
func TestInvalidTemplate(t *testing.T) {
	t.Parallel()
	const invalid = "            volumeMounts: [{name: nowhere, mountPath: /data}]\n            ports:\n              - containerPort: 6379\n              - containerPort: 8265\n"
	const valid = "            ports:\n              - containerPort: 6379\n"

	t.Run("of a new Ray", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.kubectlWith(u.seed(valid, invalid), "apply", "-f", "-")
		health := u.waitHealth("sample-cluster", corev1.ConditionFalse, `head: could not create the deployment sample-cluster-head: `)
		if health.Reason != "FailedCreate" || !strings.Contains(health.Message, `volumeMounts[0].name: Not found: "nowhere"`) {
			t.Errorf("Health says %s, %q", health.Reason, health.Message)
		}
		u.waitEvent("sample-cluster", "Warning", "FailedCreate", `volumeMounts[0].name: Not found: "nowhere"`)
		u.eventually("the workers run all the same", func() error { return wantCount(3, len(u.pods(rayv1.RoleWorker))) })

		u.kubectl("apply", "-f", path(seedManifest))
		u.waitHealthy("sample-cluster")
	})

	t.Run("of a Ray that runs", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.runSeed()
		asItIs := func() string {
			return u.kubectl("get", "deployments,services,pods", "-o", "jsonpath={range .items[*]}{.metadata.uid}{.spec}{end}").stdout
		}
		before := asItIs()
		u.kubectlWith(u.seed(valid, invalid), "apply", "-f", "-")
		health := u.waitHealth("sample-cluster", corev1.ConditionFalse, `head: could not update the deployment sample-cluster-head: `)
		if health.Reason != "FailedUpdate" {
			t.Errorf("the reason is %s, want FailedUpdate", health.Reason)
		}
		u.waitEvent("sample-cluster", "Warning", "FailedUpdate", `volumeMounts[0].name: Not found: "nowhere"`)
		if after := asItIs(); after != before {
			t.Errorf("the cluster was\n%s\nand is\n%s", before, after)
		}

		u.kubectl("apply", "-f", path(seedManifest))
		u.waitHealthy("sample-cluster")
		if after := asItIs(); after != before {
			t.Errorf("the cluster was\n%s\nand is\n%s", before, after)
		}
	})
}

// TestBrokenNeighbour checks that Rays which cannot be made do not delay others.
func TestBrokenNeighbour(t *testing.T) {
	t.Parallel()
	broken, fine := newUser(t), newUser(t)
	broken.setQuota("count/deployments.apps", "0")
	for i := range 20 {
		broken.kubectlWith(broken.seed("name: sample-cluster", fmt.Sprintf("name: broken-%d", i)), "create", "-f", "-")
	}
	broken.waitHealth("broken-19", corev1.ConditionFalse, "exceeded quota")
	started := time.Now()
	fine.runSeed()
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("beside 20 broken Rays one took %s to be healthy", took)
	}
}
