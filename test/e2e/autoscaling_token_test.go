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

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// documentedTokenRole returns the Role and its binding that docs/autoscaling.md has for the token of a Ray.
func documentedTokenRole(t *testing.T, namespace, secret string) string {
	t.Helper()
	_, section, _ := strings.Cut(readFile(t, cluster.Path("docs/autoscaling.md")), "\n## Token authentication\n")
	_, manifest, _ := strings.Cut(section, "\n```yaml\n")
	manifest, _, found := strings.Cut(manifest, "\n```\n")
	if !found {
		t.Fatal("docs/autoscaling.md has no manifest for token authentication")
	}
	return strings.NewReplacer("NAMESPACE", namespace, "SECRET", secret).Replace(manifest)
}

// TestAutoscalingToken has a GCS that requires a token. The operator may read no Secret until it gets the Role of the
// documentation for this one.
func TestAutoscalingToken(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectl("create", "secret", "generic", "ray-token", "--from-literal=token=first")
	u.kubectl("create", "secret", "generic", "another", "--from-literal=token=x")
	u.kubectlWith(shortSample(t, "spec:\n  head:\n", "spec:\n  authentication: {tokenSecretKeyRef: {name: ray-token, key: token}}\n  head:\n",
		"    replicas: 2\n", "    replicas: 1\n    autoscaling: {maxReplicas: 3}\n"), "apply", "-f", "-")
	f := newFakeRay(u, "ray-cluster")
	f.GCS.RequireToken("first")
	f.Submit(2)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionFalse, "TokenUnavailable", `Secret "ray-token"`)
	if calls := f.GCS.Calls(); len(calls) > 0 {
		t.Errorf("without the token, the operator makes the calls %v", calls)
	}
	u.checkSecretAccess("get", "ray-token", false)

	u.kubectlWith(documentedTokenRole(t, u.namespace, "ray-token"), "apply", "-f", "-")
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	f.waitWorkers(rayv1.RoleWorker, 2)
	u.checkSecretAccess("get", "ray-token", true)
	for _, verb := range []string{"list", "watch", "create", "update", "patch", "delete"} {
		u.checkSecretAccess(verb, "ray-token", false)
	}
	u.checkSecretAccess("get", "another", false)
	u.checkSecretAccess("get", "", false)

	f.GCS.RequireToken("second")
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionFalse, "TokenUnavailable", "")
	u.kubectl("patch", "secret", "ray-token", "--type=merge", "-p", `{"stringData":{"token":"second"}}`)
	f.waitScaling(rayv1.RayScalingActive, corev1.ConditionTrue, "DemandKnown", "")
	f.Submit(1)
	f.waitWorkers(rayv1.RoleWorker, 3)
	f.checkNotInterrupted()
}

// checkSecretAccess checks whether the operator may access a Secret in the user's namespace, or all if name is empty.
func (u *user) checkSecretAccess(verb, name string, want bool) {
	u.Helper()
	account := accountName("ray-system", "ray-operator")
	u.eventually(fmt.Sprintf("it is %t that %s may %s Secret %q", want, account, verb, name), func() error {
		review, err := cluster.Kube.AuthorizationV1().SubjectAccessReviews().Create(u.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: account, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: u.namespace, Verb: verb, Resource: "secrets", Name: name,
			}},
		}, metav1.CreateOptions{})
		if err == nil && review.Status.Allowed != want {
			err = fmt.Errorf("the answer is %t: %s", review.Status.Allowed, review.Status.Reason)
		}
		return err
	})
}
