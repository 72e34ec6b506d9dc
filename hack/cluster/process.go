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
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// pollInterval is the interval between checks while waiting.
	pollInterval = 200 * time.Millisecond
	// exitTimeout is how long processes may take to exit after a signal.
	exitTimeout = 10 * time.Second
)

// command returns a command that is interrupted when ctx is done, together with its child
// processes, such as the compilers of go build. It therefore runs in its own process group, and
// receives Ctrl-C only through ctx.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = exitTimeout
	return cmd
}

// commandError returns the error of a failed command with its output. If ctx is done, it returns
// the cause of that instead.
func commandError(ctx context.Context, command string, err error, output string) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if output = strings.TrimSpace(output); output != "" {
		return fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	return fmt.Errorf("%s: %w", command, err)
}

// output runs cmd and returns its standard output.
func output(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		line := strings.Join(append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...), " ")
		return "", commandError(ctx, line, err, messages.String())
	}
	return string(out), nil
}

// processes returns the ids of the running programs in the directory dir, by program name. It
// does not rely on pid files, which outlive a reboot: after it, an id may belong to another
// program.
func processes(ctx context.Context, dir string) (map[string]int, error) {
	lines, err := commandLines(ctx)
	if err != nil {
		return nil, err
	}
	return parseProcesses(lines, dir)
}

// commandLines returns a line for each running process with its id and command line. It reads
// /proc if it exists, and runs ps otherwise: ps may be missing on Linux.
func commandLines(ctx context.Context) ([]byte, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	if len(files) == 0 {
		out, err := command(ctx, "ps", "-axww", "-o", "pid=,command=").CombinedOutput()
		if err != nil {
			return nil, commandError(ctx, "ps", err, string(out))
		}
		return out, nil
	}
	var lines bytes.Buffer
	for _, file := range files {
		commandLine, err := os.ReadFile(file)
		if err != nil {
			continue // the process has exited
		}
		fmt.Fprintf(&lines, "%s %s\n", filepath.Base(filepath.Dir(file)), bytes.ReplaceAll(commandLine, []byte{0}, []byte{' '}))
	}
	return lines.Bytes(), nil
}

func parseProcesses(commandLines []byte, dir string) (map[string]int, error) {
	found := make(map[string]int)
	lines := bufio.NewScanner(bytes.NewReader(commandLines))
	lines.Buffer(nil, len(commandLines)+1)
	for lines.Scan() {
		id, commandLine, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		program, ok := strings.CutPrefix(strings.TrimSpace(commandLine), dir+string(filepath.Separator))
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(id)
		if err != nil {
			return nil, fmt.Errorf("parsing the list of processes: %w", err)
		}
		name, _, _ := strings.Cut(program, " ")
		found[name] = pid
	}
	return found, lines.Err()
}

// kill kills all running programs in the directory dir and waits until they have exited.
func kill(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	for {
		running, err := processes(ctx, dir)
		if err != nil {
			return err
		}
		if len(running) == 0 {
			return nil
		}
		for name, pid := range running {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing %s, process %d: %w", name, pid, err)
			}
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return fmt.Errorf("waiting for the processes in %s to exit: %w", dir, err)
		}
	}
}

// lock creates the directory dir if it is missing, and locks it for this process. The lock is
// released by the returned function or when the process exits.
func lock(ctx context.Context, dir string, p progress) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory of the binaries: %w", err)
	}
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the binaries: %w", err)
	}
	try := func() error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
	err = try()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = p.step("waiting for another build or start to finish", func(reporter) (string, error) {
			for errors.Is(err, syscall.EWOULDBLOCK) {
				if err := sleep(ctx, pollInterval); err != nil {
					return "", err
				}
				err = try()
			}
			return "waited for another build or start", err
		})
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { file.Close() }, nil
}

// sleep waits for the duration, or until ctx is done and then returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
