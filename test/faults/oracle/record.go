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

package oracle

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// record has the fields of the annotation last-applied that the oracles check.
type record struct {
	// RayGeneration is the generation of the Ray that the child was last written for.
	RayGeneration int64 `json:"rayGeneration"`
	// Generation is the generation of the Deployment after the operator's last write.
	Generation int64 `json:"generation"`
}

// recordOf returns the record of a child. It is zero if the child has none that can be decoded.
func recordOf(child metav1.Object) record {
	var decoded record
	if json.Unmarshal([]byte(child.GetAnnotations()[rayv1.AnnotationLastApplied]), &decoded) != nil {
		return record{}
	}
	return decoded
}

// normalizeRecord removes from a record the generations, and which templates were new together. All other fields must
// equal those after a fresh deployment.
func normalizeRecord(annotations map[string]string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(annotations[rayv1.AnnotationLastApplied]), &fields) != nil {
		return
	}
	for _, field := range []string{"rayGeneration", "generation", "templateGeneration", "newWorkers"} {
		delete(fields, field)
	}
	data, err := json.Marshal(fields)
	if err != nil {
		panic(err) // comes from Unmarshal
	}
	annotations[rayv1.AnnotationLastApplied] = string(data)
}
