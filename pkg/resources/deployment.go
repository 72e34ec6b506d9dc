package resources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// NewDeployment returns the Deployment of one group of a Ray, which must have it.
func NewDeployment(ray *rayv1.Ray, role rayv1.Role) *appsv1.Deployment {
	group := Group(ray, role)
	template := newPodTemplate(ray, role, &group.Template)

	meta := newObjectMeta(ray, role, DeploymentName(ray, role))
	meta.Annotations[rayv1.AnnotationInputs] = Hash(&group.Template)
	meta.Annotations[rayv1.AnnotationRendering] = Hash(&template)
	// The API server starts to count at 1; an update has to count on from what exists.
	meta.Annotations[rayv1.AnnotationGeneration] = "1"

	return &appsv1.Deployment{
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: new(Replicas(group)),
			Selector: &metav1.LabelSelector{MatchLabels: selectorLabels(ray, role)},
			Strategy: appsv1.DeploymentStrategy{Type: strategies[role]},
			Template: template,
		},
	}
}

// strategies says how a group's Pods are replaced. A head that rolled would be two GCS
// behind one Service for a while, hence two clusters.
var strategies = map[rayv1.Role]appsv1.DeploymentStrategyType{
	rayv1.RoleHead:   appsv1.RecreateDeploymentStrategyType,
	rayv1.RoleWorker: appsv1.RollingUpdateDeploymentStrategyType,
}

// Group returns the group of a Ray that has a role, or nil if the Ray has none.
func Group(ray *rayv1.Ray, role rayv1.Role) *rayv1.GroupSpec {
	if role == rayv1.RoleHead {
		return &ray.Spec.Head
	}
	return ray.Spec.Worker
}

// Replicas returns how many nodes a group wants. The schema defaults the field, but a
// Ray may have been stored before it did.
func Replicas(group *rayv1.GroupSpec) int32 {
	if group.Replicas == nil {
		return 1
	}
	return *group.Replicas
}

// newPodTemplate returns the user's template with what makes its Pods a Ray node: labels
// and environment. The rest is the user's, untouched.
func newPodTemplate(ray *rayv1.Ray, role rayv1.Role, users *corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	template := *users.DeepCopy()

	// People's labels are the user's to override, the selecting ones are not.
	labels := Labels(ray, role)
	maps.Copy(labels, users.Labels)
	maps.Copy(labels, selectorLabels(ray, role))
	template.Labels = labels

	env := newEnvironment(ray)
	for _, containers := range [][]corev1.Container{template.Spec.InitContainers, template.Spec.Containers} {
		for i := range containers {
			containers[i].Env = prependMissing(env, containers[i].Env)
		}
	}
	return template
}

// newEnvironment returns the variables by which Ray nodes find each other.
func newEnvironment(ray *rayv1.Ray) []corev1.EnvVar {
	podIP := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}
	return []corev1.EnvVar{
		{Name: "RAY_HEAD_SERVICE", Value: ServiceName(ray)},
		{Name: "RAY_NODE_IP", ValueFrom: podIP},
		{Name: "MY_POD_IP", ValueFrom: podIP},
	}
}

// prependMissing returns the user's variables with those of the operator's before them
// that they lack. Before, since a $(NAME) expands only to what is defined earlier.
func prependMissing(operators, users []corev1.EnvVar) []corev1.EnvVar {
	missing := slices.DeleteFunc(slices.Clone(operators), func(ours corev1.EnvVar) bool {
		return slices.ContainsFunc(users, func(theirs corev1.EnvVar) bool { return theirs.Name == ours.Name })
	})
	return append(missing, users...)
}

// Hash returns a short hash of a value that JSON can hold, equal for equal values.
func Hash(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		// API types come from JSON and go back to it: only a defect in them gets here.
		panic(fmt.Sprintf("encoding a value to hash: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
