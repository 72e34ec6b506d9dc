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

package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Process is a process with its output appended to a log file.
type Process struct {
	// Exited is closed after the process has exited. Then State has its exit code.
	Exited <-chan struct{}

	command *exec.Cmd
	log     string
}

// StartProcess starts a command.
func StartProcess(command *exec.Cmd, log string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	if err := command.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // State has the exit code.
		close(exited)
	}()
	return &Process{Exited: exited, command: command, log: log}, nil
}

// PID returns the ID of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// State returns how the process exited, or nil if it is running.
func (p *Process) State() *os.ProcessState {
	select {
	case <-p.Exited:
		return p.command.ProcessState
	default:
		return nil
	}
}

// Stop sends a signal and waits until the process has exited. It does nothing if it has already.
func (p *Process) Stop(signal os.Signal) error {
	if p.State() != nil {
		return nil
	}
	if err := p.command.Process.Signal(signal); err != nil && p.State() == nil {
		return err
	}
	select {
	case <-p.Exited:
		return nil
	case <-time.After(Timeout):
		return fmt.Errorf("%s is still running %s after the signal %q; its log is %s", filepath.Base(p.command.Path), Timeout, signal, p.log)
	}
}

// FreeAddress returns a local address that no server listens on.
func FreeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
