package proxy

import (
	"encoding/json"
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
