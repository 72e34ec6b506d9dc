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

package app

import (
	"errors"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	rayfake "github.com/kubeflow/ray-operator/pkg/client/clientset/versioned/fake"
)

// TestNoDefinition checks the error if the CustomResourceDefinition is not installed.
func TestNoDefinition(t *testing.T) {
	kube, ray := kubefake.NewClientset(), rayfake.NewClientset()
	ray.PrependReactor("list", "rays", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(rayv1.Resource("rays"), "")
	})
	err := checkServer(t.Context(), "host", &clients{kube: kube, ray: ray, unfenced: kube}, NewOptions())
	const want = "the API server does not serve rays.ray.kubeflow.org: install the CustomResourceDefinition with kubectl apply -k manifests/crd"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// TestLeaseHeldByAnotherReplica checks the lease of another replica, without the permission to
// update it, and while the other replica updates it.
func TestLeaseHeldByAnotherReplica(t *testing.T) {
	leases := schema.GroupResource{Group: coordinationv1.GroupName, Resource: "leases"}
	for _, test := range []struct {
		name      string
		updateErr error
		want      string
	}{
		{"update is forbidden", apierrors.NewForbidden(leases, "ray-operator", errors.New("no")), "missing permission (apply manifests/rbac): " +
			`leases.coordination.k8s.io "ray-operator" is forbidden: no`},
		{"update conflicts", apierrors.NewConflict(leases, "ray-operator", errors.New("it has been modified")), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := NewOptions()
			options.LeaderElection.LeaderElect = true
			options.LeaderElection.ResourceNamespace = "ray-system"
			kube := kubefake.NewClientset(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ray-system", Name: options.LeaderElection.ResourceName}})
			kube.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, test.updateErr })
			var got string
			if err := checkServer(t.Context(), "host", &clients{kube: kube, ray: rayfake.NewClientset(), unfenced: kube}, options); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got error %q, want %q", got, test.want)
			}
		})
	}
}
