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

package ray

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const authenticatedSample = "manifests/samples/authenticated-cluster.yaml"

// TestToken applies the sample with a token. Ray works, its probes succeed, and clients without the token are refused.
func TestToken(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.token = "0123456789abcdef0123456789abcdef"
	u.kubectl("create", "secret", "generic", "authenticated-cluster", "--from-literal=token="+u.token)
	o := u.apply("authenticated-cluster", u.sample(authenticatedSample))
	o.waitReady()
	checkTasks(u, "authenticated-cluster", 3)
	if out := u.submitJob("authenticated-cluster", `print("the job has " + "run")`); !strings.Contains(out, "the job has run") {
		t.Errorf("a job with the token prints %s", out)
	}

	service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(t.Context(), "authenticated-cluster-head", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const unauthenticated = `"16"` // the code of gRPC
	for _, token := range []string{"", "another"} {
		_, err := readGCS(t.Context(), service.Spec.ClusterIP+":6379", token)
		if err == nil || !strings.Contains(err.Error(), unauthenticated) {
			t.Errorf("the GCS answers a request with the token %q by %v, want the status %s", token, err, unauthenticated)
		}
	}
	dashboard := "http://" + service.Spec.ClusterIP + ":8265/api/jobs/"
	for token, want := range map[string]int{"": http.StatusUnauthorized, "another": http.StatusForbidden, u.token: http.StatusOK} {
		if got := getStatus(u, dashboard, token); got != want {
			t.Errorf("the job API answers a request with the token %q by the status %d, want %d", token, got, want)
		}
	}
	out := u.try("", "exec", "deployment/authenticated-cluster-worker", "--", "env", "--unset=RAY_AUTH_TOKEN", "--unset=RAY_AUTH_MODE",
		"ray", "job", "list", "--address="+o.observation().ray.Status.Endpoints.Dashboard)
	if out.Err == nil {
		t.Errorf("ray job list without a token prints %s", out.Stdout)
	}
	if seen := o.observation(); seen.ready != corev1.ConditionTrue {
		t.Errorf("after the refused requests, Ready is %s: %s", seen.ready, seen.message)
	}
}

// getStatus returns the status of an HTTP request with a token, unless that is empty.
func getStatus(u *user, url, token string) int {
	u.Helper()
	request, err := http.NewRequestWithContext(u.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		u.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		u.Fatal(fmt.Errorf("asking the dashboard: %w", err))
	}
	defer response.Body.Close()
	return response.StatusCode
}
