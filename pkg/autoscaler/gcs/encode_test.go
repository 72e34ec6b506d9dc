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

package gcs

import (
	"bytes"
	"testing"
	"time"
)

// TestEncode compares requests with those that Ray's own modules encode.
func TestEncode(t *testing.T) {
	id := make([]byte, 28)
	for i := range id {
		id[i] = byte(i)
	}
	at := func(seconds int64) time.Time { return time.Unix(1700000000+seconds, 123) }
	selector := Selector{
		{Name: "gpu", Values: []string{"h100", "a100"}},
		{Name: "zone", Values: []string{"b"}, Not: true},
	}
	tests := []struct {
		recorded string
		encoded  []byte
	}{
		{"request-drain", encodeDrain(string(id), "idle for 60 s")},
		{"request-state", encodeState(&AutoscalingState{
			Version:    1700000000123,
			Requested:  []InstanceRequest{{Group: "small", Count: 3, Since: at(0)}},
			Infeasible: []Request{{Resources: Resources{"GPU": 0.5, "CPU": 64}, Selectors: []Selector{selector}}},
			InfeasibleGangs: []Gang{{Details: "x:STRICT_SPREAD|PENDING", Requests: []Request{
				{Resources: Resources{"GPU": 1}, AntiAffinity: Label{"_PG_x", "v"}},
				{Resources: Resources{"GPU": 2}, Affinity: Label{"_PG_y", "w"}},
			}}},
			InfeasibleConstraint: []Demand{tasks(3, Resources{"GPU": 1})},
			Pending: []PendingInstance{{
				Group: "small", Instance: "x-worker-1", Address: "10.0.0.7", Details: "Pod is pending",
			}},
			Failed: []FailedRequest{{Group: "gpu", Count: 2, Reason: "QuotaExceeded", Started: at(1), Failed: at(2)}},
		})},
		{"request-config", encodeConfig(&ClusterConfig{
			Min: map[string]uint64{"CPU": 1}, Max: map[string]uint64{"memory": 1 << 40, "CPU": 9},
			Groups: []GroupConfig{
				{Name: "small", Resources: map[string]uint64{"CPU": 2, "memory": 1 << 30}, Min: 1, Max: 4},
				{Name: "gpu", Resources: map[string]uint64{"GPU": 1}, Max: -1},
			},
		})},
	}
	for _, test := range tests {
		want := recorded(t, "ray-2.60.0-"+test.recorded)
		if !bytes.Equal(test.encoded, want) {
			t.Errorf("%s:\n got %q\nwant %q", test.recorded, test.encoded, want)
		}
	}
}
