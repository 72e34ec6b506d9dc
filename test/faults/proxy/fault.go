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
	"fmt"
	"net/http"
)

// Phase is when a fault is injected into a write.
type Phase string

const (
	// BeforeCommit means that the write does not reach the server.
	BeforeCommit Phase = "before-commit"
	// AfterCommit means that the server commits the write, but the operator does not receive the
	// response.
	AfterCommit Phase = "after-commit"
	// AfterResponse means that the operator has received the response.
	AfterResponse Phase = "after-response"
)

// Kind is the kind of a fault.
type Kind string

const (
	// Crash kills the operator.
	Crash Kind = "crash"
	// Fail replaces the response by an error.
	Fail Kind = "fail"
	// Hold holds back the watch of a resource, starting before the write.
	Hold Kind = "hold"
	// Rewind kills the operator, and shows the next process a resource as it was when the faults were
	// armed, until Release is called: as if it were connected to a stale API server.
	Rewind Kind = "rewind"
	// Stall delays a write, or its response, until Resume is called.
	Stall Kind = "stall"
)

// Reset is the code of a fault that resets the connection.
const Reset = 0

// Fault is a fault to inject.
type Fault struct {
	// Write is the number of the affected write. 0 is for Hold only, and means at once.
	Write int
	Kind  Kind
	// Phase is for all kinds except Hold.
	Phase Phase
	// Code is the status code of Fail, or Reset. The response with 429 has a Retry-After.
	Code int
	// Resource is the resource of Hold and Rewind.
	Resource string
}

// String returns the fault as names of cases and records have it.
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

// reasons are the API server's reasons for a status code.
var reasons = map[int]string{
	http.StatusConflict:            "Conflict",
	http.StatusGone:                "Expired",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalError",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
	http.StatusGatewayTimeout:      "Timeout",
}
