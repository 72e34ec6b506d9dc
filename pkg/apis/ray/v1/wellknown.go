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
	// RoleWorker is the role of the workers in spec.worker. The role of a worker group is this one, "-" and
	// the name of the group.
	RoleWorker Role = "worker"
)
