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

// TestScale scales the workers in every way there is. Neither the head nor workers that
// stay are restarted.
func TestScale(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		scale func(u *user, replicas int)
	}{
		{"by kubectl scale", func(u *user, replicas int) {
			u.kubectl("scale", "ray/sample-cluster", fmt.Sprintf("--replicas=%d", replicas))
		}},
		{"by an edit", func(u *user, replicas int) {
			u.kubectl("patch", "ray", "sample-cluster", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, replicas))
		}},
		{"by applying the manifest anew", func(u *user, replicas int) {
			u.kubectlWith(u.seed("replicas: 3", fmt.Sprintf("replicas: %d", replicas)), "apply", "-f", "-")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.runSeed()
			head, workers := u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker)

			test.scale(u, 5)
			u.waitHealthy("sample-cluster")
			more := u.podUIDs(rayv1.RoleWorker)
			if len(more) != 5 || !containsAll(more, workers) {
				t.Errorf("after scaling up from %v the workers are %v", workers, more)
			}
			if scale := u.kubectl("get", "--raw", "/apis/ray.kubeflow.org/v1/namespaces/"+u.namespace+"/rays/sample-cluster/scale").stdout; !strings.Contains(scale, `"status":{"replicas":5,"selector":"ray.kubeflow.org/name=sample-cluster,ray.kubeflow.org/role=worker"}`) {
				t.Errorf("the scale subresource says %s", scale)
			}

			test.scale(u, 1)
			u.waitHealthy("sample-cluster")
			if fewer := u.podUIDs(rayv1.RoleWorker); len(fewer) != 1 || !containsAll(more, fewer) {
				t.Errorf("after scaling down from %v the workers are %v", more, fewer)
			}

			test.scale(u, 0)
			u.waitHealthy("sample-cluster")
			u.eventually("no worker is left", func() error { return wantCount(0, len(u.pods(rayv1.RoleWorker))) })
			if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
				t.Errorf("scaling workers replaced the head %v by %v", head, got)
			}
		})
	}
}

// TestHorizontalPodAutoscaler lets a HorizontalPodAutoscaler read and write the scale
// subresource. Without metrics it acts on its bounds alone, which is all that is needed.
func TestHorizontalPodAutoscaler(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	u.kubectlWith(`
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: sample-cluster}
spec:
  scaleTargetRef: {apiVersion: ray.kubeflow.org/v1, kind: Ray, name: sample-cluster}
  minReplicas: 6
  maxReplicas: 8
`, "apply", "-f", "-")
	u.eventually("the autoscaler sees the workers and raises them to its minimum", func() error {
		hpa, err := kube.AutoscalingV2().HorizontalPodAutoscalers(u.namespace).Get(t.Context(), "sample-cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wantCount(6, int(hpa.Status.DesiredReplicas))
	})
	u.waitHealthy("sample-cluster")
	u.eventually("6 workers run", func() error { return wantCount(6, len(u.pods(rayv1.RoleWorker))) })
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
		return fmt.Errorf("there are %d, want %d", got, want)
	}
	return nil
}

// containsAddress tells whether a Service leads to an address.
func containsAddress(u *user, service, address string) error {
	slicesOf, err := kube.DiscoveryV1().EndpointSlices(u.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
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
	return fmt.Errorf("service %s does not lead to %s", service, address)
}
