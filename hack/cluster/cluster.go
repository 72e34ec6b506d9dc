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
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// startTimeout limits the start of a cluster. It allows for slow machines.
	startTimeout = 3 * time.Minute
	// logTail is the number of log lines that are shown if a component fails.
	logTail = 30
)

//go:embed audit-policy.yaml
var defaultAuditPolicy []byte

// cluster is a local cluster, running or stopped.
type cluster struct {
	name string
	dir  string // directory of all state of the cluster
	bin  string // directory of the compiled binaries, only used by up, start and load
}

// options configures the start of a cluster.
type options struct {
	nodes       int    // number of simulated nodes
	realNode    bool   // one real node instead
	auditPolicy string // a file, or empty for the default
	extraArgs   []setting
	extraEnvs   []setting
}

// openCluster returns the named cluster with its state in dir. The directory must be missing,
// empty or belong to this cluster, since down removes it.
func openCluster(name, dir string) (cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cluster{}, fmt.Errorf("resolving the cluster's directory: %w", err)
	}
	// Processes are identified by the path of their program. Resolve symbolic links, so that
	// the path is always the same.
	resolved, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return cluster{name: name, dir: dir}, nil
	}
	if err != nil {
		return cluster{}, fmt.Errorf("resolving the cluster's directory: %w", err)
	}
	dir = resolved
	entries, err := os.ReadDir(dir)
	if err != nil {
		return cluster{}, fmt.Errorf("reading the cluster's directory: %w", err)
	}
	c := cluster{name: name, dir: dir}
	if len(entries) > 0 && !c.exists() {
		return cluster{}, fmt.Errorf("directory %s is not empty and does not belong to cluster %q", dir, name)
	}
	return c, nil
}

// workDir is the directory in which kwokctl stores the cluster, below dir.
func (c cluster) workDir() string { return filepath.Join(c.dir, "clusters", c.name) }

// binDir has a symbolic link for each component, which identifies its process.
func (c cluster) binDir() string { return filepath.Join(c.workDir(), "bin") }

func (c cluster) logDir() string     { return filepath.Join(c.workDir(), "logs") }
func (c cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// marker is an empty file that marks dir as the directory of this cluster.
func (c cluster) marker() string { return filepath.Join(c.dir, c.name+".cluster") }

// exists reports whether the cluster was started before, successfully or not.
func (c cluster) exists() bool {
	_, err := os.Stat(c.marker())
	return err == nil
}

// up starts the cluster if it is not running.
func (c cluster) up(ctx context.Context, opts options, p progress, stdout io.Writer) error {
	state := "is up"
	switch err := c.check(ctx); {
	case err == nil:
		state = "is already up; its options are unchanged"
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		if c.exists() {
			fmt.Fprintf(p.out, "removing the previous cluster %q: %v\n", c.name, err)
		}
		if err := c.down(ctx); err != nil {
			return err
		}
		if err := c.start(ctx, opts, p); err != nil {
			return fmt.Errorf("starting cluster %q: %w", c.name, err)
		}
	}
	fmt.Fprintf(stdout, "cluster %q %s\n  kubeconfig: %s\n  logs:       %s\n", c.name, state, c.kubeconfig(), c.logDir())
	return nil
}

// down stops the cluster and removes its directory.
func (c cluster) down(ctx context.Context) error {
	if err := c.stop(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("removing the cluster's directory: %w", err)
	}
	return nil
}

// stop kills all processes of the cluster, even if ctx is done. There is no graceful shutdown,
// since the data of a stopped cluster is not used again.
func (c cluster) stop(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := kill(ctx, c.binDir()); err != nil {
		return err
	}
	return c.removeNode(ctx)
}

// check returns nil if all components run and the API server is ready.
func (c cluster) check(ctx context.Context) error {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	for _, component := range c.components() {
		if _, ok := running[component]; !ok {
			return fmt.Errorf("%s is not running", component)
		}
	}
	return c.run(ctx, nil, "kubectl", "get", "--raw", "/readyz", "--request-timeout", "10s")
}

// start starts the cluster. If that fails, it stops all processes and leaves the logs.
func (c cluster) start(ctx context.Context, opts options, p progress) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("the cluster is not ready after %s; see the logs in %s", startTimeout, c.logDir()))
	defer cancel()
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("creating the cluster's directory: %w", err)
	}
	if err := os.WriteFile(c.marker(), nil, 0o644); err != nil {
		return fmt.Errorf("creating the marker file: %w", err)
	}
	err := c.watched(ctx, func(ctx context.Context) error {
		if opts.realNode {
			return c.startWithRealNode(ctx, opts, p)
		}
		return c.startWithSimulatedNodes(ctx, opts, p)
	})
	if err != nil {
		return errors.Join(err, c.stop(ctx))
	}
	return nil
}

func (c cluster) startWithSimulatedNodes(ctx context.Context, opts options, p progress) error {
	err := p.step("starting the control plane", func(reporter) (string, error) {
		return "started the control plane", c.startControlPlane(ctx, opts, nil)
	})
	if err != nil {
		return err
	}
	return p.step("adding nodes", func(reporter) (string, error) {
		return fmt.Sprintf("added %d nodes", opts.nodes), c.addNodes(ctx, opts.nodes)
	})
}

func (c cluster) startWithRealNode(ctx context.Context, opts options, p progress) error {
	var n *node
	err := p.step("creating the namespaces of the node", func(reporter) (string, error) {
		var err error
		n, err = c.createNode(ctx)
		return "created the namespaces of the node", err
	})
	if err != nil {
		return err
	}
	err = p.step("starting the control plane", func(reporter) (string, error) {
		return "started the control plane", c.startControlPlane(ctx, opts, &n.config.Network)
	})
	if err != nil {
		return err
	}
	return p.step("starting the node", func(report reporter) (string, error) {
		return "started the node", c.startNode(ctx, n, report)
	})
}

// startControlPlane starts the control plane. The network is that of the real node, or nil.
func (c cluster) startControlPlane(ctx context.Context, opts options, n *network) error {
	auditPolicy := filepath.Join(c.dir, "audit-policy.yaml")
	content := defaultAuditPolicy
	if opts.auditPolicy != "" {
		var err error
		if content, err = os.ReadFile(opts.auditPolicy); err != nil {
			return fmt.Errorf("reading the audit policy: %w", err)
		}
	}
	if err := os.WriteFile(auditPolicy, content, 0o644); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	kwokctl := newKwokctlConfig(c.bin, auditPolicy)
	if n != nil {
		kwokctl.useRealNode(*n, c.workDir())
	}
	kwokctl.add(opts.extraArgs, opts.extraEnvs)
	config, err := json.Marshal(kwokctl)
	if err != nil {
		return fmt.Errorf("encoding the configuration of kwokctl: %w", err)
	}
	return c.run(ctx, config, "kwokctl", "create", "cluster", "--name", c.name,
		"--kubeconfig", c.kubeconfig(), "--config", "-", "--wait", startTimeout.String())
}

// addNodes adds nodes and waits until Pods can be created: they need a ready node, and the
// default ServiceAccount in their namespace.
func (c cluster) addNodes(ctx context.Context, count int) error {
	scale := []string{"scale", "node", "--name", c.name, "--replicas", strconv.Itoa(count)}
	for _, param := range nodeParams {
		scale = append(scale, "--param", param)
	}
	timeout := "--timeout=" + startTimeout.String()
	for _, args := range [][]string{
		append([]string{"kwokctl"}, scale...),
		{"kubectl", "wait", "--for=condition=Ready", "node", "--all", timeout},
		{"kubectl", "wait", "--for=create", "serviceaccount/default", "--namespace=default", timeout},
	} {
		if err := c.run(ctx, nil, args[0], args[1:]...); err != nil {
			return err
		}
	}
	// kwokctl also succeeds if the cluster does not become ready.
	return c.check(ctx)
}

// run runs one of the compiled binaries against the cluster. It does not inherit the user's
// environment, so it only uses the kubeconfig of the cluster and does not write a cache into the
// user's home directory.
func (c cluster) run(ctx context.Context, stdin []byte, program string, args ...string) error {
	cmd := c.command(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return commandError(ctx, program+" "+args[0], err, string(out))
	}
	return nil
}

func (c cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := command(ctx, filepath.Join(c.bin, program), args...)
	cmd.Env = []string{
		"HOME=" + c.dir,
		"KUBECONFIG=" + c.kubeconfig(),
		"KWOK_WORKDIR=" + c.dir,
		// kwokctl runs kubectl, and downloads it if it is not in $PATH.
		"PATH=" + c.bin + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	return cmd
}

// watched runs work and cancels it as soon as a component exits. This is how most failures
// show; kwokctl would wait for its timeout.
func (c cluster) watched(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for sleep(ctx, pollInterval) == nil {
			if err := c.findExited(ctx); err != nil {
				cancel(err)
			}
		}
	})
	err := work(ctx)
	cancel(nil)
	watcher.Wait()
	return err
}

// findExited returns an error with the end of the log if a component has exited.
func (c cluster) findExited(ctx context.Context) error {
	var started []string
	for _, component := range c.components() {
		if _, err := os.Stat(c.pidFile(component)); err == nil {
			started = append(started, component)
		}
	}
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	for _, component := range started {
		if _, ok := running[component]; ok {
			continue
		}
		file := filepath.Join(c.logDir(), component+".log")
		log, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%s exited, and its log cannot be read: %w", component, err)
		}
		return fmt.Errorf("%s exited; last lines of %s:\n%s", component, file, lastLines(string(log), logTail))
	}
	return nil
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
