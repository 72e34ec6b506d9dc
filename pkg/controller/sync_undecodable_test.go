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

// setField returns a function that sets a field of an encoded Ray.
func setField(value any, path ...string) func(map[string]any) {
	return func(ray map[string]any) {
		if err := unstructured.SetNestedField(ray, value, path...); err != nil {
			panic(err)
		}
	}
}

var (
	undecodableReplicas = setField("two", "spec", "head", "replicas")
	undecodableMessage  = `spec.head.replicas cannot be decoded: json: cannot unmarshal string into Go struct field HeadSpec.head.replicas of type int32`
)

func TestUndecodableSpec(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	before := f.ray().Status
	f.server.corrupt = undecodableReplicas
	f.converge()

	f.checkWritesAndEvents([]string{updateStatus}, []string{"Warning Unreadable " + undecodableMessage})
	f.checkHealth("False Unreadable: " + undecodableMessage)
	status := f.ray().Status
	if status.ObservedGeneration != f.ray().Generation {
		t.Errorf("observedGeneration is %d, want %d", status.ObservedGeneration, f.ray().Generation)
	}
	if !cmp.Equal(status.Worker, before.Worker) || status.Head != before.Head || !status.StartTime.Equal(before.StartTime) {
		t.Errorf("the status is %v, want the counts and the start time of %v", status, before)
	}

	t.Run("only a restart reports the problem again", func(*testing.T) {
		f.rollOut()
		f.converge()
		f.checkWritesAndEvents(nil, nil)
		f.restart()
		f.converge()
		f.checkWritesAndEvents(nil, []string{"Warning Unreadable " + undecodableMessage})
	})

	t.Run("another error is reported", func(t *testing.T) {
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(6)) })
		f.server.corrupt = setField("none", "spec")
		f.converge()
		events := f.takeEvents()
		if len(events) != 1 || !strings.HasPrefix(events[0], "Warning Unreadable spec cannot be decoded: ") {
			t.Errorf("events %q, want one about the new error", events)
		}
		if got, want := f.health(), "False Unreadable: spec cannot be decoded: "; !strings.HasPrefix(got, want) {
			t.Errorf("Health is %q, want the prefix %q", got, want)
		}
	})

	t.Run("a corrected Ray is reconciled", func(t *testing.T) {
		f.server.corrupt = nil
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(7)) })
		f.makeHealthy()
		if got := *f.deployment(rayv1.RoleWorker).Spec.Replicas; got != 7 {
			t.Errorf("there are %d workers, want 7", got)
		}
	})
}

func TestUndecodableNewRay(t *testing.T) {
	f := newFixture(t)
	f.server.corrupt = undecodableReplicas
	f.restart()
	f.converge()
	f.checkWritesAndEvents([]string{updateStatus}, []string{"Warning Unreadable " + undecodableMessage})
	f.server.corrupt = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(2)) })
	f.makeHealthy()
}

func TestUndecodableDeletedRay(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.corrupt = func(ray map[string]any) {
		undecodableReplicas(ray)
		setField("2026-01-02T03:04:05Z", "metadata", "deletionTimestamp")(ray)
	}
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.converge()
	f.checkWritesAndEvents(nil, nil)
}

// TestUndecodableRayWithRejectedStatus has the API server reject the status as invalid, as it does if the
// spec violates a rule of the schema.
func TestUndecodableRayWithRejectedStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.server.corrupt = undecodableReplicas
	f.reject(apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil), updateStatus)
	for range 3 {
		f.rollOut()
		f.converge()
	}
	f.checkWritesAndEvents([]string{updateStatus}, []string{"Warning Unreadable " + undecodableMessage})

	f.server.reject = nil
	f.server.corrupt = nil
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(6)) })
	f.makeHealthy()
}

// TestUndecodableStatus checks that a status that cannot be decoded is replaced.
func TestUndecodableStatus(t *testing.T) {
	f := newHealthyFixture(t)
	f.server.corrupt = setField("x", "status", "observedGeneration")
	f.deliver()
	f.restart()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	f.server.corrupt = nil
	f.converge()
	f.checkWritesAndEvents([]string{updateStatus}, nil)
	f.checkHealth(healthy)
}

// TestUndecodableLongValue has an error that quotes a long value.
func TestUndecodableLongValue(t *testing.T) {
	f := newHealthyFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.server.corrupt = setField(strings.Repeat("é", 100_000), "spec", "head", "template", "metadata", "creationTimestamp")
	f.converge()
	if got := f.health(); !strings.HasPrefix(got, "False Unreadable: ") || len(got) > len("False Unreadable: ")+maxMessage {
		t.Errorf("Health has %d bytes, want at most %d: %.100s", len(got), maxMessage, got)
	}
	f.takeWrites()
	f.restart()
	f.converge()
	if writes := f.takeWrites(); len(writes) > 0 {
		t.Errorf("another process made the writes %q", writes)
	}
	if data, err := json.Marshal(f.health()); err != nil || strings.Contains(string(data), `\ufffd`) {
		t.Errorf("the message was truncated within a character: %s, %v", data, err)
	}
}
