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

package podtemplate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestMergeServiceAccount has a user who sets the ServiceAccount with the deprecated field. The API server
// sets both fields, and uses the other one if they differ.
func TestMergeServiceAccount(t *testing.T) {
	template := func(deprecated, current string) *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{Spec: corev1.PodSpec{DeprecatedServiceAccount: deprecated, ServiceAccountName: current}}
	}
	merged := Merge(template("changed", "changed"), template("desired", ""))
	if got := merged.Spec.ServiceAccountName; got != "desired" {
		t.Errorf("the ServiceAccount is %q, want desired", got)
	}
}
