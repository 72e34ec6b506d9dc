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
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// service returns the Service of the head of the short sample.
func (u *user) service() *corev1.Service {
	u.Helper()
	service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), "ray-cluster-head", metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return service
}

// waitService waits until the Service of the head meets a condition.
func (u *user) waitService(what string, met func(*corev1.Service) bool) {
	u.Helper()
	u.eventually(what, func() error {
		if service := u.service(); !met(service) {
			return fmt.Errorf("the Service is %v, %v", service.ObjectMeta, service.Spec)
		}
		return nil
	})
}

func (u *user) patchSpec(patch string) {
	u.Helper()
	u.kubectl("patch", "ray/ray-cluster", "--type=merge", "-p", `{"spec":`+patch+`}`)
}

// TestHeadService changes the Service of a head from the default to NodePort, LoadBalancer and back. The cluster IP and
// the node ports stay while they can, and nothing is written once the Ray is in steady state.
func TestHeadService(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(shortSample(t), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	clusterIP := u.service().Spec.ClusterIP
	pods := u.podUIDs(rayv1.RoleHead)

	u.patchSpec(`{"headService":{"type":"NodePort","publishNotReadyAddresses":true,"annotations":{"example.com/a":"1"},"labels":{"team":"a"}}}`)
	u.waitService("has node ports, the annotation and the label", func(s *corev1.Service) bool {
		return s.Spec.Type == corev1.ServiceTypeNodePort && s.Spec.PublishNotReadyAddresses && s.Spec.Ports[0].NodePort > 0 && s.Annotations["example.com/a"] == "1" && s.Labels["team"] == "a"
	})
	nodePorts := map[string]int32{}
	for _, port := range u.service().Spec.Ports {
		nodePorts[port.Name] = port.NodePort
	}

	// A port of the head is removed, and another gets a protocol.
	u.patchSpec(`{"head":{"start":{"args":["--dashboard-port=9000"]}}}`)
	u.waitService("has the new port of the dashboard", func(s *corev1.Service) bool {
		return strings.Contains(fmt.Sprint(s.Spec.Ports), "9000")
	})
	for _, port := range u.service().Spec.Ports {
		if port.Name != "dashboard" && port.NodePort != nodePorts[port.Name] {
			t.Errorf("the node port of %s changes from %d to %d", port.Name, nodePorts[port.Name], port.NodePort)
		}
	}

	u.patchSpec(`{"headService":{"type":"LoadBalancer","annotations":{"example.com/a":null}}}`)
	u.waitService("is a load balancer without the annotation", func(s *corev1.Service) bool {
		_, found := s.Annotations["example.com/a"]
		return s.Spec.Type == corev1.ServiceTypeLoadBalancer && !found
	})
	u.patchSpec(`{"headService":null}`)
	u.waitService("has the default settings", func(s *corev1.Service) bool {
		_, found := s.Labels["team"]
		return s.Spec.Type == corev1.ServiceTypeClusterIP && !s.Spec.PublishNotReadyAddresses && s.Spec.Ports[0].NodePort == 0 && !found
	})
	if service := u.service(); service.Spec.ClusterIP != clusterIP {
		t.Errorf("the cluster IP changes from %s to %s", clusterIP, service.Spec.ClusterIP)
	}
	u.waitHealthy("ray-cluster")
	// The change of the dashboard's port replaces the head, once.
	if after := u.podUIDs(rayv1.RoleHead); len(after) != 1 || after[0] == pods[0] {
		t.Errorf("the Pods of the head are %v, before they were %v", after, pods)
	}
	u.waitSteady()
	mark := markAudit(t)
	u.kubectl("annotate", "service/ray-cluster-head", "example.com/note=a")
	u.waitSteady()
	u.checkRequests("the Service gets an annotation", u.requestsSince(mark), map[string]int{})
}

// TestHeadServicePorts checks the application protocols of ports, which follow from their names. What other clients set
// remains.
func TestHeadServicePorts(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const container = "image: rayproject/ray:2.60.0\n"
	manifest := strings.Replace(withSpec(t, "headService: {type: ClusterIP}"), container,
		container+"            ports: [{name: http-serve, containerPort: 8000}, {name: grpc, containerPort: 10001}]\n", 1)
	u.kubectlWith(manifest, "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	patch := `[{"op":"add","path":"/spec/ports/2/appProtocol","value":"example.com/gcs"}]`
	if _, err := cluster.Kube.CoreV1().Services(u.namespace).Patch(t.Context(), "ray-cluster-head", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	u.patchSpec(`{"head":{"start":{"args":["--dashboard-port=9000"]}}}`)
	u.waitService("has the new port of the dashboard", func(s *corev1.Service) bool {
		return strings.Contains(fmt.Sprint(s.Spec.Ports), "9000")
	})
	got := map[string]string{}
	for _, port := range u.service().Spec.Ports {
		if port.AppProtocol != nil {
			got[port.Name] = *port.AppProtocol
		}
	}
	want := map[string]string{"http-serve": "http", "grpc": "kubernetes.io/h2c", "gcs": "example.com/gcs"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("application protocols (-want +got):\n%s", diff)
	}
}

// TestEndpoints checks the addresses in the status when the ports of the head change.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(shortSample(t), "apply", "-f", "-")
	u.waitHealthy("ray-cluster")
	host := "ray-cluster-head." + u.namespace + ".svc:"
	want := rayv1.Endpoints{GCS: host + "6379", Dashboard: "http://" + host + "8265", Client: "ray://" + host + "10001", Serve: "http://" + host + "8000"}
	if got := u.ray("ray-cluster").Status.Endpoints; got != want {
		t.Errorf("the endpoints are %v, want %v", got, want)
	}
	u.patchSpec(`{"head":{"start":{"args":["--dashboard-port=9000"]}}}`)
	u.waitHealthy("ray-cluster")
	want.Dashboard = "http://" + host + "9000"
	if got := u.ray("ray-cluster").Status.Endpoints; got != want {
		t.Errorf("with another port of the dashboard, the endpoints are %v, want %v", got, want)
	}
}

// TestHeadServiceValidation creates Rays with settings of the Service that are not valid.
func TestHeadServiceValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, test := range []struct{ name, settings, want string }{
		{"a headless Service", "{clusterIP: None}", `unknown field "spec.headService.clusterIP"`},
		{"another type", "{type: ExternalName}", `spec.headService.type: Unsupported value: "ExternalName": supported values: "ClusterIP", "NodePort", "LoadBalancer"`},
		{"a reserved annotation", "{annotations: {ray.kubeflow.org/last-applied: a}}", "spec.headService.annotations: Forbidden: must not have keys that begin with ray.kubeflow.org/"},
		{"a reserved label", "{labels: {ray.kubeflow.org/name: a}}", "spec.headService.labels: Forbidden: must not have keys that begin with ray.kubeflow.org/"},
	} {
		t.Run(test.name, func(t *testing.T) { u.checkRejected(t, withSpec(t, "headService: "+test.settings), test.want) })
	}
}

// TestHeadServiceExposure checks the warning of a head that is exposed without authentication.
func TestHeadServiceExposure(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const token = "authentication: {tokenSecretKeyRef: {name: first, key: token}}"
	for _, test := range []struct{ settings, want string }{
		{"headService: {type: LoadBalancer}", "Ray ray-cluster: headService.type LoadBalancer exposes the head outside of the cluster"},
		{"headService: {type: NodePort}", "Ray ray-cluster: headService.type NodePort exposes the head outside of the cluster"},
		{"headService: {type: LoadBalancer}\n  " + token, ""},
		{"headService: {type: ClusterIP}", ""},
		{"headService: {}", ""},
		{"suspend: false", ""},
	} {
		got := u.kubectlWith(withSpec(t, test.settings), "apply", "--dry-run=server", "-f", "-").Stderr
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: the warning is %q, want %q", test.settings, got, test.want)
		}
	}
}

// TestHeadServicePolicy checks that a user who may not create Services cannot expose a head through a Ray.
func TestHeadServicePolicy(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.createRole("deployments", permission{"apps", "deployments", "create"})
	u.createRole("services", permission{"", "services", "create"})
	u.bind("deployer", []string{"ray-editor", "deployments"})
	u.bind("exposer", []string{"ray-editor", "deployments", "services"})
	u.kubectlWith(withSpec(t, "headService: {type: LoadBalancer}"), "create", "-f", "-")
	exposed := u.ray("ray-cluster")
	create := func(as string, spec *rayv1.RaySpec) error {
		other := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: *spec}
		_, err := impersonate(t, as).RayV1().Rays(u.namespace).Create(t.Context(), other, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	change := func(as string, headService *rayv1.HeadServiceSpec) error {
		return retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the operator writes the status
			ray := u.ray("ray-cluster")
			ray.Spec.HeadService, ray.Spec.Head.Template.Spec.Containers[0].Image = headService, "another"
			_, err := impersonate(t, as).RayV1().Rays(u.namespace).Update(t.Context(), ray, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	}
	const denial = `cannot create resource "services"`
	u.eventually("the policy is enforced", func() error {
		err := create("deployer", &exposed.Spec)
		if err == nil {
			return errors.New("the request was allowed")
		}
		return wantText(err.Error(), denial)
	})
	if err := change("deployer", exposed.Spec.HeadService); err == nil || !strings.Contains(err.Error(), denial) {
		t.Errorf("a change of a Ray with an exposed head by a user who may not create Services returns %v", err)
	}
	hidden := exposed.Spec.DeepCopy()
	hidden.HeadService = nil
	for what, err := range map[string]error{
		"a Ray without settings, by a user who may not create Services":             create("deployer", hidden),
		"the removal of the settings, by a user who may not create Services":        change("deployer", nil),
		"a Ray with an exposed head, by a user who may create Services":             create("exposer", &exposed.Spec),
		"a change of a Ray with an exposed head, by a user who may create Services": change("exposer", exposed.Spec.HeadService),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
