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

package autoscaler

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
	"github.com/kubeflow/ray-operator/pkg/internal/testclock"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// clusterIP is the address of the head's Service in tests.
const clusterIP = "127.3.0.1"

var rayKey = cache.NewObjectName("team", "x")

// fixture has an autoscaler of one Ray with a head and a group "worker": 0 to 10 nodes with 4 CPUs each, of which
// one is desired.
type fixture struct {
	*Autoscaler
	t          *testing.T
	clock      *testclock.Clock
	kubeClient *fake.Clientset
	gcs        *gcstest.Cluster

	ray     *rayv1.Ray
	service *corev1.Service
	head    *appsv1.Deployment
	worker  *appsv1.Deployment
	// changes is the number of new recommendations.
	changes int
}

func newFixture(t *testing.T, pods ...runtime.Object) *fixture {
	t.Helper()
	server, err := gcstest.Start("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	port := int32(netip.MustParseAddrPort(strings.Replace(server.Address(), "[::]", "0.0.0.0", 1)).Port())
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "ray"}}}}
	f := &fixture{
		t: t, clock: testclock.New(decisionTime),
		kubeClient: fake.NewClientset(pods...), gcs: server.Cluster(clusterIP),
		ray: &rayv1.Ray{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "x", UID: "uid-1", Generation: 1},
			Spec: rayv1.RaySpec{
				Head:   rayv1.HeadSpec{Template: *template.DeepCopy()},
				Worker: &rayv1.WorkerSpec{Template: *template.DeepCopy(), Autoscaling: &rayv1.AutoscalingSpec{MaxReplicas: 10}},
			},
		},
		service: &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: clusterIP}},
		head: &appsv1.Deployment{
			Spec:   appsv1.DeploymentSpec{Replicas: new(int32(1))},
			Status: appsv1.DeploymentStatus{ReadyReplicas: 1, AvailableReplicas: 1},
		},
		worker: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: new(int32(1))}},
	}
	f.setOwner("uid-1")
	f.ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "gcs", ContainerPort: port}}
	f.ray.Spec.Worker.Start = &rayv1.StartSpec{Resources: map[string]resource.Quantity{"CPU": resource.MustParse("4")}}
	f.gcs.Set(gcs.ClusterState{Session: "s", Nodes: []gcs.Node{
		{ID: "h", Group: "head", Status: gcs.NodeRunning, Total: gcs.Resources{"node:__internal_head__": 1}},
	}})
	f.Autoscaler = New(f, f.kubeClient, func(key cache.ObjectName) {
		if key == rayKey {
			f.changes++
		}
	}, f.clock)
	t.Cleanup(f.gcsClient.Close)
	f.Recommend(f.ray)
	return f
}

// setOwner makes a Ray the controller of all children.
func (f *fixture) setOwner(uid types.UID) {
	for _, child := range []metav1.Object{f.service, f.head, f.worker} {
		child.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Ray", Name: "x", UID: uid, Controller: new(true)}})
	}
}

// Ray implements Reader.
func (f *fixture) Ray(cache.ObjectName) (*rayv1.Ray, error) {
	if f.ray == nil {
		return nil, apierrors.NewNotFound(rayv1.Resource("rays"), "x")
	}
	return f.ray, nil
}

// Service implements Reader.
func (f *fixture) Service(cache.ObjectName) (*corev1.Service, error) {
	if f.service == nil {
		return nil, errors.New("no Service")
	}
	return f.service, nil
}

// Deployment implements Reader.
func (f *fixture) Deployment(key cache.ObjectName) (*appsv1.Deployment, error) {
	deployment := map[string]*appsv1.Deployment{"x-head": f.head, "x-worker": f.worker}[key.Name]
	if deployment == nil {
		return nil, errors.New("no Deployment")
	}
	return deployment, nil
}

// poll polls after a second and returns the recommendation.
func (f *fixture) poll() *Recommendation {
	f.t.Helper()
	f.clock.Step(time.Second)
	f.pollSafely(f.t.Context(), rayKey)
	return f.Recommend(f.ray)
}

// update changes the state that the GCS reports.
func (f *fixture) update(change func(*gcs.ClusterState)) { f.gcs.Update(change) }

// addTasks adds tasks that wait for a CPU each.
func (f *fixture) addTasks(count int64) {
	f.update(func(s *gcs.ClusterState) {
		s.Tasks = []gcs.Demand{{Request: gcs.Request{Resources: cpu(1)}, Count: count}}
	})
}

// addIdleNode adds a worker that has been idle for a time.
func (f *fixture) addIdleNode(pod string, idle time.Duration) {
	f.update(func(s *gcs.ClusterState) {
		s.Nodes = append(slices.Clone(s.Nodes), gcs.Node{
			ID: "id-" + pod, Instance: pod, Group: "worker", Status: gcs.NodeIdle, Total: cpu(4), Available: cpu(4), Idle: idle,
		})
	})
}

// check checks how many nodes the group "worker" is to have: the recommended number, else the target of its Deployment,
// else -1; and the condition ScalingActive as STATUS REASON.
func (f *fixture) check(r *Recommendation, replicas int32, active string) {
	f.t.Helper()
	got, found := r.Replicas["worker"]
	switch group := resources.Groups(f.ray)[1]; {
	case found:
	case group.Name != "worker" || group.Autoscaling == nil || resources.IsSuspended(f.ray):
		got = -1
	default:
		got = target(&group, f.worker)
	}
	if condition := r.Conditions[0]; got != replicas || string(condition.Status)+" "+condition.Reason != active {
		f.t.Errorf("got %d workers and ScalingActive %s %s: %s; want %d and %s", got, condition.Status, condition.Reason, condition.Message, replicas, active)
	}
}
