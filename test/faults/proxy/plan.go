package proxy

import (
	"fmt"
	"net/http"
)

// Phase is where in the life of a write a fault hits.
type Phase string

const (
	// BeforeCommit means that the server never sees the write.
	BeforeCommit Phase = "before-commit"
	// AfterCommit means that the server has done it, and the operator does not learn of it.
	AfterCommit Phase = "after-commit"
	// AfterResponse means that the operator has been answered.
	AfterResponse Phase = "after-response"
)

// Kind is what a fault does.
type Kind string

const (
	// Crash kills the operator.
	Crash Kind = "crash"
	// Fail answers the write with an error instead of the server's answer.
	Fail Kind = "fail"
	// Hold keeps back the watch of a resource, from before the write on.
	Hold Kind = "hold"
	// Rewind kills the operator, and shows the next process a resource as it was when the
	// faults were armed, until Release is called: it asks a server that is behind.
	Rewind Kind = "rewind"
	// Stall keeps a write on its way, to the server or back, until Resume is called.
	Stall Kind = "stall"
)

// Reset stands for a connection that is reset, where a status code is expected.
const Reset = 0

// Fault is one thing that goes wrong.
type Fault struct {
	// Write is the number of the write that it hits. 0 is for Hold only, and means at once.
	Write int
	Kind  Kind
	// Phase is for all but Hold.
	Phase Phase
	// Code is what Fail answers: a status code or Reset. With 429 goes Retry-After.
	Code int
	// Resource is what Hold keeps back, and what Rewind shows as it was.
	Resource string
}

// String says what a fault does, as names of cases and records have it.
func (f Fault) String() string {
	switch {
	case f.Kind == Hold || f.Kind == Rewind:
		return fmt.Sprintf("%s %s", f.Kind, f.Resource)
	case f.Kind == Fail && f.Code == Reset:
		return fmt.Sprintf("reset %s", f.Phase)
	case f.Kind == Fail:
		return fmt.Sprintf("%d %s", f.Code, f.Phase)
	default:
		return fmt.Sprintf("%s %s", f.Kind, f.Phase)
	}
}

// reasons are the errors that the API server gives with a status code.
var reasons = map[int]string{
	http.StatusConflict:            "Conflict",
	http.StatusGone:                "Expired",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalError",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
	http.StatusGatewayTimeout:      "Timeout",
}
