package controller

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// decode decodes as the client does.
func decode(data []byte) (runtime.Object, error) {
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	object, _, err := codecs.DecoderToVersion(info.Serializer, rayv1.SchemeGroupVersion).Decode(data, &rayv1.SchemeGroupVersionKind, nil)
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

// setting returns a mangle function that sets a field.
func setting(value any, path ...string) func(map[string]any) {
	return func(ray map[string]any) {
		if err := unstructured.SetNestedField(ray, value, path...); err != nil {
			panic(err)
		}
	}
}

var (
	wordyReplicas = setting("two", "spec", "head", "replicas")
	wordyMessage  = `the operator cannot read spec.head.replicas: json: cannot unmarshal string into Go struct field GroupSpec.head.replicas of type int32`
)

func TestDecodeUnreadable(t *testing.T) {
	tests := []struct {
		name string
		data string
		// want is a part of the message, "" if the Ray can be read.
		want string
	}{
		{name: "good", data: `{"spec":{"head":{"replicas":1}},"status":{"observedGeneration":3}}`},
		{name: "number", data: `{"spec":{"head":{"replicas":"two"}}}`, want: wordyMessage},
		{name: "too large", data: `{"spec":{"worker":{"replicas":4294967296}}}`, want: "spec.worker.replicas: json: cannot unmarshal number 4294967296"},
		{name: "fraction", data: `{"spec":{"worker":{"replicas":1.5}}}`, want: "spec.worker.replicas: "},
		{
			name: "a quantity, whose error does not name the field",
			data: `{"spec":{"head":{"template":{"spec":{"containers":[{"name":"a"},{"resources":{"limits":{"cpu":"1","memory":"much"}}}]}}}}}`,
			want: "spec.head.template.spec.containers[1].resources.limits.memory: quantities must match",
		},
		{name: "time", data: `{"spec":{"head":{"template":{"metadata":{"creationTimestamp":"noon"}}}}}`, want: "spec.head.template.metadata.creationTimestamp: parsing time"},
		{name: "list for an object", data: `{"spec":{"head":[{"replicas":1}]}}`, want: "spec.head: json: cannot unmarshal array"},
		{name: "object for a list", data: `{"spec":{"head":{"template":{"spec":{"containers":{"name":"a"}}}}}}`, want: "spec.head.template.spec.containers: json: cannot unmarshal object"},
		{name: "all of it", data: `{"spec":"none"}`, want: "cannot read spec: json: cannot unmarshal string"},
		{name: "the first of two in the order of their names", data: `{"spec":{"worker":[],"head":{"replicas":true}}}`, want: "spec.head.replicas: json: cannot unmarshal bool"},
		{name: "what nobody knows is skipped", data: `{"spec":{"extra":[[{}]],"head":{"replicas":1,"nodes":"two"}}}`},
		{name: "a broken status is as good as none", data: `{"spec":{"head":{"replicas":1}},"status":{"observedGeneration":"x"}}`},
		{name: "only a broken status", data: `{"status":"fine"}`},
		{name: "neither", data: `{"spec":7,"status":[]}`, want: "spec: json: cannot unmarshal number"},
		{name: "null", data: `{"spec":null,"status":7}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ray := decodeRay(t, []byte(`{"metadata":{"name":"a","uid":"u","generation":3,"annotations":{"mine":"1"}},`+test.data[1:]))
			got, found := ray.Annotations[annotationUnreadable]
			if found != (test.want != "") || !strings.Contains(got, test.want) {
				t.Errorf("marked %t with %q, want %q", found, got, test.want)
			}
			delete(ray.Annotations, annotationUnreadable)
			want := metav1.ObjectMeta{Name: "a", UID: "u", Generation: 3, Annotations: map[string]string{"mine": "1"}}
			if diff := cmp.Diff(want, ray.ObjectMeta); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			if test.want != "" && !cmp.Equal(ray.Spec, rayv1.RaySpec{}) {
				t.Errorf("a part of the spec is left: %v", ray.Spec)
			}
		})
	}
}

// TestDecodeIntoUsedRay has the decoder fill what has had another content.
func TestDecodeIntoUsedRay(t *testing.T) {
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	into := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"of": "another"}}, Status: rayv1.RayStatus{ObservedGeneration: 1}}
	got, _, err := codecs.DecoderToVersion(info.Serializer, rayv1.SchemeGroupVersion).Decode([]byte(`{"metadata":{"name":"a"},"spec":1}`), nil, into)
	if err != nil || got != into || into.Labels != nil || into.Name != "a" || into.Status.ObservedGeneration != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestUndecodable has what no API server sends. It must be told, and not taken for a Ray.
func TestUndecodable(t *testing.T) {
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

// TestMark has the mark of an unreadable Ray be one that users cannot set.
func TestMark(t *testing.T) {
	if len(validation.IsQualifiedName(annotationUnreadable)) == 0 {
		t.Errorf("%q is a valid annotation", annotationUnreadable)
	}
}

func TestUnreadableSpec(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	before := f.ray().Status
	f.server.mangle = wordyReplicas
	f.settle()

	want := []string{updateStatus}
	if diff := cmp.Diff(want, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Warning Unreadable " + wordyMessage}, f.takeEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := f.health(); got != "False Unreadable: "+wordyMessage {
		t.Errorf("Health is %q", got)
	}
	status := f.ray().Status
	if status.ObservedGeneration != f.ray().Generation {
		t.Errorf("observedGeneration is %d, want %d", status.ObservedGeneration, f.ray().Generation)
	}
	if !cmp.Equal(status.Worker, before.Worker) || status.Head != before.Head || !status.StartTime.Equal(before.StartTime) {
		t.Errorf("the status lost what was known: %v, want %v", status, before)
	}

	t.Run("nothing is repeated, also by another process", func(t *testing.T) {
		f.rollOut()
		f.settle()
		f.restart()
		f.settle()
		if writes, events := f.takeWrites(), f.takeEvents(); len(writes)+len(events) > 0 {
			t.Errorf("writes %v, events %v", writes, events)
		}
	})

	t.Run("another error is told", func(t *testing.T) {
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(6)) })
		f.server.mangle = setting("none", "spec")
		f.settle()
		if events := f.takeEvents(); len(events) != 1 || !strings.Contains(f.health(), "cannot read spec: ") {
			t.Errorf("Health %q, events %v", f.health(), events)
		}
	})

	t.Run("once it is corrected, all is as ever", func(t *testing.T) {
		f.server.mangle = nil
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(7)) })
		f.makeHealthy()
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 7 {
			t.Errorf("there are %d workers", got)
		}
	})
}

func TestUnreadableNewRay(t *testing.T) {
	f := newFixture(t)
	f.server.mangle = wordyReplicas
	f.restart()
	f.settle()
	if diff := cmp.Diff([]string{updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	f.server.mangle = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(2)) })
	f.makeHealthy()
}

func TestUnreadableRayIsDeleted(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.mangle = func(ray map[string]any) {
		wordyReplicas(ray)
		setting("2026-01-02T03:04:05Z", "metadata", "deletionTimestamp")(ray)
	}
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.settle()
	if writes, events := f.takeWrites(), f.takeEvents(); len(writes)+len(events) > 0 {
		t.Errorf("writes %v, events %v", writes, events)
	}
}

// TestUnreadableRayWithoutStatus has the API server refuse the status, as it does where a
// rule of the schema fails on the spec.
func TestUnreadableRayWithoutStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.server.mangle = wordyReplicas
	invalid := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	f.refuse(invalid, updateStatus)
	for range 3 {
		f.rollOut()
		f.settle()
	}
	if diff := cmp.Diff([]string{updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Warning Unreadable " + wordyMessage}, f.takeEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	f.refuse(nil)
	f.server.mangle = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(6)) })
	f.makeHealthy()
}

// TestBrokenStatus has a status that cannot be read. It is written anew, and then is right.
func TestBrokenStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.mangle = setting("x", "status", "observedGeneration")
	f.deliver()
	f.restart()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	f.server.mangle = nil
	f.settle()
	if diff := cmp.Diff([]string{updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if got := f.health(); got != healthy {
		t.Errorf("Health is %q", got)
	}
}

// TestLongMessage has an error that quotes all of a long value.
func TestLongMessage(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.server.mangle = setting(strings.Repeat("é", 100_000), "spec", "head", "template", "metadata", "creationTimestamp")
	f.settle()
	if got := len(f.health()); got > 2*maxMessage {
		t.Errorf("Health has %d bytes", got)
	}
	f.takeWrites()
	f.restart()
	f.settle()
	if writes := f.takeWrites(); len(writes) > 0 {
		t.Errorf("it is written again: %v", writes)
	}
	if data, err := json.Marshal(f.health()); err != nil || strings.Contains(string(data), `\ufffd`) {
		t.Errorf("a character was cut in two: %s, %v", data, err)
	}
}

// TestHugeExponents has quantities that would take for ever to parse, and what only looks so.
func TestHugeExponents(t *testing.T) {
	const ray = `{"apiVersion":"ray.kubeflow.org/v1","kind":"Ray","metadata":{"name":"a","uid":"5f7e1234-1e100"},` +
		`"spec":{"head":{"template":{"spec":{"containers":[{"name":"h","args":[%q],%s}]}}}},"status":%s}`
	const container = "the operator cannot read spec.head.template.spec.containers[0]"
	const cpu, limits = container + ".resources.limits.cpu: ", `"resources":{"limits":{"cpu":%s}}`
	tests := []struct{ field, value, wantWhy string }{
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
		// What cannot be decoded for another reason must not become what can be.
		{`"image":%s`, `1e300`, container + ".image: "},
		{`"stdin":%s`, `1e300`, container + ".stdin: "},
		{`"env":%s`, `1e300`, container + ".env: "},
		{`"command":%s`, `[1e300]`, container + ".command[0]: "},
		{`"resources":%s`, `1e300`, container + ".resources: "},
		{`"image":%s`, `"1e300"`, ""},
	}
	for _, test := range tests {
		for _, status := range []string{`{}`, `"malformed"`} {
			field := fmt.Sprintf(test.field, test.value)
			argument := "1e1000"
			if test.wantWhy != "" {
				argument = "x" // or the field would be looked at for its sake
			}
			list := fmt.Sprintf(`{"apiVersion":"ray.kubeflow.org/v1","kind":"RayList","items":[`+ray+`,`+ray+`]}`,
				argument, field, status, "1e1000", `"tty":true`, status)
			object, err := decode([]byte(list))
			rays, ok := object.(*rayv1.RayList)
			if err != nil || !ok || len(rays.Items) != 2 {
				t.Errorf("%s: got %v, %v", field, object, err)
				continue
			}
			why := rays.Items[0].Annotations[annotationUnreadable]
			if (why == "") != (test.wantWhy == "") || !strings.HasPrefix(why, test.wantWhy) {
				t.Errorf("%s: it is unreadable since %q, want %q", field, why, test.wantWhy)
			}
			readable := rays.Items[:1]
			if why != "" {
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
