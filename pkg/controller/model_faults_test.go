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

// fault is one thing that goes wrong with a request.
type fault struct {
	name string
	// delay is how long the request takes to get to the server, answerDelay how long the
	// answer takes to get back.
	delay, answerDelay time.Duration
	// lost says that the server never sees the request.
	lost bool
	// answer is what the operator is told instead of what the server says.
	answer error
	// kill says that the process ends here.
	kill bool
	// late says that the request gets to the server some time after the process has ended.
	late bool
}

// The odd microsecond keeps the ends of delays apart from all other times.
var faults = []fault{
	{name: "is slow", delay: 3*time.Millisecond + time.Microsecond},
	{name: "is very slow", delay: 2*time.Second + time.Microsecond},
	{name: "hangs", delay: 40*time.Second + time.Microsecond, lost: true, answer: syscall.ETIMEDOUT},
	{name: "is answered late", answerDelay: 1500*time.Millisecond + time.Microsecond},
	{name: "gets 409", lost: true, answer: apierrors.NewConflict(schema.GroupResource{Resource: "quotas"}, "quota", errors.New("somebody else was faster"))},
	{name: "gets 429", lost: true, answer: apierrors.NewTooManyRequestsError("too many requests")},
	{name: "gets 500", lost: true, answer: apierrors.NewInternalError(errors.New("no leader"))},
	{name: "gets 500 once it is done", answer: apierrors.NewInternalError(errors.New("no answer from etcd"))},
	{name: "gets 504", lost: true, answer: apierrors.NewTimeoutError("took too long", 0)},
	{name: "gets 504 once it is done", answer: apierrors.NewTimeoutError("took too long", 0)},
	{name: "loses its connection", lost: true, answer: syscall.ECONNRESET},
	{name: "loses its connection once it is done", answer: syscall.ECONNRESET},
	{name: "is the last, and is not sent", kill: true, lost: true},
	{name: "is the last", kill: true},
	{name: "is the last, and comes late", kill: true, late: true},
}

// roundTrip takes a request of the operator to the server, unless something goes wrong.
func (w *world) roundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := r.Context().Value(operatorKey{}).(*operator) //nolint:errcheck,forcetypeassert // startOperator put it there
	if o.dead {
		runtime.Goexit()
	}
	wrong := w.takeFault()
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	what := r.Method + " " + path
	if wrong.name != "" {
		w.tell("    %s %s", what, wrong.name)
	}
	if err := o.wait(r, wrong.delay); err != nil {
		return nil, err
	}
	if wrong.late && r.Method != http.MethodGet {
		w.late = append(w.late, r)
		o.die()
	}
	if !wrong.lost {
		response, err := w.serve(o, r, wrong.answer == nil && !wrong.kill)
		if waited := o.wait(r, wrong.answerDelay); waited != nil || wrong.answer == nil && !wrong.kill {
			return response, errors.Join(err, waited)
		}
	}
	if wrong.kill {
		o.die()
	}
	return fail(wrong.answer)
}

// fail answers with an error of the server's, or of the network.
func fail(err error) (*http.Response, error) {
	if failure, ok := errors.AsType[*apierrors.StatusError](err); ok {
		answer := *failure
		return respond(nil, &answer)
	}
	return nil, err
}

// takeFault returns what goes wrong with a request.
func (w *world) takeFault() fault {
	if len(w.faults) == 0 {
		return fault{}
	}
	next := w.faults[0]
	w.faults = w.faults[1:]
	if next == nil {
		return fault{}
	}
	return *next
}

// wait lets time pass in a request. A process that was killed does not return from it.
func (o *operator) wait(r *http.Request, d time.Duration) error {
	if d == 0 {
		return nil
	}
	var err error
	timer := time.NewTimer(d)
	defer timer.Stop()
	o.world.mu.Unlock()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		err = fmt.Errorf("waiting for an answer: %w", r.Context().Err())
	}
	o.world.mu.Lock()
	if o.dead {
		runtime.Goexit()
	}
	return err
}

// die ends the process, in the middle of a request.
func (o *operator) die() {
	o.world.tell("    the operator is killed")
	o.dead = true
	runtime.Goexit()
}

// serve has the server answer a request. The operator may be told the answer.
func (w *world) serve(o *operator, r *http.Request, answered bool) (*http.Response, error) {
	before := len(w.server.writes)
	w.judge.last = nil
	response, err := w.server.RoundTrip(r)
	if err != nil || !answered || response.StatusCode >= http.StatusBadRequest {
		return response, err
	}
	if len(w.server.writes) == before {
		if found := w.server.objects[pathID(r)]; found != nil {
			o.show(found)
		}
		return response, nil
	}
	if write := w.judge.last; write != nil {
		if write.after != nil {
			o.show(write.after)
			o.written[write.id] = version(write.after)
		}
		if write.id != rayID && o.syncing != nil {
			o.syncing.writes[write.verb+" "+write.id.resource+" "+write.id.name]++
		}
	}
	return response, nil
}

// pathID returns which object a request is about.
func pathID(r *http.Request) objectID {
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := append(strings.Split(path, "/"), "", "")
	return objectID{namespace: parts[0], resource: parts[1], name: parts[2]}
}

// arrive has a write of a dead process reach the server.
func (w *world) arrive() string {
	if len(w.late) == 0 {
		return ""
	}
	r := w.late[0]
	w.late = w.late[1:]
	w.tell("a late %s %s arrives", r.Method, pathID(r).resource)
	w.judge.late = true
	defer func() { w.judge.late = false }()
	if _, err := w.server.serve(r); err != nil {
		w.tell("    the server refuses it: %v", err)
	}
	return "it has arrived"
}
