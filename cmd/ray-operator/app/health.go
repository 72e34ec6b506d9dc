package app

import (
	"errors"
	"fmt"
	"net/http"
)

// newHealthEndpoint returns the endpoint of /healthz and /readyz. A replica is ready once its
// caches have synced, whether it leads or not.
func newHealthEndpoint(options *Options, healthy func(*http.Request) error, ready func() bool) endpoint {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, request *http.Request) {
		writeResult(w, healthy(request))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready() {
			writeResult(w, nil)
		} else {
			writeResult(w, errors.New("informer caches have not synced yet"))
		}
	})
	return endpoint{flag: "--health-bind-address", address: options.HealthBindAddress, paths: "/healthz and /readyz", handler: mux}
}

// writeResult writes the result of a check in the format of Kubernetes components.
func writeResult(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}
