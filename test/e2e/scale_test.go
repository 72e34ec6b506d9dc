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
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestScale scales the workers in every way. Neither the head nor the remaining workers are
// restarted.
func TestScale(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		scale func(u *user, replicas int)
	}{
		{"kubectl scale", func(u *user, replicas int) {
			u.kubectl("scale", "ray/sample-cluster", fmt.Sprintf("--replicas=%d", replicas))
		}},
		{"kubectl patch", func(u *user, replicas int) {
			u.kubectl("patch", "ray", "sample-cluster", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, replicas))
		}},
		{"kubectl apply", func(u *user, replicas int) {
			u.kubectlWith(u.sample("replicas: 3", fmt.Sprintf("replicas: %d", replicas)), "apply", "-f", "-")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample()
			head, workers := u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker)

			test.scale(u, 5)
			u.waitHealthy("sample-cluster")
			more := u.podUIDs(rayv1.RoleWorker)
			if len(more) != 5 || !containsAll(more, workers) {
				t.Errorf("after scaling up, the workers are %v, want 5 that include %v", more, workers)
			}
			if scale := u.kubectl("get", "--raw", "/apis/ray.kubeflow.org/v1/namespaces/"+u.namespace+"/rays/sample-cluster/scale").Stdout; !strings.Contains(scale, `"status":{"replicas":5,"selector":"ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=worker"}`) {
				t.Errorf("the scale subresource is %s", scale)
			}

			test.scale(u, 1)
			u.waitHealthy("sample-cluster")
			if fewer := u.podUIDs(rayv1.RoleWorker); len(fewer) != 1 || !containsAll(more, fewer) {
				t.Errorf("after scaling down, the workers are %v, want one of %v", fewer, more)
			}

			test.scale(u, 0)
			u.waitHealthy("sample-cluster")
			u.eventually("all workers are deleted", func() error { return wantCount(0, len(u.pods(rayv1.RoleWorker))) })
			if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
				t.Errorf("scaling the workers replaced the head %v with %v", head, got)
			}
		})
	}
}

// TestHorizontalPodAutoscaler checks that a HorizontalPodAutoscaler can read and write the scale
// subresource. Without metrics, it only enforces its bounds.
func TestHorizontalPodAutoscaler(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()
	u.kubectlWith(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: sample-cluster}
spec:
  scaleTargetRef: {apiVersion: ray.kubeflow.org/v1, kind: Ray, name: sample-cluster}
  minReplicas: 6
  maxReplicas: 8
`, "apply", "-f", "-")
	u.eventually("the HorizontalPodAutoscaler requests its minimum", func() error {
		hpa, err := cluster.Kube.AutoscalingV2().HorizontalPodAutoscalers(u.namespace).Get(t.Context(), "sample-cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wantCount(6, int(hpa.Status.DesiredReplicas))
	})
	u.waitHealthy("sample-cluster")
	u.eventually("6 workers exist", func() error { return wantCount(6, len(u.pods(rayv1.RoleWorker))) })
}

func containsAll(all, some []string) bool {
	for _, item := range some {
		if !slices.Contains(all, item) {
			return false
		}
	}
	return true
}

func wantCount(want, got int) error {
	if got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

// containsAddress returns an error unless a Service has an address among its endpoints.
func containsAddress(u *user, service, address string) error {
	slicesOf, err := cluster.Kube.DiscoveryV1().EndpointSlices(u.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		return err
	}
	for _, slice := range slicesOf.Items {
		for _, endpoint := range slice.Endpoints {
			if slices.Contains(endpoint.Addresses, address) {
				return nil
			}
		}
	}
	return fmt.Errorf("service %s does not have the endpoint %s", service, address)
}
