package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestImageChangeRolls changes the image of one group: it rolls, and the other does not.
func TestImageChangeRolls(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role, other rayv1.Role
	}{
		{rayv1.RoleWorker, rayv1.RoleHead},
		{rayv1.RoleHead, rayv1.RoleWorker},
	} {
		t.Run(string(test.role), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.runSeed()
			before, others := u.podUIDs(test.role), u.podUIDs(test.other)

			u.setImage(test.role, "rayproject/examples:2")
			u.waitHealthy("sample-cluster")
			for _, pod := range u.pods(test.role) {
				if pod.Spec.Containers[0].Image != "rayproject/examples:2" || slices.Contains(before, string(pod.UID)) {
					t.Errorf("Ray is healthy while the old Pod %s with the image %s is there", pod.Name, pod.Spec.Containers[0].Image)
				}
			}
			if got := u.podUIDs(test.other); !slices.Equal(got, others) {
				t.Errorf("the Pods of the other group were replaced: %v by %v", others, got)
			}
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-"+string(test.role)+": template")
		})
	}
}

// TestHeadIsNeverDoubled watches the head's Pods while the head changes: two of them
// would be two clusters behind one Service.
func TestHeadIsNeverDoubled(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	most := u.watchMostPods(rayv1.RoleHead)
	for _, image := range []string{"rayproject/examples:2", "rayproject/examples:3", "rayproject/examples:4"} {
		u.setImage(rayv1.RoleHead, image)
		u.waitHealthy("sample-cluster")
	}
	if got := most(); got != 1 {
		t.Errorf("there were %d heads at a time, want 1", got)
	}
}

// watchMostPods counts how many Pods of a group exist at a time, until the function that
// it returns is called, which returns the most there were.
func (u *user) watchMostPods(role rayv1.Role) func() int {
	u.Helper()
	ctx, cancel := context.WithCancel(u.Context())
	options := metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)}
	list, err := kube.CoreV1().Pods(u.namespace).List(ctx, options)
	if err != nil {
		u.Fatal(err)
	}
	present := sets.New[string]()
	for _, pod := range list.Items {
		present.Insert(pod.Name)
	}
	options.ResourceVersion = list.ResourceVersion
	pods, err := kube.CoreV1().Pods(u.namespace).Watch(ctx, options)
	if err != nil {
		u.Fatal(err)
	}
	most := present.Len()
	var done sync.WaitGroup
	done.Go(func() {
		for event := range pods.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			if event.Type == watch.Deleted {
				present.Delete(pod.Name)
			} else {
				present.Insert(pod.Name)
			}
			most = max(most, present.Len())
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return most
	}
}

// TestPortsChange changes the head's ports: the Service follows.
func TestPortsChange(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	u.kubectlWith(u.seed("- containerPort: 6381\n", "- containerPort: 6381\n              - containerPort: 8265\n"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	u.eventually("the Service has the port", func() error {
		service, err := kube.CoreV1().Services(u.namespace).Get(t.Context(), "sample-cluster-head", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return wantCount(1, len(slices.DeleteFunc(service.Spec.Ports, func(port corev1.ServicePort) bool {
			return port.Name != "dashboard" || port.Port != 8265
		})))
	})
}

// TestWorkerRemovedAndAdded takes the workers out of the spec and puts them back.
func TestWorkerRemovedAndAdded(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.runSeed()
	head := u.podUIDs(rayv1.RoleHead)

	u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p", `[{"op":"remove","path":"/spec/worker"}]`)
	u.waitDeploymentGone("sample-cluster-worker")
	u.waitHealthy("sample-cluster")
	u.eventually("no worker is left", func() error { return wantCount(0, len(u.pods(rayv1.RoleWorker))) })
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyDelete", "Successfully delete the deployment sample-cluster-worker")
	status := u.ray("sample-cluster").Status
	if status.Worker != nil {
		t.Errorf("the status still has workers: %v", status.Worker)
	}
	for _, condition := range status.Conditions {
		if strings.HasPrefix(string(condition.Type), "RayWorker") {
			t.Errorf("the status still has the condition %s", condition.Type)
		}
	}
	out := u.try("", "scale", "ray/sample-cluster", "--replicas=2")
	if out.err == nil || !strings.Contains(out.stderr, "spec.worker.template: Required value") {
		t.Errorf("scaling a Ray without workers says %q", out.stderr)
	}

	u.kubectl("apply", "-f", path(seedManifest))
	u.waitHealthy("sample-cluster")
	if workers := u.pods(rayv1.RoleWorker); len(workers) != 3 {
		t.Errorf("there are %d workers, want 3", len(workers))
	}
	if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
		t.Errorf("the head was replaced: %v by %v", head, got)
	}
}

// setImage changes the image of a group's first container.
func (u *user) setImage(role rayv1.Role, image string) {
	u.Helper()
	u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/`+string(role)+`/template/spec/containers/0/image","value":"`+image+`"}]`)
}
