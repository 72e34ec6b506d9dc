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
