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
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckComponents(t *testing.T) {
	if err := checkComponents(controlPlane, []string{"etcd", "kube-apiserver"}); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][]string{nil, {"kubelet"}, {"etcd", "kubelet"}} {
		if err := checkComponents(controlPlane, wrong); err == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}

// startComponent starts a process that looks like the etcd of a cluster.
func startComponent(t *testing.T) (cluster, *exec.Cmd) {
	t.Helper()
	c := cluster{name: "a", dir: t.TempDir()}
	program := filepath.Join(c.binDir(), "etcd")
	for _, dir := range []string{c.binDir(), filepath.Dir(c.pidFile("etcd"))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.pidFile("etcd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(t.Context(), program, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // fails if it has exited
	return c, cmd
}

func TestKillComponent(t *testing.T) {
	c, cmd := startComponent(t)
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // returns an error, since it was killed
		close(exited)
	}()
	if err := c.signal(t.Context(), []string{"etcd"}, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-exited
	if _, err := os.Stat(c.pidFile("etcd")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pid file still exists: %v", err)
	}
	if err := c.signal(t.Context(), []string{"etcd"}, syscall.SIGKILL); err == nil || !strings.Contains(err.Error(), "etcd is not running") {
		t.Errorf("killing it twice: got error %v, want that it is not running", err)
	}
}

func TestPauseComponent(t *testing.T) {
	c, cmd := startComponent(t)
	if err := c.signal(t.Context(), []string{"etcd"}, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Errorf("the process is not stopped: %v, %v", status, err)
	}
	if err := c.signal(t.Context(), []string{"etcd"}, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
