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

package ray

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// driver is a program in the head's container that reads lines and prints lines.
type driver struct {
	user  *user
	stdin io.Writer
	lines chan string
	// warnings are lines that Ray prints to its driver.
	warnings []string
}

// startDriver starts a program in the head's container, and waits until it prints "ready".
func startDriver(u *user, ray, program string) *driver {
	u.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(u.Context()))
	command := exec.CommandContext(ctx, cluster.Path("bin/cluster/kubectl"), "--kubeconfig", cluster.Kubeconfig, "--namespace", u.namespace,
		"exec", "--stdin", "deployment/"+ray+"-head", "--", "python3", "-u", "-c", program)
	stdin, err := command.StdinPipe()
	if err != nil {
		u.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		u.Fatal(err)
	}
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		u.Fatal(err)
	}
	d := &driver{user: u, stdin: stdin, lines: make(chan string, 100)}
	go func() {
		defer close(d.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			d.lines <- scanner.Text()
		}
	}()
	u.Cleanup(func() {
		cancel()
		_ = command.Wait()
		if u.Failed() {
			u.Logf("the program prints to stderr: %s", stderr.String())
		}
	})
	d.expect("ready")
	return d
}

// send writes a line to the program.
func (d *driver) send(line string) {
	d.user.Helper()
	if _, err := fmt.Fprintln(d.stdin, line); err != nil {
		d.user.Fatal(err)
	}
}

// expect waits for a line that starts with a word, and returns the rest of it. It keeps warnings by Ray.
func (d *driver) expect(word string) string {
	d.user.Helper()
	timeout := time.After(startTimeout)
	for {
		select {
		case line, open := <-d.lines:
			if rest, found := strings.CutPrefix(line, word); found {
				return strings.TrimSpace(rest)
			}
			if !strings.Contains(line, "(raylet)") {
				d.user.Fatalf("the program prints %q, want %q (ended: %t)", line, word, !open)
			}
			d.warnings = append(d.warnings, line)
		case <-timeout:
			d.user.Fatalf("the program does not print %q", word)
		}
	}
}

// expectTime waits for a line with a word and a time in Unix seconds.
func (d *driver) expectTime(word string) time.Time {
	d.user.Helper()
	var seconds float64
	if _, err := fmt.Sscan(d.expect(word), &seconds); err != nil {
		d.user.Fatal(err)
	}
	return time.UnixMicro(int64(seconds * 1e6))
}
