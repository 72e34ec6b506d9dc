package app

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
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
