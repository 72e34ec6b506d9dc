package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeflow/ray-operator/test/audit"
)

// userAgent is how the requests of the operator begin to call themselves in the audit log.
const userAgent = operatorProcess + "/"

const (
	// settleTime is for how long an operator that is at rest does nothing. It is longer than the
	// two seconds for which the operator holds back progress in a status.
	settleTime = 3 * time.Second
	// settleCPU is what it uses in that time at most, for its lease: 1 %.
	settleCPU = 0.03
	// settleTimeout is when it is clear that it does not come to rest.
	settleTimeout = 5 * time.Minute
)

// meter measures a phase from its start on.
type meter struct {
	scene  *scene
	start  time.Time
	mark   audit.Mark
	before usage
}

func (s *scene) meter() (*meter, error) {
	mark, err := audit.End(s.auditLog())
	if err != nil {
		return nil, err
	}
	before, err := s.usage()
	return &meter{scene: s, start: time.Now(), mark: mark, before: before}, err
}

func (s *scene) usage() (usage, error) {
	return readUsage(withOperator(s.components, s.operator.pid()))
}

// measure returns what work costs, with all that the operator does because of it.
func (s *scene) measure(ctx context.Context, work func(context.Context) error) (*phase, error) {
	meter, err := s.meter()
	if err != nil {
		return nil, err
	}
	if err := work(ctx); err != nil {
		return nil, err
	}
	phase, err := meter.read()
	if err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	return phase, meter.readOperator(phase)
}

// read returns what has been used since the start.
func (m *meter) read() (*phase, error) {
	after, err := m.scene.usage()
	if err != nil {
		return nil, err
	}
	return &phase{Seconds: time.Since(m.start).Seconds(), CPU: after.since(m.before)}, nil
}

// readOperator brings what a phase says of the operator up to date.
func (m *meter) readOperator(phase *phase) error {
	used, err := cpuSeconds(m.scene.operator.pid())
	if err != nil {
		return fmt.Errorf("reading the CPU time of the operator: %w", err)
	}
	phase.CPU[operatorProcess] = used - m.before[operatorProcess]
	if phase.Resident, phase.Peak, err = memory(m.scene.operator.pid()); err != nil {
		return err
	}
	counted := tally{}
	for request, err := range audit.Since(m.scene.auditLog(), m.mark, userAgent) {
		if err != nil {
			return err
		}
		counted.add(request)
		if isChild(request) {
			phase.LastChild = max(phase.LastChild, request.Answered.Sub(m.start).Seconds())
		}
	}
	phase.Requests = counted.sorted()
	return nil
}

// isChild tells whether a request has made a child of a Ray.
func isChild(request *audit.Request) bool {
	return request.Verb == "create" && request.Committed() &&
		(request.Resource() == "services" || request.Resource() == "deployments")
}

// settle waits until the operator has nothing more to do: it writes nothing, and hardly runs.
func (s *scene) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, errors.New("the operator does not come to rest"))
	defer cancel()
	for {
		mark, err := audit.End(s.auditLog())
		if err != nil {
			return err
		}
		before, err := cpuSeconds(s.operator.pid())
		if err != nil {
			return err
		}
		if err := sleep(ctx, settleTime); err != nil {
			return err
		}
		after, err := cpuSeconds(s.operator.pid())
		if err != nil {
			return err
		}
		writes := 0
		for request, err := range audit.Since(s.auditLog(), mark, userAgent) {
			if err != nil {
				return err
			}
			if request.IsWrite() && request.Resource() != leases {
				writes++
			}
		}
		if writes == 0 && after-before <= settleCPU {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
