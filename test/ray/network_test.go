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
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

const (
	policySample = "manifests/samples/network-policy.yaml" // isolates the Ray ray-cluster

	probeImage = "localhost/probe:1" // hack/cluster/testdata/probe, which hack/ray.sh loads
)

// probes is a Ray with the name in the sample NetworkPolicy. Its containers do not run Ray, but probes.
const probes = `
apiVersion: ray.kubeflow.org/v1
kind: Ray
metadata: {name: ray-cluster}
spec:
  head:
    template:
      spec:
        terminationGracePeriodSeconds: 1
        containers:
        - &probe
          name: probe
          image: ` + probeImage + `
          command: [/program]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe:
            httpGet: {path: /hostname, port: http}
            periodSeconds: 1
  worker:
    replicas: 2
    template:
      spec:
        terminationGracePeriodSeconds: 1
        containers: [*probe]
`

// connection is a connection from a probe.
type connection struct {
	name string
	from *user
	// target is the Pod, or the Deployment of the Pod, that connects.
	target             string
	function, argument string
	// admitted is whether the sample NetworkPolicy admits the connection.
	admitted bool
}

// TestNetworkPolicy applies the sample NetworkPolicy: the Pods of the Ray reach each other and DNS, and
// nothing else. New workers become ready.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	u, neighbor := newUser(t), newUser(t)
	u.change(probes)
	u.runProbe("other", "app=other")
	neighbor.runProbe("other", rayv1.LabelName+"=ray-cluster") // in another namespace
	u.kubectl("wait", "--for=condition=Ready", "ray/ray-cluster", "--timeout=180s")

	all := func(connection) bool { return true }
	u.eventuallyConnects("without policies, all connections are possible", neighbor, all)
	u.kubectl("apply", "-f", cluster.Path(policySample))
	admitted := func(c connection) bool { return c.admitted }
	u.eventuallyConnects("the policy isolates the Ray", neighbor, admitted)

	u.kubectl("delete", "pods", "--selector", rayv1.LabelRole+"="+string(rayv1.RoleWorker))
	u.kubectl("rollout", "status", "deployment/ray-cluster-worker", "--timeout=180s")
	u.eventuallyConnects("the policy isolates the Ray with new workers", neighbor, admitted)

	u.kubectl("patch", "networkpolicy", "ray-cluster", "--type=json", "--patch", `[{"op": "remove", "path": "/spec/egress/1"}]`)
	u.eventuallyConnects("without the rule for DNS, no name resolves", neighbor, func(c connection) bool {
		return c.admitted && !strings.Contains(c.argument, "ray-cluster-head")
	})
	u.kubectl("delete", "-f", cluster.Path(policySample))
	u.eventuallyConnects("without policies, all connections are possible again", neighbor, all)
}

// eventuallyConnects waits until these connections are possible, and no others.
func (u *user) eventuallyConnects(what string, neighbor *user, want func(connection) bool) {
	u.Helper()
	harness.Eventually(u, what, func() error {
		var errs []error
		for _, c := range u.connections(neighbor) {
			err := c.from.connect(c.target, c.function, c.argument)
			switch {
			case want(c) && err != nil:
				errs = append(errs, fmt.Errorf("%s is not possible: %w", c.name, err))
			case !want(c) && err == nil:
				errs = append(errs, fmt.Errorf("%s is possible", c.name))
			}
		}
		return errors.Join(errs...)
	})
}

// connections returns connections from and to the Pods of the Ray ray-cluster.
func (u *user) connections(neighbor *user) []connection {
	const head, worker, other = "deployment/ray-cluster-head", "deployment/ray-cluster-worker", "pod/other"
	url := func(host string) string { return "http://" + host + ":8080/hostname" }
	service := url("ray-cluster-head." + u.namespace)
	connections := []connection{
		{"a worker to the head's Service", u, worker, "get", service, true},
		{"the head to its Service", u, head, "get", service, true},
		{"another Pod to the head's Service", u, other, "get", service, false},
		{"a Pod with the same labels in another namespace to the head's Service", neighbor, other, "get", service, false},
		{"the head to another Pod", u, head, "get", url(u.pod("app=other").Status.PodIP), false},
		{"a worker to another Pod", u, worker, "get", url(u.pod("app=other").Status.PodIP), false},
		{"a worker to the API server", u, worker, "api-server", "", false},
	}
	for _, pod := range u.pods(rayv1.RoleWorker) {
		connections = append(connections,
			connection{"the head to a worker", u, head, "get", url(pod.Status.PodIP), true},
			connection{"a worker to a worker", u, worker, "get", url(pod.Status.PodIP), true},
			connection{"another Pod to a worker", u, other, "get", url(pod.Status.PodIP), false})
	}
	return connections
}

// TestRayWithNetworkPolicy starts Ray with the sample NetworkPolicy, and runs tasks on all nodes.
func TestRayWithNetworkPolicy(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.change(u.sample(policySample))
	u.admitMachine() // which asks the GCS
	o := u.apply("ray-cluster", u.sample(shortSample))
	o.waitReady()
	checkTasks(u, "ray-cluster", 3)

	u.runProbe("other", "app=other")
	dashboard := func() error { return u.connect("pod/other", "get", "http://ray-cluster-head:8265/api/version") }
	if dashboard() == nil {
		t.Error("another Pod reaches the dashboard")
	}
	u.kubectl("delete", "networkpolicies", "--all")
	harness.Eventually(t, "without the policy, another Pod reaches the dashboard", dashboard)
}

// admitMachine admits the machine, on which the tests run, to all Pods of the namespace.
func (u *user) admitMachine() {
	u.Helper()
	address, _ := apiServer(u)
	u.change(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: machine}
spec:
  podSelector: {}
  ingress: [{from: [{ipBlock: {cidr: ` + address + `/32}}]}]
`)
}

// apiServer returns the address of the API server.
func apiServer(u *user) (address string, port int) {
	u.Helper()
	slice, err := cluster.Kube.DiscoveryV1().EndpointSlices("default").Get(u.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return slice.Endpoints[0].Addresses[0], int(*slice.Ports[0].Port)
}

// runProbe runs a probe in a Pod.
func (u *user) runProbe(name, labels string) {
	u.Helper()
	u.kubectl("run", name, "--image="+probeImage, "--labels="+labels)
	u.kubectl("wait", "--for=condition=Ready", "pod/"+name, "--timeout=180s")
}

// connect connects from the probe in a Pod.
func (u *user) connect(target, function, argument string) error {
	return u.try("", "exec", target, "--", "/program", function, argument).Err
}

// pod returns the only Pod with a label.
func (u *user) pod(selector string) *corev1.Pod {
	u.Helper()
	list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		u.Fatal(err)
	}
	if len(list.Items) != 1 {
		u.Fatalf("there are %d Pods with %s, want 1", len(list.Items), selector)
	}
	return &list.Items[0]
}
