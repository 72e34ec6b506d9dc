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
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
	"github.com/kubeflow/ray-operator/test/internal/fakeray"
)

// startGCS starts the GCS of all Rays that have a fakeRay. The ClusterIPs of a local cluster are loopback addresses,
// so that it gets what the operator sends to the Service of a head.
var startGCS = sync.OnceValues(func() (*gcstest.Server, error) { return gcstest.Start("0.0.0.0:6379") })

// fakeRay is a Ray without Ray of a user.
type fakeRay struct {
	*fakeray.Ray
	u       *user
	name    string
	address string
}

// newFakeRay returns the GCS of a Ray that exists.
func newFakeRay(u *user, name string) *fakeRay {
	u.Helper()
	server, err := startGCS()
	if err != nil {
		u.Fatal(err)
	}
	f := &fakeRay{u: u, name: name}
	u.eventually("the Service of the head has an address", func() error {
		service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), name+"-head", metav1.GetOptions{})
		if err == nil {
			f.address = service.Spec.ClusterIP
		}
		return err
	})
	f.Ray, err = fakeray.New(u.Context(), cluster.Kube, server.Cluster(f.address), u.namespace, name)
	if err != nil {
		u.Fatal(err)
	}
	u.Cleanup(func() {
		server.Remove(f.address)
		for _, violation := range f.GCS.Violations() {
			u.Errorf("the operator makes a call that no client must make: %s", violation)
		}
	})
	return f
}

// checkNotInterrupted checks that no Pod was deleted while a task ran on its node.
func (f *fakeRay) checkNotInterrupted() {
	f.u.Helper()
	if pods := f.Interrupted(); len(pods) > 0 {
		f.u.Errorf("Pods were deleted while a task ran on their nodes: %v", pods)
	}
}

// waitWorkers waits until a group of workers is to have a number of nodes, and has them.
func (f *fakeRay) waitWorkers(role rayv1.Role, want int) {
	f.u.Helper()
	f.u.eventually(fmt.Sprintf("group %s has %d nodes", role, want), func() error {
		deployment, err := cluster.Kube.AppsV1().Deployments(f.u.namespace).Get(f.u.Context(), f.name+"-"+string(role), metav1.GetOptions{})
		if err != nil {
			return err
		}
		desired, replicas, pods := f.desired(role), int(*deployment.Spec.Replicas), 0
		for _, pod := range f.u.pods(role) {
			if pod.Labels[rayv1.LabelName] == f.name {
				pods++
			}
		}
		if nodes := f.Nodes(role); desired != want || replicas != want || pods != want || nodes > want {
			return fmt.Errorf("the status has %d, the Deployment %d replicas, and %d Pods and %d nodes exist", desired, replicas, pods, nodes)
		}
		return nil
	})
}

// desired returns the number of desired nodes of a group in the status, or -1 if it has none.
func (f *fakeRay) desired(role rayv1.Role) int {
	f.u.Helper()
	status := f.u.ray(f.name).Status
	var desired *int32
	if role == rayv1.RoleWorker && status.Worker != nil {
		desired = status.Worker.DesiredReplicas
	}
	for _, group := range status.WorkerGroups {
		if role == rayv1.RoleWorker+"-"+rayv1.Role(group.Name) {
			desired = group.DesiredReplicas
		}
	}
	if desired == nil {
		return -1
	}
	return int(*desired)
}

// waitScaling waits until a condition about autoscaling has a status, a reason, and a message with a text.
func (f *fakeRay) waitScaling(kind rayv1.RayConditionType, status corev1.ConditionStatus, reason, text string) {
	f.u.Helper()
	f.u.eventually(fmt.Sprintf("%s is %s, %s, %q", kind, status, reason, text), func() error {
		got := condition(f.u.ray(f.name), kind)
		if got.Status != status || got.Reason != reason || !strings.Contains(got.Message, text) {
			return fmt.Errorf("%s is %s, %s, %q", kind, got.Status, got.Reason, got.Message)
		}
		return nil
	})
}
