// Package v1 contains version v1 of the API group ray.kubeflow.org: the Ray object, with the desired state
// of a Ray cluster in its spec and the observed state in its status.
//
// The types and their markers define the schema. hack/update-codegen.sh generates manifests/crd from them.
//
// +k8s:deepcopy-gen=package
// +groupName=ray.kubeflow.org
package v1
