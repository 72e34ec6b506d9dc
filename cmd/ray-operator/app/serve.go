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

// serve serves an endpoint until the server that it returns is closed. An address that
// cannot be had is an error.
func serve(ctx context.Context, e endpoint) (*http.Server, error) {
	server := &http.Server{
		Handler:           e.handler,
		TLSConfig:         e.tls,
		ReadHeaderTimeout: 10 * time.Second,
		// Nothing here gains by HTTP/2, whose streams cost a client less than the server.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if e.address == "" {
		return server, nil
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
