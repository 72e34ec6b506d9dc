package v1

// Labels of everything that the operator makes for a Ray, the Pods included. They
// alone form the selectors, and a template cannot override them.
const (
	// LabelName has the name of the Ray.
	LabelName = "ray.kubeflow.org/name"
	// LabelRole has the group's Role.
	LabelRole = "ray.kubeflow.org/role"
)

// Role tells the groups of Ray nodes apart.
type Role string

const (
	// RoleHead is the head node.
	RoleHead Role = "head"
	// RoleWorker is the group of workers.
	RoleWorker Role = "worker"
)

// Annotations with which a child records how it was last written. They survive a
// restart of the operator; docs/design.md says how they are used.
const (
	// AnnotationRayGeneration has the generation of the Ray that the child was last written for.
	AnnotationRayGeneration = "ray.kubeflow.org/ray-generation"
	// AnnotationGeneration has the metadata.generation that the operator's last write gave
	// the Deployment. As long as it stands, nobody else has changed the Deployment's spec.
	AnnotationGeneration = "ray.kubeflow.org/generation"
	// AnnotationInputs has a hash of the group's template in the Ray.
	AnnotationInputs = "ray.kubeflow.org/template-inputs"
	// AnnotationYielded identifies a difference that admission insists on, such as a label
	// that a webhook changes back.
	AnnotationYielded = "ray.kubeflow.org/yielded"
	// AnnotationRendering has a hash of the Pod template that the operator made of it.
	AnnotationRendering = "ray.kubeflow.org/template-rendering"
)
