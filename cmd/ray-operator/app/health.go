package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"k8s.io/klog/v2"
)

// serveHealth serves /healthz and /readyz until the server that it returns is closed, and
// /debug/pprof/ if profiling is wanted. Healthy is what the check says; ready is a replica
// whose caches are full, whether it leads or stands by.
func serveHealth(ctx context.Context, options *Options, healthy func(*http.Request) error, ready func() bool) (*http.Server, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, request *http.Request) {
		answer(w, healthy(request))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready() {
			answer(w, nil)
		} else {
			answer(w, errors.New("the caches are not full yet"))
		}
	})
	if options.Profiling {
		// The index also serves the profiles of the runtime, by their names.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	if options.HealthBindAddress == "" {
		return server, nil
	}

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.HealthBindAddress)
	if err != nil {
		return nil, fmt.Errorf("--health-bind-address: %w", err)
	}
	logger := klog.FromContext(ctx)
	logger.Info("Serving /healthz and /readyz", "address", listener.Addr())
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Serving /healthz and /readyz failed")
		}
	}()
	return server, nil
}

// answer writes the outcome of a check in the words that Kubernetes' components use.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}
