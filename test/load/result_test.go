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

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/test/audit"
)

func TestPercentiles(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)*time.Second)
	}
	for name, test := range map[string]struct {
		durations []time.Duration
		want      percentiles
	}{
		"of none":     {nil, percentiles{}},
		"of one":      {[]time.Duration{3 * time.Second}, percentiles{1, 3, 3, 3}},
		"of two":      {[]time.Duration{2 * time.Second, time.Second}, percentiles{2, 1, 2, 2}},
		"of 1 to 100": {hundred, percentiles{100, 50, 99, 100}},
	} {
		if got := newPercentiles(test.durations); got != test.want {
			t.Errorf("percentiles %s are %v, want %v", name, got, test.want)
		}
	}
	if hundred[0] != 100*time.Second {
		t.Error("the durations were reordered")
	}
}

func TestTally(t *testing.T) {
	counted := tally{}
	for _, kind := range []struct{ verb, resource, subresource string }{
		{"list", "rays", ""},
		{"update", "rays", "status"},
		{"create", "events", ""},
		{"update", "leases", ""},
		{"update", "rays", "status"},
		{"get", "leases", ""},
	} {
		request := &audit.Request{Verb: kind.verb}
		request.ObjectRef = &audit.Object{Resource: kind.resource, Subresource: kind.subresource}
		counted.add(request)
	}
	counted.add(&audit.Request{Verb: "get"}) // Such as /version.

	got := counted.sorted()
	want := []requests{
		{"create", "events", true, 1},
		{"update", "leases", true, 1},
		{"update", "rays/status", true, 2},
		{"get", "", false, 1},
		{"get", "leases", false, 1},
		{"list", "rays", false, 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("the requests are %v, want %v", got, want)
	}
	if got := writes(got); got != 3 {
		t.Errorf("got %v writes, want 3 without leases", got)
	}
	if got := writes(got, "rays/status"); got != 2 {
		t.Errorf("got %v status updates, want 2", got)
	}
	if got := reads(got); got != 2 {
		t.Errorf("got %v reads, want 2 without leases", got)
	}
}

func TestUsageSince(t *testing.T) {
	before := usage{"etcd": 5, otherProcesses: 100}
	after := usage{"etcd": 6, operatorProcess: 0.5, otherProcesses: 102}
	used := after.since(before)
	for process, want := range map[string]float64{
		"etcd":          1,
		operatorProcess: 0.5, // Started in between.
		otherProcesses:  0.5, // Of the 2 s of the machine.
	} {
		if used[process] != want {
			t.Errorf("%s used %v s, want %v", process, used[process], want)
		}
	}
}
