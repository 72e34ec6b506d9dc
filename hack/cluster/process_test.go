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
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseProcesses(t *testing.T) {
	const output = `    1 /sbin/init
  100 /state/a/bin/etcd --data-dir=/state/a/etcd
 1000 /state/a/bin/kwok-controller
 1001 /state/a b/bin/etcd --data-dir=/state/a b/etcd
 1002 vi /state/a/bin/etcd
 1003 [etcd] <defunct>
`
	got, err := parseProcesses([]byte(output), "/state/a/bin")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"etcd": 100, "kwok-controller": 1000}
	if !maps.Equal(got, want) {
		t.Errorf("processes = %v, want %v", got, want)
	}
}

func TestCommandError(t *testing.T) {
	failure, reason := errors.New("exit status 1"), errors.New("etcd exited")
	err := commandError(t.Context(), "kubectl wait", failure, "timed out\n")
	if want := "kubectl wait: exit status 1\ntimed out"; err.Error() != want || !errors.Is(err, failure) {
		t.Errorf("error = %q, want %q", err, want)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if err := commandError(ctx, "kubectl wait", failure, ""); !errors.Is(err, reason) {
		t.Errorf("error with a canceled context = %q, want %q", err, reason)
	}
}

// Child processes must not outlive an interrupted command.
func TestCommandInterruptsChildren(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	cmd := command(ctx, "sh", "-c", "sleep 60; true")
	// The child process keeps the pipe open, and Run waits for it.
	var out strings.Builder
	cmd.Stdout = &out
	start := time.Now()
	if err := cmd.Run(); err == nil {
		t.Error("no error for an interrupted command")
	}
	if elapsed := time.Since(start); elapsed > exitTimeout/2 {
		t.Errorf("the command returned after %s, want at most %s", elapsed, exitTimeout/2)
	}
}

func TestLockWaitsForItsRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	var out strings.Builder
	unlock, err := lock(t.Context(), dir, progress{out: &out})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), pollInterval/2)
	defer cancel()
	if _, err := lock(ctx, dir, progress{out: &out}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locking twice returned %v, want %v", err, context.DeadlineExceeded)
	}

	unlock()
	unlock, err = lock(t.Context(), dir, progress{out: &out})
	if err != nil {
		t.Errorf("locking after the release: %v", err)
	}
	unlock()
}
