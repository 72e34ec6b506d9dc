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

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeflow/ray-operator/test/audit"
)

// userAgent is the prefix of the operator's user agent in the audit log.
const userAgent = operatorProcess + "/"

const (
	// steadyTime is how long the operator must make no writes in the steady state. It is longer
	// than status updates are delayed.
	steadyTime = 3 * time.Second
	// steadyCPU is the CPU time in seconds that it may use meanwhile, for its lease: 1 %.
	steadyCPU = 0.03
	// steadyTimeout is how long to wait for the steady state.
	steadyTimeout = 5 * time.Minute
)

// meter measures a phase from its start.
type meter struct {
	setup  *setup
	start  time.Time
	mark   audit.Mark
	before usage
}

func (s *setup) meter() (*meter, error) {
	mark, err := audit.End(s.auditLog())
	if err != nil {
		return nil, err
	}
	before, err := s.usage()
	return &meter{setup: s, start: time.Now(), mark: mark, before: before}, err
}

func (s *setup) usage() (usage, error) {
	return readUsage(withOperator(s.components, s.operator.pid()))
}

// measure measures work, and the operator until the steady state after it.
func (s *setup) measure(ctx context.Context, work func(context.Context) error) (*phase, error) {
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
	if err := s.waitSteady(ctx); err != nil {
		return nil, err
	}
	return phase, meter.readOperator(phase)
}

// read returns the time and the CPU time since the start.
func (m *meter) read() (*phase, error) {
	after, err := m.setup.usage()
	if err != nil {
		return nil, err
	}
	return &phase{Seconds: time.Since(m.start).Seconds(), CPU: after.since(m.before)}, nil
}

// readOperator updates the measurements of the operator in a phase.
func (m *meter) readOperator(phase *phase) error {
	used, err := cpuSeconds(m.setup.operator.pid())
	if err != nil {
		return fmt.Errorf("reading the CPU time of the operator: %w", err)
	}
	phase.CPU[operatorProcess] = used - m.before[operatorProcess]
	if phase.Resident, phase.Peak, err = memory(m.setup.operator.pid()); err != nil {
		return err
	}
	counted := tally{}
	for request, err := range audit.Since(m.setup.auditLog(), m.mark, userAgent) {
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

// isChild returns whether a request created a child of a Ray.
func isChild(request *audit.Request) bool {
	return request.Verb == "create" && request.Committed() &&
		(request.Resource() == "services" || request.Resource() == "deployments")
}

// waitSteady waits until the operator makes no writes and hardly uses CPU.
func (s *setup) waitSteady(ctx context.Context) error { return s.waitQuiet(ctx, steadyCPU) }

// waitQuiet waits until the operator makes no writes, and uses at most a CPU time in seconds while it makes none.
func (s *setup) waitQuiet(ctx context.Context, maxCPU float64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, steadyTimeout, errors.New("the operator does not reach a steady state"))
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
		if err := sleep(ctx, steadyTime); err != nil {
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
		if writes == 0 && after-before <= maxCPU {
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
