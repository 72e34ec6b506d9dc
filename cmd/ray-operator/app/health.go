package app

import (
	"errors"
	"fmt"
	"net/http"
)

// newHealthEndpoint returns what serves /healthz and /readyz. Healthy is what the check says;
// ready is a replica whose caches are full, whether it leads or stands by.
func newHealthEndpoint(options *Options, healthy func(*http.Request) error, ready func() bool) endpoint {
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
	return endpoint{flag: "--health-bind-address", address: options.HealthBindAddress, what: "/healthz and /readyz", handler: mux}
}

// answer writes the outcome of a check in the words that Kubernetes' components use.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}
