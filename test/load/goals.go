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

import "math"

// row is a row of a table: a value of each measurement, and the goal.
type row[T any] struct {
	what   string
	unit   string
	digits int // After the decimal point.
	// limit is the goal, which is the maximum. It is nil or returns NaN if there is none.
	limit func(T) float64
	value func(T) float64
	// pods is whether the value is meaningless on a cluster that does not create Pods.
	pods bool
}

// rows is the table of loads. Rows without a goal explain the others.
var rows = []row[*result]{
	{"create: operator CPU per Ray", " ms", 1, atMost(8), func(r *result) float64 { return r.perRay(1000 * r.Create.CPU[operatorProcess]) }, true},
	{"create: operator writes per Ray", "", 2, atMost(8), func(r *result) float64 { return r.perRay(writes(r.Create.Requests)) }, true},
	{"create: operator reads per Ray", "", 2, nil, func(r *result) float64 { return r.perRay(reads(r.Create.Requests)) }, false},
	{"create: Ray done after, p50", " s", 2, nil, func(r *result) float64 { return r.Create.Latency.P50 }, false},
	{"create: Ray done after, p99", " s", 2, nil, func(r *result) float64 { return r.Create.Latency.P99 }, false},
	{"create: Ray done after, max", " s", 2, nil, func(r *result) float64 { return r.Create.Latency.Max }, false},
	{"create: operator's share of that, p50", " s", 3, nil, func(r *result) float64 { return r.Create.Share.P50 }, true},
	{"create: operator's share of that, max", " s", 3, nil, func(r *result) float64 { return r.Create.Share.Max }, true},
	{"create: last child after", " s", 1, nil, func(r *result) float64 { return r.Create.LastChild }, false},
	{"create: all Rays done after", " s", 1, nil, func(r *result) float64 { return r.Create.Seconds }, false},
	{"memory, resident", " MiB", 0, memoryLimit, func(r *result) float64 { return r.Create.Resident }, false},
	{"memory, peak", " MiB", 0, nil, func(r *result) float64 { return max(r.Rest.Peak, r.Delete.Peak) }, false},
	{"rest: writes", "", 0, atMost(0), func(r *result) float64 { return writes(r.Rest.Requests) }, false},
	{"rest: CPU per minute", " ms", 0, atMost(20), func(r *result) float64 { return 1000 * r.Rest.CPU[operatorProcess] / (r.Rest.Seconds / 60) }, false},
	{"restart: writes", "", 0, atMost(0), func(r *result) float64 { return writes(r.Restart.Requests) }, false},
	{"restart: CPU until steady state", " s", 2, restartLimit(1.2), func(r *result) float64 { return r.Restart.CPU[operatorProcess] }, false},
	{"restart: ready after", " s", 2, restartLimit(5), func(r *result) float64 { return r.Restart.Seconds }, false},
	{"new image: child updates per Ray", "", 2, atMost(2), func(r *result) float64 { return r.perRay(writes(r.Image.Requests, "deployments", "services")) }, true},
	{"new image: status writes per Ray", "", 2, atMost(6), func(r *result) float64 { return r.perRay(writes(r.Image.Requests, "rays/status")) }, true},
	{"new image: operator CPU per Ray", " ms", 1, nil, func(r *result) float64 { return r.perRay(1000 * r.Image.CPU[operatorProcess]) }, true},
	{"new image: all Rays done after", " s", 1, nil, func(r *result) float64 { return r.Image.Seconds }, false},
	{"delete: writes", "", 0, atMost(0), func(r *result) float64 { return writes(r.Delete.Requests) }, false},
	{"delete: operator CPU per Ray", " ms", 1, nil, func(r *result) float64 { return r.perRay(1000 * r.Delete.CPU[operatorProcess]) }, false},
	{"delete: all deleted after", " s", 1, nil, func(r *result) float64 { return r.Delete.Seconds }, false},
}

// bigRows is the table of the big Ray.
var bigRows = []row[*big]{
	{"big Ray: operator writes, up and back", "", 0, func(*big) float64 { return 20 }, func(b *big) float64 { return writes(b.Requests) }, false},
	{"big Ray: scaled up after", " s", 1, nil, func(b *big) float64 { return b.UpSeconds }, false},
	{"big Ray: scaled down after", " s", 1, nil, func(b *big) float64 { return b.DownSeconds }, false},
	{"small Ray on a quiet cluster: Health after, p50", " s", 2, nil, func(b *big) float64 { return b.Quiet.P50 }, false},
	{"small Ray on a quiet cluster: Health after, max", " s", 2, nil, func(b *big) float64 { return b.Quiet.Max }, false},
	{"small Ray beside it: Health after, p50", " s", 2, nil, func(b *big) float64 { return b.Beside.P50 }, false},
	{"small Ray beside it: Health after, max", " s", 2, func(*big) float64 { return 2 }, func(b *big) float64 { return b.Beside.Max }, false},
	{"small Ray beside it: operator's share, p50", " s", 3, nil, func(b *big) float64 { return b.Share.P50 }, false},
	{"small Ray beside it: operator's share, max", " s", 3, nil, func(b *big) float64 { return b.Share.Max }, false},
}

// autoscaledRows is the table of autoscaled Rays.
var autoscaledRows = []row[*autoscaled]{
	{"autoscaled, rest: CPU", " cores", 3, func(*autoscaled) float64 { return 0.3 }, func(a *autoscaled) float64 { return a.Rest.CPU[operatorProcess] / a.Rest.Seconds }, false},
	{"autoscaled, rest: memory, resident", " MiB", 0, func(*autoscaled) float64 { return 150 }, func(a *autoscaled) float64 { return a.Rest.Resident }, false},
	{"autoscaled, rest: memory, peak", " MiB", 0, nil, func(a *autoscaled) float64 { return a.Rest.Peak }, false},
	{"autoscaled, rest: writes", "", 0, func(*autoscaled) float64 { return 0 }, func(a *autoscaled) float64 { return writes(a.Rest.Requests) }, false},
	{"autoscaled, rest: polls per second", "", 0, nil, func(a *autoscaled) float64 { return a.Polls }, false},
}

// growthLimit is the goal for the growth of the CPU per Ray with ten times as many Rays.
const growthLimit = 1.2

// atMost returns a goal for any number of Rays.
func atMost(limit float64) func(*result) float64 { return func(*result) float64 { return limit } }

// restartLimit returns a goal for up to 1,000 Rays, since a restart reads all of them.
func restartLimit(limit float64) func(*result) float64 {
	return func(r *result) float64 {
		if r.Rays > 1_000 {
			return math.NaN()
		}
		return limit
	}
}

// memoryLimit is the goal for the resident memory with up to 1,000 and with up to 10,000 Rays.
func memoryLimit(r *result) float64 {
	switch {
	case r.Rays <= 1_000:
		return 75
	case r.Rays <= 10_000:
		return 400
	default:
		return math.NaN()
	}
}

// verdict returns whether a value meets a goal.
func verdict(value, limit float64) string {
	switch {
	case math.IsNaN(value), math.IsNaN(limit):
		return ""
	case value <= limit:
		return "pass"
	default:
		return "miss"
	}
}
