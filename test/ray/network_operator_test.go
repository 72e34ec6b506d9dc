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
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// operatorImage is the image of the operator, which hack/ray.sh loads.
const operatorImage = "localhost/ray-operator:1"

// TestOperatorNetworkPolicies runs the operator in a Pod with the NetworkPolicies of docs/security.md.
// It starts, which requires the API server, and serves its metrics, and nothing else.
func TestOperatorNetworkPolicies(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	system := userOf(t, "ray-system")
	system.installOperator(u.namespace)
	u.runProbe("prometheus", "app=prometheus")
	u.kubectl("create", "clusterrolebinding", u.namespace, "--clusterrole=ray-operator-metrics-reader", "--serviceaccount="+u.namespace+":default")
	u.deleteAtEnd("clusterrolebinding/" + u.namespace)

	pod := system.pod("app.kubernetes.io/name=ray-operator")
	metrics := func() error {
		return u.connect("pod/prometheus", "metrics", "https://"+pod.Status.PodIP+":8443/metrics")
	}
	health := func() error { return u.connect("pod/prometheus", "get", "http://"+pod.Status.PodIP+":8081/healthz") }
	if err := errors.Join(metrics(), health()); err != nil {
		t.Fatalf("without policies: %v", err)
	}
	system.kubectl("apply", "-k", cluster.Path("manifests/network"))
	system.change(egressPolicy(u))
	system.deleteAtEnd("networkpolicy/ray-operator", "networkpolicy/ray-operator-egress")
	harness.Eventually(t, "the policy rejects connections to the health port", func() error {
		if health() == nil {
			return errors.New("connected")
		}
		return nil
	})

	// The new process must connect, while connections of the old one would have remained.
	restartContainer(t, pod)
	harness.Eventually(t, "the operator is ready after a restart", func() error {
		status := system.pod("app.kubernetes.io/name=ray-operator").Status.ContainerStatuses[0]
		if status.RestartCount == 0 || !status.Ready {
			return fmt.Errorf("%d restarts, ready is %t", status.RestartCount, status.Ready)
		}
		return metrics() // which asks the API server about the token
	})
}

// installOperator installs the operator in the user's namespace. It only reconciles one other namespace,
// since the operator under test reconciles all.
func (u *user) installOperator(namespace string) {
	u.Helper()
	manifest := u.kubectl("kustomize", cluster.Path("manifests/operator")).Stdout
	for _, replacement := range [][2]string{
		{"image: ray-operator:latest", "image: " + operatorImage},
		{"replicas: 2", "replicas: 1"},
		{"- --leader-elect\n", "- --leader-elect\n        - --namespace=" + namespace + "\n"},
	} {
		if !strings.Contains(manifest, replacement[0]) {
			u.Fatalf("manifests/operator does not contain %q", replacement[0])
		}
		manifest = strings.Replace(manifest, replacement[0], replacement[1], 1)
	}
	u.change(manifest)
	u.deleteAtEnd("deployment/ray-operator", "poddisruptionbudget/ray-operator", "service/ray-operator-metrics")
	u.kubectl("rollout", "status", "deployment/ray-operator", "--timeout=180s")
}

// egressPolicy returns the operator's egress policy in docs/security.md, for this API server.
func egressPolicy(u *user) string {
	u.Helper()
	text, err := os.ReadFile(cluster.Path("docs/security.md"))
	if err != nil {
		u.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n([^`]*name: ray-operator-egress[^`]*)```").FindSubmatch(text)
	if block == nil {
		u.Fatal("docs/security.md has no policy ray-operator-egress")
	}
	address, port := apiServer(u)
	return strings.NewReplacer("192.0.2.1/32", address+"/32", "6443", strconv.Itoa(port)).Replace(string(block[1]))
}

// restartContainer kills the first process of the Pod's only container. The kubelet starts it again.
func restartContainer(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	for _, process := range podProcesses(t, pod) {
		if process.first && strings.HasPrefix(process.container, containerID(&pod.Status.ContainerStatuses[0])) {
			if err := syscall.Kill(process.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no process of Pod %s found", pod.Name)
}

// deleteAtEnd deletes objects when the test ends.
func (u *user) deleteAtEnd(objects ...string) {
	u.Cleanup(func() {
		out := cluster.Kubectl(context.Background(), "", append([]string{"--namespace", u.namespace, "delete", "--wait=false"}, objects...)...)
		if out.Err != nil {
			u.Error(out.Err)
		}
	})
}
