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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// checkNodeSupport returns an error if this machine cannot run a real node.
func checkNodeSupport() error {
	if os.Geteuid() != 0 {
		return errors.New("--node real requires root, since it runs containers; run it as root, or without --node real to simulate nodes")
	}
	return nil
}

// startInit starts the process nodeInit in namespaces of its own. It waits for its configuration, and
// exits if start is closed before.
func (c cluster) startInit(ctx context.Context) (pid int, start io.WriteCloser, err error) {
	if err := checkFilesystem(c.dir); err != nil {
		return 0, nil, err
	}
	log, err := os.Create(filepath.Join(c.logDir(), nodeInit+".log"))
	if err != nil {
		return 0, nil, fmt.Errorf("creating the log of the node: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe", nodeInit)
	cmd.Args[0] = filepath.Join(c.binDir(), nodeInit)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if start, err = cmd.StdinPipe(); err != nil {
		return 0, nil, fmt.Errorf("creating a pipe to the node: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("creating the namespaces of the node: %w; in a container, --node real requires that it is privileged", err)
	}
	go func() { _ = cmd.Wait() }() // reaps it if it exits before this process
	return cmd.Process.Pid, start, nil
}

// runInit is the process nodeInit. It has process id 1 in its namespace.
func runInit(ctx context.Context, stdin io.Reader) error {
	var n nodeConfig
	if err := json.NewDecoder(stdin).Decode(&n); err != nil {
		return fmt.Errorf("reading the configuration of the node: %w", err)
	}
	if err := syscall.Sethostname([]byte(n.Name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := n.mount(); err != nil {
		return err
	}
	if err := n.setUpNetwork(ctx); err != nil {
		return err
	}
	return n.supervise(ctx)
}

// setUpNetwork configures the node's end of the link to the machine.
func (n nodeConfig) setUpNetwork(ctx context.Context) error {
	for _, line := range []string{
		"link set lo up",
		"link set eth0 up",
		"address add " + n.Network.Node() + "/30 dev eth0",
		"route add default via " + n.Network.Host(),
	} {
		cmd := exec.CommandContext(ctx, "ip", strings.Fields(line)...)
		cmd.Env = n.Environ
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w\n%s", line, err, out)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("enabling the forwarding of packets: %w", err)
	}
	return nil
}

// supervise starts the components, and reaps all processes that exit. On SIGHUP it starts components
// that have exited.
func (n nodeConfig) supervise(ctx context.Context) error {
	restart := make(chan os.Signal, 1)
	signal.Notify(restart, syscall.SIGHUP)
	exited := make(chan int)
	go func() {
		for {
			pid, err := syscall.Wait4(-1, nil, 0, nil)
			if errors.Is(err, syscall.ECHILD) {
				time.Sleep(pollInterval)
				continue
			}
			if err == nil {
				exited <- pid
			}
		}
	}()
	running := make(map[int]string)
	for {
		if err := n.startComponents(ctx, running); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case pid := <-exited:
				if component, ok := running[pid]; ok {
					fmt.Println(component, "has exited")
					delete(running, pid)
				}
			case <-restart:
				waiting = false
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// startComponents starts the components that are not running.
func (n nodeConfig) startComponents(ctx context.Context, running map[int]string) error {
	var names []string
	for _, name := range running {
		names = append(names, name)
	}
	for _, component := range nodeComponents {
		if slices.Contains(names, component) {
			continue
		}
		pid, err := n.startComponent(ctx, component)
		if err != nil {
			return fmt.Errorf("starting %s: %w", component, err)
		}
		running[pid] = component
		if component == "containerd" {
			if err := awaitSocket(ctx, n.ContainerdSocket); err != nil {
				return err // the kubelet exits without containerd
			}
		}
	}
	return nil
}

func (n nodeConfig) startComponent(ctx context.Context, component string) (pid int, err error) {
	log, err := os.OpenFile(filepath.Join(n.LogDir, component+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(n.BinDir, component), n.arguments(component)...)
	cmd.Env = n.Environ
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid = cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil { // supervise reaps it
		return 0, err
	}
	// The process id is that of another namespace, and of no use outside. The file marks the component as started.
	return pid, os.WriteFile(filepath.Join(n.PidDir, component+".pid"), nil, 0o644)
}

// awaitSocket waits until a program accepts connections at path.
func awaitSocket(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := dialSocket(ctx, path)
		if err == nil {
			return nil
		}
		if sleep(ctx, pollInterval) != nil {
			return err
		}
	}
}
