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
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// withSpec returns the short sample with a field of the spec, in the flow style of YAML.
func withSpec(t *testing.T, field string) string {
	return shortSample(t, "spec:\n  head:\n", "spec:\n  "+field+"\n  head:\n")
}

// TestAuthentication creates a Ray with a token and selects another one later, which rolls out to all nodes.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withSpec(t, "authentication: {tokenSecretKeyRef: {name: first, key: token}}"), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	u.checkToken("first")
	u.kubectl("patch", "ray/ray-cluster", "--type=merge", "-p", `{"spec":{"authentication":{"tokenSecretKeyRef":{"name":"second"}}}}`)
	u.waitHealthy("ray-cluster")
	u.checkToken("second")
}

// checkToken checks that all nodes get the token of a Secret, and require it.
func (u *user) checkToken(secret string) {
	u.Helper()
	for _, name := range []string{"ray-cluster-head", "ray-cluster-worker"} {
		variables := map[string]string{}
		for _, variable := range u.deployment(name).Spec.Template.Spec.Containers[0].Env {
			variables[variable.Name] = variable.Value
			if source := variable.ValueFrom; source != nil && source.SecretKeyRef != nil {
				variables[variable.Name] = source.SecretKeyRef.Name + "/" + source.SecretKeyRef.Key
			}
		}
		if variables["RAY_AUTH_MODE"] != "token" || variables["RAY_AUTH_TOKEN"] != secret+"/token" {
			u.Errorf("the variables of %s are %v, want the token of the Secret %s", name, variables, secret)
		}
	}
}

// TestSecretReferenceValidation creates Rays with references that cannot be those of a Secret.
func TestSecretReferenceValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, test := range []struct{ name, reference, want string }{
		{"no name", "{key: token}", "spec.authentication.tokenSecretKeyRef.name: Required value"},
		{"no key", "{name: token}", "spec.authentication.tokenSecretKeyRef.key: Required value"},
		{"an empty name", "{name: '', key: token}", `spec.authentication.tokenSecretKeyRef.name: Invalid value: "": must consist of lower case letters`},
		{"capital letters", "{name: Token, key: token}", `spec.authentication.tokenSecretKeyRef.name: Invalid value: "Token": must consist of lower case letters`},
		{"a space in the key", "{name: token, key: a b}", `spec.authentication.tokenSecretKeyRef.key: Invalid value: "a b": must consist of letters, digits`},
		{"optional", "{name: token, key: token, optional: true}", `unknown field "spec.authentication.tokenSecretKeyRef.optional"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.checkRejected(t, withSpec(t, "authentication: {tokenSecretKeyRef: "+test.reference+"}"), test.want)
		})
	}
	u.checkRejected(t, withSpec(t, "authentication: {}"), "spec.authentication.tokenSecretKeyRef: Required value")
}

// TestMissingToken creates a Ray before the Secret with its token. The operator does not read the Secret, so its
// children are created all the same; Pods wait for it.
func TestMissingToken(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(withSpec(t, "authentication: {tokenSecretKeyRef: {name: missing, key: token}}"), "apply", "-f", "-")
	u.eventually("the Deployments exist", func() error {
		if list := u.kubectl("get", "deployments", "-o", "name").Stdout; list != "deployment.apps/ray-cluster-head\ndeployment.apps/ray-cluster-worker\n" {
			return fmt.Errorf("the Deployments are %q", list)
		}
		return nil
	})
	if health := condition(u.ray("ray-cluster"), "Health"); health.Status == corev1.ConditionFalse && health.Reason == "FailedCreate" {
		t.Errorf("Health is %v", health)
	}
}
