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
