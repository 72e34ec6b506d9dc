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
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

const (
	onVolume = "gcs: {volumeClaim: {name: claim}}"
	onRedis  = "gcs: {redis: {address: 'redis:6379', passwordSecretKeyRef: {name: redis, key: password}}}"
)

// TestGCSValidation creates Rays with a storage for the GCS that is not valid.
func TestGCSValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const claim, redis = "volumeClaim: {name: claim}", "redis: {address: 'redis:6379'}"
	address := func(address string) string { return "{redis: {address: '" + address + "'}}" }
	const badAddress = "must be HOST:PORT, redis://HOST:PORT or rediss://HOST:PORT; set a password in passwordSecretKeyRef"
	for _, test := range []struct{ name, gcs, want string }{
		{"neither", "{}", "spec.gcs: Invalid value: must have either volumeClaim or redis"},
		{"both", "{" + claim + ", " + redis + "}", "spec.gcs: Invalid value: must have either volumeClaim or redis"},
		{"no name", "{volumeClaim: {}}", "spec.gcs.volumeClaim.name: Required value"},
		{"capital letters", "{volumeClaim: {name: Claim}}", `spec.gcs.volumeClaim.name: Invalid value: "Claim": must consist of lower case letters`},
		{"no address", "{redis: {}}", "spec.gcs.redis.address: Required value"},
		{"no port", address("redis"), badAddress},
		{"another scheme", address("http://redis:6379"), badAddress},
		{"a password in the address", address("redis://user:secret@redis:6379"), badAddress},
		{"a list", address("a:6379,b:6379"), badAddress},
		{"a variable", address("$(HOST):6379"), badAddress},
		{"a user without a password", "{redis: {address: 'redis:6379', usernameSecretKeyRef: {name: redis, key: user}}}", "spec.gcs.redis.passwordSecretKeyRef: Required value: must be set with usernameSecretKeyRef"},
		{"a password in the Ray", "{redis: {address: 'redis:6379', password: secret}}", `unknown field "spec.gcs.redis.password"`},
	} {
		t.Run(test.name, func(t *testing.T) { u.checkRejected(t, withSpec(t, "gcs: "+test.gcs), test.want) })
	}
	for _, valid := range []string{"redis:6379", "redis://redis.a.svc:6379", "rediss://10.0.0.1:6380", "redis://[fd00::1]:6379"} {
		if out := u.try(withSpec(t, "gcs: "+address(valid)), "create", "--dry-run=server", "-f", "-"); out.Err != nil {
			t.Errorf("the address %s is rejected: %s", valid, out.Stderr)
		}
	}
}

// TestGCSIsImmutable checks that the storage of a Ray cannot be added, changed or removed.
func TestGCSIsImmutable(t *testing.T) {
	t.Parallel()
	const want = "spec.gcs: Forbidden: must not be added, changed or removed, since another storage is another cluster; create another Ray"
	for _, test := range []struct{ name, before, patch string }{
		{"add", "", `{"gcs":{"volumeClaim":{"name":"claim"}}}`},
		{"remove", onVolume, `{"gcs":null}`},
		{"another claim", onVolume, `{"gcs":{"volumeClaim":{"name":"another"}}}`},
		{"from a volume to Redis", onVolume, `{"gcs":{"volumeClaim":null,"redis":{"address":"redis:6379"}}}`},
		{"another Redis", onRedis, `{"gcs":{"redis":{"address":"another:6379"}}}`},
		{"another password", onRedis, `{"gcs":{"redis":{"passwordSecretKeyRef":{"key":"another"}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := newUser(t)
			manifest := shortSample(t)
			if test.before != "" {
				manifest = withSpec(t, test.before)
			}
			u.kubectlWith(manifest, "create", "-f", "-")
			out := u.try("", "patch", "ray/ray-cluster", "--type=merge", "-p", `{"spec":`+test.patch+`}`)
			if out.Err == nil || !strings.Contains(out.Stderr, want) {
				t.Errorf("got %s, want %s", out.Stderr, want)
			}
			// Other fields can change.
			u.kubectl("patch", "ray/ray-cluster", "--type=merge", "-p", `{"spec":{"worker":{"replicas":1}}}`)
		})
	}
}

// TestGCSStorage creates Rays with a storage, and checks what the Deployments have and that the Rays are healthy. The
// claim and the Secret are not changed, not even when the Ray is deleted.
func TestGCSStorage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(claimAndSecret, "create", "-f", "-")
	versions := func() string {
		return u.kubectl("get", "secret/redis", "persistentvolumeclaim/claim", "-o", "jsonpath={.items[*].metadata.uid}").Stdout
	}
	before := versions()
	for _, test := range []struct{ name, field, variable string }{
		{"volume", onVolume, "RAY_gcs_storage"},
		{"redis", onRedis, "RAY_REDIS_ADDRESS"},
	} {
		u.kubectlWith(strings.Replace(withSpec(t, test.field), "name: ray-cluster", "name: "+test.name, 1), "create", "-f", "-")
		u.eventually("the head has the storage", func() error {
			deployment, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(t.Context(), test.name+"-head", metav1.GetOptions{})
			if err == nil && !hasVariable(deployment.Spec.Template.Spec.Containers[0].Env, test.variable) {
				t.Errorf("the head of %s lacks the variable %s", test.name, test.variable)
			}
			return err
		})
	}
	u.waitHealthy("redis")
	u.checkOneHead("redis")
	u.kubectl("delete", "rays", "--all", "--cascade=foreground")
	if after := versions(); after != before {
		t.Errorf("the claim and the Secret are %s, before they were %s", after, before)
	}
}

// claimAndSecret are what the Rays refer to.
const claimAndSecret = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Secret
metadata: {name: redis}
stringData: {password: secret}
`

func hasVariable(variables []corev1.EnvVar, name string) bool {
	return slices.ContainsFunc(variables, func(variable corev1.EnvVar) bool { return variable.Name == name })
}

// checkOneHead deletes the Pod of a head that takes long to terminate, and checks that the scheduler does not place the
// next one meanwhile.
func (u *user) checkOneHead(ray string) {
	u.Helper()
	old := u.podsOf(ray, rayv1.RoleHead)[0].Name
	// A finalizer keeps the Pod, as a kubelet does until its containers have ended.
	u.kubectl("patch", "pod", old, "--type=merge", "-p", hold)
	u.kubectl("delete", "pod", old, "--wait=false")
	u.eventually("the next head cannot be scheduled", func() error {
		pods := u.podsOf(ray, rayv1.RoleHead)
		for i := range pods {
			for _, condition := range pods[i].Status.Conditions {
				if pods[i].Name != old && condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
					return wantText(condition.Message, "anti-affinity")
				}
			}
		}
		return fmt.Errorf("there are %d Pods, and all are scheduled", len(pods))
	})
	u.waitHealth(ray, corev1.ConditionFalse, "head: ")
	u.kubectl("patch", "pod", old, "--type=merge", "-p", release)
	u.waitHealthy(ray)
}
