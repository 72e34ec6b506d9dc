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

package app

import (
	"crypto/tls"
	"net/http"
	"net/http/pprof"

	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // register the metrics of client-go: requests, work queues, informers, leases

	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/controller"
)

// buildInfo reports the version of the operator. The build info of component-base reports the
// version of Kubernetes.
var buildInfo = metrics.NewGaugeVec(&metrics.GaugeOpts{
	Name:           "ray_operator_build_info",
	Help:           "A metric with a constant value of 1, labeled by the version of the operator.",
	StabilityLevel: metrics.ALPHA,
}, []string{"version"})

// registerMetrics registers the metrics of the operator in component-base's registry, which
// already has those of client-go and of the process.
func registerMetrics(rays *controller.Controller) {
	controller.RegisterMetrics(legacyregistry.MustRegister)
	autoscaler.RegisterMetrics(legacyregistry.MustRegister)
	legacyregistry.CustomMustRegister(rays.Collector())
	legacyregistry.MustRegister(buildInfo)
	buildInfo.WithLabelValues(Version).Set(1)
}

// newMetricsEndpoint returns the endpoint of /metrics and, with --profiling, of /debug/pprof/.
// Over HTTPS, requests are authenticated and authorized by the API server through client.
func newMetricsEndpoint(options *Options, client kubernetes.Interface) (endpoint, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", legacyregistry.Handler())
	if options.Profiling {
		// The index also serves the named profiles of the runtime.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	e := endpoint{flag: "--metrics-bind-address", address: options.MetricsBindAddress, paths: "/metrics", handler: mux}
	if !options.MetricsSecure {
		return e, nil
	}
	certificate, err := newCertificate(options.TLSCertFile, options.TLSPrivateKeyFile)
	if err != nil {
		return endpoint{}, err
	}
	e.handler = newAuthFilter(client, mux)
	e.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1"}}
	return e, nil
}
