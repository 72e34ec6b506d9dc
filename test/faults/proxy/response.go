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

package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deliver sends the server's response to the operator.
func deliver(w http.ResponseWriter, response *response) {
	maps.Copy(w.Header(), response.header)
	w.WriteHeader(response.code)
	w.Write(response.body) //nolint:errcheck // The operator may have exited.
	http.NewResponseController(w).Flush()
}

// deliverError sends an error to the operator in the format of the API server.
func deliverError(w http.ResponseWriter, code int) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Reason:   metav1.StatusReason(reasons[code]),
		Message:  "injected: " + http.StatusText(code),
		Code:     int32(code),
	}
	if code == http.StatusTooManyRequests {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		w.Header().Set("Retry-After", strconv.Itoa(1))
	}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // an API type
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(body) //nolint:errcheck // The operator may have exited.
}

// reset closes a connection with RST.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // Without it the connection is closed with FIN, which is also an error.
	}
	connection.Close()
}

// response is the server's response to a request.
type response struct {
	code   int
	header http.Header
	body   []byte
}

// forward sends a request to the server and reads its response.
func (p *Proxy) forward(ctx context.Context, r *request) (*response, error) {
	received, err := p.roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	defer received.Body.Close()
	body, err := io.ReadAll(received.Body)
	if err != nil {
		return nil, err
	}
	return &response{code: received.StatusCode, header: received.Header, body: body}, nil
}

func (p *Proxy) roundTrip(ctx context.Context, r *request) (*http.Response, error) {
	target := *r.URL
	target.Scheme, target.Host = p.upstream.Scheme, p.upstream.Host
	forwarded, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	forwarded.Header = r.Header.Clone()
	// The proxy does not decompress responses.
	forwarded.Header.Set("Accept-Encoding", "identity")
	return p.transport.RoundTrip(forwarded)
}
