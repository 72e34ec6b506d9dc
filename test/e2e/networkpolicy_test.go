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
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestNetworkPolicySample checks that the sample NetworkPolicy, which isolates a Ray, selects the
// Pods of that Ray and no others. It is not enforced here, since there is no Pod network; test/ray
// does that.
func TestNetworkPolicySample(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, name := range []string{"ray-cluster", "other"} {
		u.kubectlWith(u.sample("name: sample-cluster", "name: "+name), "apply", "-f", "-")
		u.waitHealthy(name)
	}
	if out := u.kubectl("apply", "-f", cluster.Path("manifests/samples/network-policy.yaml")); out.Stderr != "" {
		t.Errorf("kubectl apply prints warnings: %s", out.Stderr)
	}
	policy, err := cluster.Kube.NetworkingV1().NetworkPolicies(u.namespace).Get(t.Context(), "ray-cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, pod := range slices.Concat(u.pods(rayv1.RoleHead), u.pods(rayv1.RoleWorker)) {
		if pod.Labels[rayv1.LabelName] == "ray-cluster" {
			want = append(want, pod.Name)
		}
	}
	if len(want) != 4 {
		t.Fatalf("the Ray has the Pods %v, want 4", want)
	}
	slices.Sort(want)
	for what, selector := range map[string]*metav1.LabelSelector{
		"pod selector": &policy.Spec.PodSelector,
		"ingress peer": policy.Spec.Ingress[0].From[0].PodSelector,
		"egress peer":  policy.Spec.Egress[0].To[0].PodSelector,
	} {
		var got []string
		for _, pod := range u.selected(selector) {
			got = append(got, pod.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got Pods %v, want %v", what, got, want)
		}
	}
	dns := networkingv1.NetworkPolicyEgressRule{
		To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"k8s-app": "kube-dns"}},
		}},
		Ports: []networkingv1.NetworkPolicyPort{
			{Protocol: new(corev1.ProtocolUDP), Port: new(intstr.FromInt32(53))},
			{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(53))},
		},
	}
	if diff := cmp.Diff([]networkingv1.NetworkPolicyEgressRule{dns}, policy.Spec.Egress[1:]); diff != "" {
		t.Errorf("other egress rules, want only DNS (-want +got):\n%s", diff)
	}
	if peers := len(policy.Spec.Ingress[0].From); peers != 1 {
		t.Errorf("the first ingress rule has %d peers, want only the Pods of the Ray", peers)
	}
	operator := networkingv1.NetworkPolicyIngressRule{
		From: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "ray-system"}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "ray-operator"}},
		}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(6379))}},
	}
	if diff := cmp.Diff([]networkingv1.NetworkPolicyIngressRule{operator}, policy.Spec.Ingress[1:]); diff != "" {
		t.Errorf("other ingress rules, want only the operator to the GCS (-want +got):\n%s", diff)
	}
}
