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
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/klog/v2"
)

// endpoint is an HTTP endpoint of the operator.
type endpoint struct {
	// flag is the name of the flag that sets address.
	flag string
	// address is empty if the endpoint is disabled.
	address string
	// paths names the paths of handler, for the log.
	paths   string
	handler http.Handler
	// tls is nil for plain HTTP.
	tls *tls.Config
}

// serve serves endpoints until stop is called. It fails if it cannot listen on an address.
func serve(ctx context.Context, endpoints ...endpoint) (stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, server := range servers {
			server.Close()
		}
	}
	for _, e := range endpoints {
		if e.address == "" {
			continue
		}
		server, err := e.serve(ctx)
		if err != nil {
			stop()
			return nil, err
		}
		servers = append(servers, server)
	}
	return stop, nil
}

// serve serves an endpoint until the returned server is closed.
func (e *endpoint) serve(ctx context.Context) (*http.Server, error) {
	server := &http.Server{
		Handler:   e.handler,
		TLSConfig: e.tls,
		// Limit how long idle or slow clients can hold connections.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       90 * time.Second,
		// Disable HTTP/2: it has no benefit here, and is exposed to stream-reset attacks.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.flag, err)
	}
	logger := klog.FromContext(ctx)
	logger.Info("Serving "+e.paths, "address", listener.Addr())
	go func() {
		serve := server.Serve
		if e.tls != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Serving failed", "paths", e.paths)
		}
	}()
	return server, nil
}
