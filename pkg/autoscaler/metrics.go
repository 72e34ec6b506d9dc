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

package autoscaler

import (
	"time"

	"k8s.io/component-base/metrics"
)

// Metrics are about all Rays. None is about a single Ray, so that their number is bounded.
var (
	pollDuration = metrics.NewHistogram(&metrics.HistogramOpts{
		Name:           "ray_operator_autoscaler_poll_duration_seconds",
		Help:           "Duration of asking the GCS of a Ray for its demand, including failures.",
		Buckets:        metrics.ExponentialBuckets(0.0005, 4, 8),
		StabilityLevel: metrics.ALPHA,
	})
	pollErrors = metrics.NewCounter(&metrics.CounterOpts{
		Name:           "ray_operator_autoscaler_poll_errors_total",
		Help:           "Number of polls that failed. The condition ScalingActive of a Ray has the reason.",
		StabilityLevel: metrics.ALPHA,
	})
	drainedNodes = metrics.NewCounter(&metrics.CounterOpts{
		Name:           "ray_operator_autoscaler_drained_nodes_total",
		Help:           "Number of idle nodes that Ray shut down for the autoscaler.",
		StabilityLevel: metrics.ALPHA,
	})
)

// RegisterMetrics registers the metrics of all autoscalers of the process.
func RegisterMetrics(register func(...metrics.Registerable)) {
	register(pollDuration, pollErrors, drainedNodes)
}

// observePoll records the duration and the result of a poll.
func observePoll(duration time.Duration, err error) {
	pollDuration.Observe(duration.Seconds())
	if err != nil {
		pollErrors.Inc()
	}
}
