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
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kubeflow/ray-operator/test/audit"
)

// machine is the machine and the versions of a measurement.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kubernetes string `json:"kubernetes"`
	Operator   string `json:"operator"`
	// Go is the Go version that the operator was built with.
	Go    string   `json:"go"`
	Flags []string `json:"flags"`
}

// result is the measurement of one load, by phase.
type result struct {
	Machine machine `json:"machine"`
	Rays    int     `json:"rays"`
	// Pods is whether controllers created Pods. Otherwise Health is never True, and a Ray is done
	// when its status is of its newest generation.
	Pods    bool   `json:"pods"`
	Create  *phase `json:"create"`
	Rest    *phase `json:"rest"`
	Restart *phase `json:"restart"`
	Image   *phase `json:"image"`
	Delete  *phase `json:"delete"`
}

// big is the measurement of one big Ray, and of small ones that are created meanwhile.
type big struct {
	Machine machine `json:"machine"`
	Workers int     `json:"workers"`
	// Cost is of the time while the big Ray was scaled.
	Cost *phase `json:"cost"`
	// Requests are the operator's requests for the big Ray.
	Requests []requests `json:"requests"`
	// UpSeconds and DownSeconds are the times from scaling the big Ray to Health.
	UpSeconds   float64 `json:"upSeconds"`
	DownSeconds float64 `json:"downSeconds"`
	// Quiet and Beside are the times to Health of small Rays, before and meanwhile.
	Quiet  percentiles `json:"quiet"`
	Beside percentiles `json:"beside"`
	// Share is the operator's share of Beside.
	Share percentiles `json:"operatorShare"`
}

// autoscaled is the measurement of autoscaled Rays in steady state.
type autoscaled struct {
	Machine machine `json:"machine"`
	Rays    int     `json:"autoscaledRays"`
	Rest    *phase  `json:"rest"`
	// Polls is how many times per second the operator asked a GCS for its state.
	Polls float64 `json:"pollsPerSecond"`
}

// perRay divides a number by the number of Rays.
func (r *result) perRay(total float64) float64 { return total / float64(r.Rays) }

// phase is the measurement of a phase.
type phase struct {
	// Seconds is the duration.
	Seconds float64 `json:"seconds"`
	// CPU is the CPU time of each process in seconds. That of the operator includes the time until
	// the steady state. All other processes are "other".
	CPU map[string]float64 `json:"cpuSeconds"`
	// Requests are the operator's requests until the steady state.
	Requests []requests `json:"requests"`
	// LastChild is the time until the operator created the last child, in seconds.
	LastChild float64 `json:"lastChildSeconds,omitempty"`
	// Resident and Peak are the operator's memory at the end, and its peak since it started.
	Resident float64 `json:"residentMiB"`
	Peak     float64 `json:"peakMiB"`
	// Latency is of the single Rays.
	Latency *percentiles `json:"latency,omitempty"`
	// Share is the operator's share of Latency.
	Share *percentiles `json:"operatorShare,omitempty"`
}

// requests is the number of the operator's requests of a kind.
type requests struct {
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Write    bool   `json:"write"`
	Count    int    `json:"count"`
}

// leases are updated by a leader all the time, independent of the load. They are listed, but not
// counted.
const leases = "leases"

// writes returns the number of writes to some resources, or to all but leases.
func writes(list []requests, resources ...string) float64 {
	return sum(list, func(r requests) bool {
		return r.Write && (len(resources) == 0 || slices.Contains(resources, r.Resource))
	})
}

// reads returns the number of other requests, except those for leases.
func reads(list []requests) float64 {
	return sum(list, func(r requests) bool { return !r.Write })
}

func sum(list []requests, counts func(requests) bool) float64 {
	total := 0
	for _, r := range list {
		if r.Resource != leases && counts(r) {
			total += r.Count
		}
	}
	return float64(total)
}

// tally counts requests by verb and resource.
type tally map[requests]int

func (t tally) add(request *audit.Request) {
	t[requests{Verb: request.Verb, Resource: request.Resource(), Write: request.IsWrite()}]++
}

// sorted returns the writes first, then the reads.
func (t tally) sorted() []requests {
	var list []requests
	for kind, count := range t {
		kind.Count = count
		list = append(list, kind)
	}
	slices.SortFunc(list, func(a, b requests) int {
		if a.Write != b.Write {
			if a.Write {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Resource, b.Resource))
	})
	return list
}

// percentiles are of durations, in seconds.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// newPercentiles takes the nearest rank: each percentile is one of the durations.
func newPercentiles(durations []time.Duration) percentiles {
	if len(durations) == 0 {
		return percentiles{}
	}
	sorted := slices.Sorted(slices.Values(durations))
	at := func(share float64) float64 {
		rank := int(math.Ceil(share * float64(len(sorted))))
		return sorted[max(rank, 1)-1].Seconds()
	}
	return percentiles{Count: len(sorted), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
