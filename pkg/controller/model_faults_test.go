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

package controller

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fault is a fault of one request.
type fault struct {
	name string
	// delay is the time until the API server gets the request, responseDelay that until the operator gets
	// the response.
	delay, responseDelay time.Duration
	// lost: the API server does not get the request.
	lost bool
	// err is the error that the operator gets instead of the response.
	err error
	// kill: the process is killed during the request.
	kill bool
	// late: the API server gets the request some time after the process was killed.
	late bool
}

// The extra microsecond separates the ends of delays from all other times.
var faults = []fault{
	{name: "delayed by 3ms", delay: 3*time.Millisecond + time.Microsecond},
	{name: "delayed by 2s", delay: 2*time.Second + time.Microsecond},
	{name: "lost, times out after 40s", delay: 40*time.Second + time.Microsecond, lost: true, err: syscall.ETIMEDOUT},
	{name: "response delayed by 1.5s", responseDelay: 1500*time.Millisecond + time.Microsecond},
	{name: "409 before commit", lost: true, err: apierrors.NewConflict(schema.GroupResource{Resource: "quotas"}, "quota", errors.New("the quota was updated"))},
	{name: "429 before commit", lost: true, err: apierrors.NewTooManyRequestsError("too many requests")},
	{name: "500 before commit", lost: true, err: apierrors.NewInternalError(errors.New("etcd has no leader"))},
	{name: "500 after commit", err: apierrors.NewInternalError(errors.New("no response from etcd"))},
	{name: "504 before commit", lost: true, err: apierrors.NewTimeoutError("the request timed out", 0)},
	{name: "504 after commit", err: apierrors.NewTimeoutError("the request timed out", 0)},
	{name: "connection reset before commit", lost: true, err: syscall.ECONNRESET},
	{name: "connection reset after commit", err: syscall.ECONNRESET},
	{name: "operator killed before the request is sent", kill: true, lost: true},
	{name: "operator killed after commit", kill: true},
	{name: "operator killed while the request is in flight, which arrives later", kill: true, late: true},
}

// roundTrip sends a request of the operator to the API server, unless a fault prevents that.
func (e *environment) roundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := r.Context().Value(operatorKey{}).(*operator) //nolint:errcheck,forcetypeassert // startOperator sets it
	if o.killed {
		runtime.Goexit()
	}
	fault := e.nextFault()
	if fault.name != "" {
		_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
		e.logf("    %s %s: fault: %s", r.Method, path, fault.name)
	}
	if err := o.wait(r, fault.delay); err != nil {
		return nil, err
	}
	if fault.late && r.Method != http.MethodGet {
		e.delayed = append(e.delayed, r)
		o.die()
	}
	if !fault.lost {
		answered := fault.err == nil && !fault.kill
		response, err := e.serve(o, r, answered)
		if waitErr := o.wait(r, fault.responseDelay); waitErr != nil || answered {
			return response, errors.Join(err, waitErr)
		}
	}
	if fault.kill {
		o.die()
	}
	return respondWith(fault.err)
}

// respondWith returns an error as an HTTP response if it is one of the API server. Otherwise it is one of
// the network.
func respondWith(err error) (*http.Response, error) {
	if failure, ok := errors.AsType[*apierrors.StatusError](err); ok {
		failure := *failure
		return respond(nil, &failure)
	}
	return nil, err
}

// nextFault returns the fault of the next request.
func (e *environment) nextFault() fault {
	if len(e.faults) == 0 {
		return fault{}
	}
	next := e.faults[0]
	e.faults = e.faults[1:]
	if next == nil {
		return fault{}
	}
	return *next
}

// wait advances the time during a request. It does not return if the process is killed meanwhile.
func (o *operator) wait(r *http.Request, d time.Duration) error {
	if d == 0 {
		return nil
	}
	var err error
	timer := time.NewTimer(d)
	defer timer.Stop()
	o.environment.mu.Unlock()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		err = fmt.Errorf("waiting for a response: %w", r.Context().Err())
	}
	o.environment.mu.Lock()
	if o.killed {
		runtime.Goexit()
	}
	return err
}

// die kills the process during a request.
func (o *operator) die() {
	o.environment.logf("    operator: killed")
	o.killed = true
	runtime.Goexit()
}

// serve lets the API server handle a request. With answered, the operator gets the response.
func (e *environment) serve(o *operator, r *http.Request, answered bool) (*http.Response, error) {
	before := len(e.server.writes)
	e.checker.last = nil
	response, err := e.server.RoundTrip(r)
	if err != nil || !answered || response.StatusCode >= http.StatusBadRequest {
		return response, err
	}
	if len(e.server.writes) == before {
		if found := e.server.objects[idOfRequest(r)]; found != nil {
			o.recordObserved(found)
		}
		return response, nil
	}
	if write := e.checker.last; write != nil {
		o.recordWrite(write)
	}
	return response, nil
}

// recordWrite records a write, the response to which the operator gets.
func (o *operator) recordWrite(write *fakeWrite) {
	if write.after != nil {
		o.recordObserved(write.after)
		o.written[write.id] = versionOf(write.after)
	}
	switch {
	case write.id == rayID:
		o.statusWrite = write
	case o.current != nil:
		o.current.writes[write.verb+" "+write.id.String()]++
	}
}

// idOfRequest returns the object in the path of a request.
func idOfRequest(r *http.Request) objectID {
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := append(strings.Split(path, "/"), "", "")
	return objectID{namespace: parts[0], resource: parts[1], name: parts[2]}
}

// deliverDelayedWrite delivers a write of a killed process to the API server.
func (e *environment) deliverDelayedWrite() string {
	if len(e.delayed) == 0 {
		return ""
	}
	r := e.delayed[0]
	e.delayed = e.delayed[1:]
	e.logf("network: delayed %s %s of a killed process arrives", r.Method, idOfRequest(r).resource)
	e.checker.isDelayed = true
	defer func() { e.checker.isDelayed = false }()
	if _, err := e.server.serve(r); err != nil {
		e.logf("    rejected: %v", err)
	}
	return "network: delayed write handled"
}
