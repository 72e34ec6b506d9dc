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

// TestNoDefinition starts where nobody has installed the CustomResourceDefinition.
func TestNoDefinition(t *testing.T) {
	kube, ray := kubefake.NewClientset(), rayfake.NewClientset()
	ray.PrependReactor("list", "rays", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(rayv1.Resource("rays"), "")
	})
	err := checkServer(t.Context(), "host", &clients{kube: kube, ray: ray, unfenced: kube}, NewOptions())
	const want = "the API server does not know rays.ray.kubeflow.org: install the CustomResourceDefinition first, with kubectl apply -k manifests/crd"
	if err == nil || err.Error() != want {
		t.Errorf("it says %v, want %s", err, want)
	}
}

// TestLeaseOfAnother starts where another replica holds the lease, which the operator may not
// write, or which the other one writes at the same time.
func TestLeaseOfAnother(t *testing.T) {
	leases := schema.GroupResource{Group: coordinationv1.GroupName, Resource: "leases"}
	for _, test := range []struct {
		name    string
		refusal error
		want    string
	}{
		{"it may not be written", apierrors.NewForbidden(leases, "ray-operator", errors.New("no")), "a permission is missing (manifests/rbac has all that are needed): " +
			`leases.coordination.k8s.io "ray-operator" is forbidden: no`},
		{"it is being written", apierrors.NewConflict(leases, "ray-operator", errors.New("it has been modified")), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := NewOptions()
			options.LeaderElection.LeaderElect = true
			options.LeaderElection.ResourceNamespace = "ray-system"
			kube := kubefake.NewClientset(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ray-system", Name: options.LeaderElection.ResourceName}})
			kube.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, test.refusal })
			var said string
			if err := checkServer(t.Context(), "host", &clients{kube: kube, ray: rayfake.NewClientset(), unfenced: kube}, options); err != nil {
				said = err.Error()
			}
			if said != test.want {
				t.Errorf("it says %q, want %q", said, test.want)
			}
		})
	}
}
