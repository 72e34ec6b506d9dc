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

// deliver gives the operator what the server answered.
func deliver(w http.ResponseWriter, answer *answer) {
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.code)
	w.Write(answer.body) //nolint:errcheck // The operator may be gone, and that is its affair.
	http.NewResponseController(w).Flush()
}

// answerError gives the operator an error as the API server would word it.
func answerError(w http.ResponseWriter, code int) {
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
		panic(err) // a struct of ours
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(body) //nolint:errcheck // The operator may be gone, and that is its affair.
}

// reset ends a connection as a machine does that knows nothing of it.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // Then it is closed in the common way, which is as bad.
	}
	connection.Close()
}

// answer is what the server answered to a request.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// forward sends a request to the server and reads its answer.
func (p *Proxy) forward(ctx context.Context, r *request) (*answer, error) {
	response, err := p.roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &answer{code: response.StatusCode, header: response.Header, body: body}, nil
}

func (p *Proxy) roundTrip(ctx context.Context, r *request) (*http.Response, error) {
	target := *r.URL
	target.Scheme, target.Host = p.upstream.Scheme, p.upstream.Host
	forwarded, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	forwarded.Header = r.Header.Clone()
	// What is compressed cannot be read on the way.
	forwarded.Header.Set("Accept-Encoding", "identity")
	return p.transport.RoundTrip(forwarded)
}
