// Package v1 is version v1 of the API group ray.kubeflow.org: the Ray object, in
// which a user says what Ray cluster is wanted and reads how it stands.
//
// The markers beside the types are the schema: hack/update-codegen.sh turns them
// into manifests/crd.
//
// +k8s:deepcopy-gen=package
// +groupName=ray.kubeflow.org
package v1
