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

// signals are what the commands send that disturb the components of a cluster.
var signals = map[string]syscall.Signal{
	"kill":   syscall.SIGKILL,
	"pause":  syscall.SIGSTOP,
	"resume": syscall.SIGCONT,
}

// checkComponents returns an error unless names are those of components, at least one.
func checkComponents(names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("which components? Known are %s", strings.Join(components, ", "))
	}
	for _, name := range names {
		if !slices.Contains(components, name) {
			return fmt.Errorf("unknown component %q, known are %s", name, strings.Join(components, ", "))
		}
	}
	return nil
}

// signal sends a signal to components, which have to run. When it returns, those that
// were killed are gone, so that they can be started again.
func (c cluster) signal(ctx context.Context, names []string, signal syscall.Signal) error {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, ok := running[name]
		if !ok {
			return fmt.Errorf("%s isn't running", name)
		}
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("sending %v to %s, process %d: %w", signal, name, pid, err)
		}
	}
	if signal != syscall.SIGKILL {
		return nil
	}
	return c.awaitEnd(ctx, names)
}

// awaitEnd waits until components are gone, and makes kwokctl forget them: it goes by
// the ids in its files, and another process may get one of them.
func (c cluster) awaitEnd(ctx context.Context, names []string) error {
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
			return fmt.Errorf("waiting for %s to end: %w", strings.Join(names, ", "), err)
		}
	}
	for _, name := range names {
		if err := os.Remove(c.pidFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forgetting the process of %s: %w", name, err)
		}
	}
	return nil
}

// startAgain starts the components that have ended, as they were started before and with
// the data that they left. It returns when the API server is ready.
func (c cluster) startAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("it isn't ready after %s; the logs are in %s", startTimeout, c.logDir()))
	defer cancel()
	if err := c.run(ctx, nil, "kwokctl", "start", "cluster", "--name", c.name); err != nil {
		return err
	}
	for {
		err := c.check(ctx)
		if err == nil {
			return nil
		}
		if sleep(ctx, pollInterval) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// pidFile is where kwokctl keeps the id of a component's process.
func (c cluster) pidFile(component string) string {
	return filepath.Join(c.workDir(), "pids", component+".pid")
}
