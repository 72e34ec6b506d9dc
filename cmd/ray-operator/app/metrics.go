package app

import (
	"crypto/tls"
	"net/http"
	"net/http/pprof"

	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // for those of client-go: requests, work queues, informers, leases

	"github.com/kubeflow/ray-operator/pkg/controller"
)

// buildInfo tells which version runs. The one that component-base has is Kubernetes'.
var buildInfo = metrics.NewGaugeVec(&metrics.GaugeOpts{
	Name:           "ray_operator_build_info",
	Help:           "Always 1. The label is the version of the operator.",
	StabilityLevel: metrics.ALPHA,
}, []string{"version"})

// registerMetrics registers all metrics in component-base's registry, where those of client-go
// and of the process are.
func registerMetrics(rays *controller.Controller) {
	controller.RegisterMetrics(legacyregistry.MustRegister)
	legacyregistry.CustomMustRegister(rays.Collector())
	legacyregistry.MustRegister(buildInfo)
	buildInfo.WithLabelValues(Version).Set(1)
}

// newMetricsEndpoint returns what serves /metrics, and /debug/pprof/ if profiling is wanted.
// Over HTTPS only those are answered whom the API server knows and allows it. Client asks it.
func newMetricsEndpoint(options *Options, client kubernetes.Interface) (endpoint, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", legacyregistry.Handler())
	if options.Profiling {
		// The index also serves the profiles of the runtime, by their names.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	e := endpoint{flag: "--metrics-bind-address", address: options.MetricsBindAddress, what: "/metrics", handler: mux}
	if !options.MetricsSecure {
		return e, nil
	}
	certificate, err := newCertificate(options.TLSCertFile, options.TLSPrivateKeyFile)
	if err != nil {
		return endpoint{}, err
	}
	e.handler = newGuard(client, mux)
	e.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"http/1.1"}}
	return e, nil
}
