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

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// decode decodes as the client does.
func decode(data []byte) (runtime.Object, error) {
	info, _ := runtime.SerializerInfoForMediaType(Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	object, _, err := Codecs.DecoderToVersion(info.Serializer, rayv1.SchemeGroupVersion).Decode(data, &rayv1.SchemeGroupVersionKind, nil)
	return object, err
}

func decodeRay(t testing.TB, data []byte) *rayv1.Ray {
	t.Helper()
	object, err := decode(data)
	ray, ok := object.(*rayv1.Ray)
	if err != nil || !ok {
		t.Fatalf("decoding %s: got %T, %v", data, object, err)
	}
	return ray
}

const replicasMessage = `spec.head.replicas cannot be decoded: json: cannot unmarshal string into Go struct field HeadSpec.head.replicas of type int32`

func TestDecode(t *testing.T) {
	tests := []struct {
		name string
		data string
		// want is a part of the message, "" if the Ray can be decoded.
		want string
	}{
		{name: "valid", data: `{"spec":{"head":{"replicas":1}},"status":{"observedGeneration":3}}`},
		{name: "a string for a number", data: `{"spec":{"head":{"replicas":"two"}}}`, want: replicasMessage},
		{name: "a number that is too large", data: `{"spec":{"worker":{"replicas":4294967296}}}`, want: "spec.worker.replicas cannot be decoded: json: cannot unmarshal number 4294967296"},
		{name: "a fraction for an integer", data: `{"spec":{"worker":{"replicas":1.5}}}`, want: "spec.worker.replicas cannot be decoded: "},
		{
			name: "a quantity, with an error that does not name the field",
			data: `{"spec":{"head":{"template":{"spec":{"containers":[{"name":"a"},{"resources":{"limits":{"cpu":"1","memory":"much"}}}]}}}}}`,
			want: "spec.head.template.spec.containers[1].resources.limits.memory cannot be decoded: quantities must match",
		},
		{name: "an invalid time", data: `{"spec":{"head":{"template":{"metadata":{"creationTimestamp":"noon"}}}}}`, want: "spec.head.template.metadata.creationTimestamp cannot be decoded: parsing time"},
		{name: "a list for an object", data: `{"spec":{"head":[{"replicas":1}]}}`, want: "spec.head cannot be decoded: json: cannot unmarshal array"},
		{name: "an object for a list", data: `{"spec":{"head":{"template":{"spec":{"containers":{"name":"a"}}}}}}`, want: "spec.head.template.spec.containers cannot be decoded: json: cannot unmarshal object"},
		{name: "a string for the spec", data: `{"spec":"none"}`, want: "spec cannot be decoded: json: cannot unmarshal string"},
		{name: "the first of two invalid fields, ordered by name", data: `{"spec":{"worker":[],"head":{"replicas":true}}}`, want: "spec.head.replicas cannot be decoded: json: cannot unmarshal bool"},
		{name: "unknown fields are ignored", data: `{"spec":{"extra":[[{}]],"head":{"replicas":1,"nodes":"two"}}}`},
		{name: "an invalid status is dropped", data: `{"spec":{"head":{"replicas":1}},"status":{"observedGeneration":"x"}}`},
		{name: "an invalid status without a spec", data: `{"status":"fine"}`},
		{name: "an invalid spec and status", data: `{"spec":7,"status":[]}`, want: "spec cannot be decoded: json: cannot unmarshal number"},
		{name: "null for the spec", data: `{"spec":null,"status":7}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := decodeRay(t, []byte(`{"metadata":{"name":"a","uid":"u","generation":3,"annotations":{"mine":"1"}},`+test.data[1:]))
			got, found := ray.Annotations[annotationUndecodable]
			if found != (test.want != "") || !strings.Contains(got, test.want) {
				t.Errorf("the Ray is marked: %t, with the message %q, want %q", found, got, test.want)
			}
			delete(ray.Annotations, annotationUndecodable)
			want := metav1.ObjectMeta{Name: "a", UID: "u", Generation: 3, Annotations: map[string]string{"mine": "1"}}
			if diff := cmp.Diff(want, ray.ObjectMeta); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			if test.want != "" && !cmp.Equal(ray.Spec, rayv1.RaySpec{}) {
				t.Errorf("the spec is %v, want it empty", ray.Spec)
			}
		})
	}
}

// TestDecodeIntoUsedRay decodes into a Ray that has other content.
// TestDecodeQuantities decodes quantities in all the forms that the schema accepts. Forms of the same
// quantity have the same hash of inputs, so changing the form does not restart Pods.
func TestDecodeQuantities(t *testing.T) {
	for _, test := range []struct{ quantity, canonical string }{
		{`0.5`, `"500m"`},
		{`"0.5"`, `"500m"`},
		{`1`, `"1"`},
		{`1.10`, `"1100m"`},
		{`1000000000`, `"1G"`}, // as the API server stores 1e9
		{`1e-99`, `"1e-9"`},    // rounded up
		{`9000000000000000000`, `"9E"`},
		{`0`, `"0"`},
		{`null`, `"0"`},
		{`" 1 "`, `"1"`},
	} {
		const format = `{"spec":{"head":{"template":{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":%s}}}]}}}}}`
		got, want := decodeRay(t, fmt.Appendf(nil, format, test.quantity)), decodeRay(t, fmt.Appendf(nil, format, test.canonical))
		if reason, undecodable := Undecodable(got); undecodable {
			t.Errorf("%s: %s", test.quantity, reason)
		}
		gotHash, wantHash := resources.InputsHash(resources.Groups(got)[0]), resources.InputsHash(resources.Groups(want)[0])
		if gotHash != wantHash {
			t.Errorf("%s: the hash of inputs is %s, want %s as for %s", test.quantity, gotHash, wantHash, test.canonical)
		}
	}
}

func TestDecodeIntoUsedRay(t *testing.T) {
	info, _ := runtime.SerializerInfoForMediaType(Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	into := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"of": "another"}}, Status: rayv1.RayStatus{ObservedGeneration: 1}}
	got, _, err := Codecs.DecoderToVersion(info.Serializer, rayv1.SchemeGroupVersion).Decode([]byte(`{"metadata":{"name":"a"},"spec":1}`), nil, into)
	if err != nil || got != into || into.Labels != nil || into.Name != "a" || into.Status.ObservedGeneration != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestInvalidResponses has responses that no API server sends, which must be errors.
func TestInvalidResponses(t *testing.T) {
	for _, data := range []string{
		`{`, `7`, `{"metadata":"none","spec":1}`, `{"kind":"RayList","items":7}`,
		`{"kind":"RayList","items":[{"metadata":{"name":"a"},"spec":1},{"metadata":7}]}`,
		`{"kind":"Status","apiVersion":"v1","code":"x"}`,
	} {
		if got, err := decode([]byte(data)); err == nil {
			t.Errorf("%s was decoded to %v", data, got)
		}
	}
}

// TestMark checks that no client can set the mark.
func TestMark(t *testing.T) {
	if len(validation.IsQualifiedName(annotationUndecodable)) == 0 {
		t.Errorf("%q is a valid annotation, which a client can set", annotationUndecodable)
	}
}
