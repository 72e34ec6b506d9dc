package v1

// Labels of all children of a Ray and of their Pods. Only these form selectors, and a template
// cannot override them.
const (
	// LabelName is the name of the Ray.
	LabelName = "ray.kubeflow.org/name"
	// LabelRole is the Role of the group.
	LabelRole = "ray.kubeflow.org/role"
)

// AnnotationLastApplied is the record, in JSON, of what the operator last applied to a child. The
// operator compares with it to detect changes by users, other clients and admission, also after a
// restart. It is not an API; docs/design.md has its fields.
const AnnotationLastApplied = "ray.kubeflow.org/last-applied"

// Role is the role of a group of Ray nodes.
type Role string

const (
	// RoleHead is the role of the head node.
	RoleHead Role = "head"
	// RoleWorker is the role of the workers.
	RoleWorker Role = "worker"
)
