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

// Package v1 contains version v1 of the API group ray.kubeflow.org: the Ray object, with the desired state
// of a Ray cluster in its spec and the observed state in its status.
//
// The types and their markers define the schema. hack/update-codegen.sh generates manifests/crd from them.
//
// +k8s:deepcopy-gen=package
// +groupName=ray.kubeflow.org
package v1
