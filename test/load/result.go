package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kubeflow/ray-operator/test/audit"
)

// machine is where something was measured, and what.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kubernetes string `json:"kubernetes"`
	Operator   string `json:"operator"`
	// Go is the version that the operator was built with.
	Go    string   `json:"go"`
	Flags []string `json:"flags"`
}

// result is what one load costs, phase by phase.
type result struct {
	Machine machine `json:"machine"`
	Rays    int     `json:"rays"`
	// Pods tells whether there were controllers that make Pods. Without them Health is never
	// True, and a Ray counts as done when its status is about its newest generation.
	Pods    bool   `json:"pods"`
	Create  *phase `json:"create"`
	Rest    *phase `json:"rest"`
	Restart *phase `json:"restart"`
	Image   *phase `json:"image"`
	Delete  *phase `json:"delete"`
}

// big is what one large Ray costs, and what small ones beside it feel of it.
type big struct {
	Machine machine `json:"machine"`
	Workers int     `json:"workers"`
	// Cost is of all that went on while the large Ray was scaled.
	Cost *phase `json:"cost"`
	// Requests are the operator's for the large Ray alone.
	Requests []requests `json:"requests"`
	// UpSeconds and DownSeconds are from the change of its scale to Health.
	UpSeconds   float64 `json:"upSeconds"`
	DownSeconds float64 `json:"downSeconds"`
	// Quiet and Beside are times to Health of small Rays, before and all the while.
	Quiet  percentiles `json:"quiet"`
	Beside percentiles `json:"beside"`
	// Share is for how much of the time of the latter one had to wait for the operator.
	Share percentiles `json:"operatorShare"`
}

// perRay divides a number by that of the Rays.
func (r *result) perRay(total float64) float64 { return total / float64(r.Rays) }

// phase is what something costs.
type phase struct {
	// Seconds is until what was waited for had happened.
	Seconds float64 `json:"seconds"`
	// CPU is what each process used until then, in seconds; the operator's is until it had
	// come to rest, so that nothing is left out. Everything else on the machine is "other".
	CPU map[string]float64 `json:"cpuSeconds"`
	// Requests are the operator's until it had come to rest.
	Requests []requests `json:"requests"`
	// LastChild is when the operator had created the last child, if it did, in seconds from the
	// start.
	LastChild float64 `json:"lastChildSeconds,omitempty"`
	// Resident and Peak are the operator's memory at the end, and its most since it started.
	Resident float64 `json:"residentMiB"`
	Peak     float64 `json:"peakMiB"`
	// Latency is of single Rays, if it was measured.
	Latency *percentiles `json:"latency,omitempty"`
	// Share is for how much of that one had to wait for the operator, if it was measured.
	Share *percentiles `json:"operatorShare,omitempty"`
}

// requests counts the operator's requests of a kind.
type requests struct {
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Write    bool   `json:"write"`
	Count    int    `json:"count"`
}

// leases are what an operator that leads writes all the time, whatever it has to do. They are
// listed, and not counted.
const leases = "leases"

// writes returns how many writes there were to some resources, or to all but leases.
func writes(list []requests, resources ...string) float64 {
	return sum(list, func(r requests) bool {
		return r.Write && (len(resources) == 0 || slices.Contains(resources, r.Resource))
	})
}

// reads returns how many requests changed nothing, those of leases aside.
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

// tally adds up requests by verb and resource.
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
