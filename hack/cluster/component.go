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
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// signals maps commands to the signals that they send to components.
var signals = map[string]syscall.Signal{
	"kill":   syscall.SIGKILL,
	"pause":  syscall.SIGSTOP,
	"resume": syscall.SIGCONT,
}

// components are the programs of the cluster, in the order of their dependencies.
func (c cluster) components() []string {
	if c.hasNode() {
		return slices.Concat(controlPlane, []string{nodeInit}, nodeComponents)
	}
	return append(slices.Clone(controlPlane), kwokController)
}

// checkComponents returns an error if names is empty or has a component that is not in components.
func checkComponents(components, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no components given: name at least one of %s", strings.Join(components, ", "))
	}
	for _, name := range names {
		if !slices.Contains(components, name) {
			return fmt.Errorf("unknown component %q: must be one of %s", name, strings.Join(components, ", "))
		}
	}
	return nil
}

// signal sends a signal to running components. For SIGKILL it waits until they have exited, so
// that they can be restarted.
func (c cluster) signal(ctx context.Context, names []string, signal syscall.Signal) error {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, ok := running[name]
		if !ok {
			return fmt.Errorf("%s is not running", name)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("sending %v to %s, process %d: %w", signal, name, pid, err)
		}
	}
	if signal != syscall.SIGKILL {
		return nil
	}
	return c.awaitExit(ctx, names)
}

// awaitExit waits until components have exited, and removes their pid files: kwokctl relies on
// those, and another process may get the same id.
func (c cluster) awaitExit(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	for {
		running, err := processes(ctx, c.binDir())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(name string) bool { return running[name] != 0 }) {
			break
		}
		if err := sleep(ctx, pollInterval/10); err != nil {
			return fmt.Errorf("waiting for %s to exit: %w", strings.Join(names, ", "), err)
		}
	}
	for _, name := range names {
		if err := os.Remove(c.pidFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the pid file of %s: %w", name, err)
		}
	}
	return nil
}

// restart starts the components that have exited, with their previous options and data, and
// waits until the API server is ready.
func (c cluster) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("the cluster is not ready after %s; see the logs in %s", startTimeout, c.logDir()))
	defer cancel()
	if err := c.run(ctx, nil, "kwokctl", "start", "cluster", "--name", c.name); err != nil {
		return err
	}
	for {
		err := c.check(ctx)
		if err == nil {
			return nil
		}
		if c.hasNode() {
			// In a loop, since the node may not know yet that a component has exited.
			if err := c.restartNode(ctx); err != nil {
				return err
			}
		}
		if sleep(ctx, pollInterval) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// pidFile is the file in which kwokctl stores the process id of a component.
func (c cluster) pidFile(component string) string {
	return filepath.Join(c.workDir(), "pids", component+".pid")
}
