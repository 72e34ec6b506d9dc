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

package rayclient

import (
	"fmt"
	"strings"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestHugeExponents has quantities that would take very long to parse, and values that only look like them.
func TestHugeExponents(t *testing.T) {
	const ray = `{"apiVersion":"ray.kubeflow.org/v1","kind":"Ray","metadata":{"name":"a","uid":"5f7e1234-1e100"},` +
		`"spec":{"head":{"template":{"spec":{"containers":[{"name":"h","args":[%q],%s}]}}}},"status":%s}`
	const container = "spec.head.template.spec.containers[0]"
	const cpu, limits = container + ".resources.limits.cpu cannot be decoded: ", `"resources":{"limits":{"cpu":%s}}`
	tests := []struct{ field, value, wantReason string }{
		{limits, `"1e99"`, ""},
		{limits, `"-17E777777777777777777"`, cpu},
		{limits, `"1e-777777777777"`, cpu},
		{limits, `"+.5E-777777777777"`, cpu},
		{limits, `1e-777777777777`, cpu},
		{limits, ` 1E777777777777 `, cpu},
		{limits, `" 1e-777777777777"`, cpu},
		{limits, `"1e-777777777777 \t"`, cpu},
		{limits, "\"\u00a01e-777777777777\u3000\"", cpu},
		{limits, `"1e999999999999999999999999"`, cpu},
		{limits, `"5f7e1234-1e100"`, cpu},
		{limits, `"1E77777777777777777777.5e12"`, cpu},
		// Other values that cannot be decoded must not become decodable.
		{`"image":%s`, `1e300`, container + ".image cannot be decoded: "},
		{`"stdin":%s`, `1e300`, container + ".stdin cannot be decoded: "},
		{`"env":%s`, `1e300`, container + ".env cannot be decoded: "},
		{`"command":%s`, `[1e300]`, container + ".command[0] cannot be decoded: "},
		{`"resources":%s`, `1e300`, container + ".resources cannot be decoded: "},
		{`"image":%s`, `"1e300"`, ""},
	}
	for _, test := range tests {
		for _, status := range []string{`{}`, `"malformed"`} {
			field := fmt.Sprintf(test.field, test.value)
			argument := "1e1000"
			if test.wantReason != "" {
				argument = "x" // only the field has an exponent
			}
			list := fmt.Sprintf(`{"apiVersion":"ray.kubeflow.org/v1","kind":"RayList","items":[`+ray+`,`+ray+`]}`,
				argument, field, status, "1e1000", `"tty":true`, status)
			object, err := decode([]byte(list))
			rays, ok := object.(*rayv1.RayList)
			if err != nil || !ok || len(rays.Items) != 2 {
				t.Errorf("%s: got %v, %v", field, object, err)
				continue
			}
			reason := rays.Items[0].Annotations[annotationUndecodable]
			if (reason == "") != (test.wantReason == "") || !strings.HasPrefix(reason, test.wantReason) {
				t.Errorf("%s: the reason is %q, want %q", field, reason, test.wantReason)
			}
			readable := rays.Items[:1]
			if reason != "" {
				readable = nil
			}
			for _, ray := range append(readable, rays.Items[1]) {
				if containers := ray.Spec.Head.Template.Spec.Containers; len(containers) != 1 || containers[0].Args[0] != "1e1000" {
					t.Errorf("%s, with the status %s: the containers are %v", field, status, containers)
				}
			}
		}
	}
}
