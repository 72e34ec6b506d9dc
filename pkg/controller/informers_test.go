package controller

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestOthersAreNotKept gives the label by which children are watched to what is no Ray's.
func TestOthersAreNotKept(t *testing.T) {
	owners := map[string]struct {
		reference *metav1.OwnerReference
		wantSpec  bool
	}{
		"nobody":           {nil, false},
		"a Ray":            {metav1.NewControllerRef(&rayv1.Ray{}, rayv1.SchemeGroupVersionKind), true},
		"another's Ray":    {&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Ray", Controller: new(true)}, false},
		"a Ray's relative": {&metav1.OwnerReference{APIVersion: "ray.kubeflow.org/v1", Kind: "Ray"}, false},
	}
	for name, test := range owners {
		var references []metav1.OwnerReference
		if test.reference != nil {
			references = append(references, *test.reference)
		}
		meta := metav1.ObjectMeta{Name: "x", OwnerReferences: references}
		deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Paused: true}, Status: appsv1.DeploymentStatus{Replicas: 1}}
		service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: "x"}}
		for _, o := range []object{deployment, service} {
			if _, err := strip(o); err != nil {
				t.Fatal(err)
			}
		}
		if kept := []bool{deployment.Spec.Paused, deployment.Status.Replicas == 1, service.Spec.Type == "x"}; kept[0] != test.wantSpec || kept[1] != test.wantSpec || kept[2] != test.wantSpec {
			t.Errorf("of what belongs to %s is kept: %v, want %t", name, kept, test.wantSpec)
		}
	}
}
