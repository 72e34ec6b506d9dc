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

// endpoint is something that the operator serves.
type endpoint struct {
	// flag is the one that has the address.
	flag string
	// address is empty if it is to be served nowhere.
	address string
	// what is served, for the log.
	what    string
	handler http.Handler
	// tls is nil for plain HTTP.
	tls *tls.Config
}

// serve serves endpoints until stop is called. An address that cannot be had is an error.
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

// serve serves an endpoint until the server that it returns is closed.
func (e *endpoint) serve(ctx context.Context) (*http.Server, error) {
	server := &http.Server{
		Handler:   e.handler,
		TLSConfig: e.tls,
		// Whoever reaches the address must not be able to keep connections for nothing.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       90 * time.Second,
		// Nothing here gains by HTTP/2, whose streams cost a client less than the server.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.flag, err)
	}
	logger := klog.FromContext(ctx)
	logger.Info("Serving "+e.what, "address", listener.Addr())
	go func() {
		serve := server.Serve
		if e.tls != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Serving failed", "what", e.what)
		}
	}()
	return server, nil
}
