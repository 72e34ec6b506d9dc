package controller

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// setting returns a mangle function that sets a field.
func setting(value any, path ...string) func(map[string]any) {
	return func(ray map[string]any) {
		if err := unstructured.SetNestedField(ray, value, path...); err != nil {
			panic(err)
		}
	}
}

var (
	undecodableReplicas = setting("two", "spec", "head", "replicas")
	undecodableMessage  = `spec.head.replicas cannot be decoded: json: cannot unmarshal string into Go struct field HeadSpec.head.replicas of type int32`
)

func TestUndecodableSpec(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	before := f.ray().Status
	f.server.mangle = undecodableReplicas
	f.converge()

	want := []string{updateStatus}
	if diff := cmp.Diff(want, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Warning Unreadable " + undecodableMessage}, f.takeEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if got := f.health(); got != "False Unreadable: "+undecodableMessage {
		t.Errorf("Health is %q", got)
	}
	status := f.ray().Status
	if status.ObservedGeneration != f.ray().Generation {
		t.Errorf("observedGeneration is %d, want %d", status.ObservedGeneration, f.ray().Generation)
	}
	if !cmp.Equal(status.Worker, before.Worker) || status.Head != before.Head || !status.StartTime.Equal(before.StartTime) {
		t.Errorf("the status lost what was known: %v, want %v", status, before)
	}

	t.Run("nothing is repeated, but the event by another process", func(t *testing.T) {
		f.rollOut()
		f.converge()
		if events := f.takeEvents(); len(events) > 0 {
			t.Errorf("events %v", events)
		}
		f.restart()
		f.converge()
		if writes, events := f.takeWrites(), f.takeEvents(); len(writes) > 0 || len(events) != 1 {
			t.Errorf("writes %v, events %v", writes, events)
		}
	})

	t.Run("another error is reported", func(t *testing.T) {
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(6)) })
		f.server.mangle = setting("none", "spec")
		f.converge()
		if events := f.takeEvents(); len(events) != 1 || !strings.Contains(f.health(), "spec cannot be decoded: ") {
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

func TestUndecodableNewRay(t *testing.T) {
	f := newFixture(t)
	f.server.mangle = undecodableReplicas
	f.restart()
	f.converge()
	if diff := cmp.Diff([]string{updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	f.server.mangle = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(2)) })
	f.makeHealthy()
}

func TestUndecodableRayIsDeleted(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.mangle = func(ray map[string]any) {
		undecodableReplicas(ray)
		setting("2026-01-02T03:04:05Z", "metadata", "deletionTimestamp")(ray)
	}
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.converge()
	if writes, events := f.takeWrites(), f.takeEvents(); len(writes)+len(events) > 0 {
		t.Errorf("writes %v, events %v", writes, events)
	}
}

// TestUndecodableRayWithoutStatus has the API server refuse the status, as it does where a
// rule of the schema fails on the spec.
func TestUndecodableRayWithoutStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.server.mangle = undecodableReplicas
	invalid := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	f.reject(invalid, updateStatus)
	for range 3 {
		f.rollOut()
		f.converge()
	}
	if diff := cmp.Diff([]string{updateStatus}, f.takeWrites()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Warning Unreadable " + undecodableMessage}, f.takeEvents()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	f.reject(nil)
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
	f.converge()
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
	f.converge()
	if got := len(f.health()); got > 2*maxMessage {
		t.Errorf("Health has %d bytes", got)
	}
	f.takeWrites()
	f.restart()
	f.converge()
	if writes := f.takeWrites(); len(writes) > 0 {
		t.Errorf("it is written again: %v", writes)
	}
	if data, err := json.Marshal(f.health()); err != nil || strings.Contains(string(data), `\ufffd`) {
		t.Errorf("a character was cut in two: %s, %v", data, err)
	}
}
