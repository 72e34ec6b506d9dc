package resources

import (
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// ManagedBy is the value of the label app.kubernetes.io/managed-by of every child.
const ManagedBy = "ray-operator"

// newObjectMeta returns the metadata that every child of a Ray has.
func newObjectMeta(ray *rayv1.Ray, role rayv1.Role, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       ray.Namespace,
		Name:            name,
		Labels:          Labels(ray, role),
		Annotations:     map[string]string{rayv1.AnnotationRayGeneration: strconv.FormatInt(ray.Generation, 10)},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ray, rayv1.SchemeGroupVersionKind)},
	}
}

// Labels returns the labels of a child: the operator's own, which select, and
// Kubernetes' recommended ones, for people.
func Labels(ray *rayv1.Ray, role rayv1.Role) map[string]string {
	all := selectorLabels(ray, role)
	all["app.kubernetes.io/name"] = "ray"
	all["app.kubernetes.io/instance"] = ray.Name
	all["app.kubernetes.io/component"] = string(role)
	all["app.kubernetes.io/managed-by"] = ManagedBy
	return all
}

// Selector returns the selector of a group's Pods in the form that the scale
// subresource reports.
func Selector(ray *rayv1.Ray, role rayv1.Role) string {
	return rayv1.LabelName + "=" + ray.Name + "," + rayv1.LabelRole + "=" + string(role)
}

// selectorLabels returns the labels that select the Pods of a group. A Deployment's
// selector is immutable, so nothing may ever be added here.
func selectorLabels(ray *rayv1.Ray, role rayv1.Role) map[string]string {
	return map[string]string{
		rayv1.LabelName: ray.Name,
		rayv1.LabelRole: string(role),
	}
}
