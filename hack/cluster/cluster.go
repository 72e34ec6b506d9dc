package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// startTimeout is how long a start may take, on a slow machine.
	startTimeout = 3 * time.Minute
	// logTail is how many lines of its log are shown when a component failed.
	logTail = 30
)

//go:embed audit-policy.yaml
var defaultAuditPolicy []byte

// cluster is a cluster, running or not.
type cluster struct {
	name string
	dir  string // of everything the cluster writes
	bin  string // of the compiled binaries, needed for up only
}

// options says how a cluster is started.
type options struct {
	nodes       int
	auditPolicy string // a file, or empty for the default
	extraArgs   []setting
	extraEnvs   []setting
}

// openCluster returns the cluster name whose directory is dir. The directory
// has to be missing, empty or that of this cluster, as it gets removed.
func openCluster(name, dir string) (cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cluster{}, fmt.Errorf("resolving the cluster's directory: %w", err)
	}
	// A process is known by the path of its program, so this has to be the same
	// whichever way a user takes to the directory.
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
		return cluster{}, fmt.Errorf("directory %s is in use, and not by a cluster %q", dir, name)
	}
	return c, nil
}

// workDir is where kwokctl, told to use dir, keeps the cluster.
func (c cluster) workDir() string { return filepath.Join(c.dir, "clusters", c.name) }

// binDir has a link for each component, by which its process is known.
func (c cluster) binDir() string { return filepath.Join(c.workDir(), "bin") }

func (c cluster) logDir() string     { return filepath.Join(c.workDir(), "logs") }
func (c cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// marker is an empty file which marks dir as that of the cluster.
func (c cluster) marker() string { return filepath.Join(c.dir, c.name+".cluster") }

// exists tells whether the cluster has been started before, well or not.
func (c cluster) exists() bool {
	_, err := os.Stat(c.marker())
	return err == nil
}

// up starts the cluster unless it is running.
func (c cluster) up(ctx context.Context, opts options, p progress, stdout io.Writer) error {
	state := "is up"
	switch err := c.check(ctx); {
	case err == nil:
		state = "is already up, with the options it was started with"
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		if c.exists() {
			fmt.Fprintf(p.out, "removing an earlier cluster %q: %v\n", c.name, err)
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

// stop kills all processes of the cluster, even when ctx has ended. They get no
// time to save anything, as a cluster that is down isn't started again with its old data.
func (c cluster) stop(ctx context.Context) error {
	return kill(context.WithoutCancel(ctx), c.binDir())
}

// check returns nil if all components run and the API server is ready.
func (c cluster) check(ctx context.Context) error {
	running, err := processes(ctx, c.binDir())
	if err != nil {
		return err
	}
	for _, component := range components {
		if _, ok := running[component]; !ok {
			return fmt.Errorf("%s isn't running", component)
		}
	}
	return c.run(ctx, nil, "kubectl", "get", "--raw", "/readyz", "--request-timeout", "10s")
}

// start starts the cluster. If this fails, the logs are left, but no process.
func (c cluster) start(ctx context.Context, opts options, p progress) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("it isn't ready after %s; the logs are in %s", startTimeout, c.logDir()))
	defer cancel()
	err := c.watched(ctx, func(ctx context.Context) error {
		err := p.step("starting the control plane", func(reporter) (string, error) {
			return "started the control plane", c.startControlPlane(ctx, opts)
		})
		if err != nil {
			return err
		}
		return p.step("adding nodes", func(reporter) (string, error) {
			return fmt.Sprintf("added %d nodes", opts.nodes), c.addNodes(ctx, opts.nodes)
		})
	})
	if err != nil {
		return errors.Join(err, c.stop(ctx))
	}
	return nil
}

func (c cluster) startControlPlane(ctx context.Context, opts options) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return fmt.Errorf("making the cluster's directory: %w", err)
	}
	if err := os.WriteFile(c.marker(), nil, 0o644); err != nil {
		return fmt.Errorf("marking the cluster's directory: %w", err)
	}
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
	config, err := kwokctlConfigFor(c.bin, auditPolicy, opts.extraArgs, opts.extraEnvs)
	if err != nil {
		return fmt.Errorf("writing kwokctl's configuration: %w", err)
	}
	return c.run(ctx, config, "kwokctl", "create", "cluster", "--name", c.name,
		"--kubeconfig", c.kubeconfig(), "--config", "-", "--wait", startTimeout.String())
}

// addNodes returns when Pods can be created: they need nodes to run on, and in
// their namespace the default ServiceAccount.
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
	// kwokctl takes it for a success if the cluster doesn't get ready.
	return c.check(ctx)
}

// run runs one of the compiled binaries on the cluster. It gets none of the
// user's environment, so it neither finds a kubeconfig but the cluster's own,
// nor writes a cache into the user's home directory.
func (c cluster) run(ctx context.Context, stdin []byte, program string, args ...string) error {
	cmd := command(ctx, filepath.Join(c.bin, program), args...)
	cmd.Env = []string{
		"HOME=" + c.dir,
		"KUBECONFIG=" + c.kubeconfig(),
		"KWOK_WORKDIR=" + c.dir,
		// kwokctl runs kubectl, and downloads one if it finds none.
		"PATH=" + c.bin + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return commandError(ctx, program+" "+args[0], err, string(out))
	}
	return nil
}

// watched runs work, and interrupts it as soon as a component ends: most
// failures show this way, and kwokctl would only wait for its timeout.
func (c cluster) watched(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for sleep(ctx, pollInterval) == nil {
			if err := c.findEnded(ctx); err != nil {
				cancel(err)
			}
		}
	})
	err := work(ctx)
	cancel(nil)
	watcher.Wait()
	return err
}

// findEnded returns an error with the end of its log if a component which was
// started doesn't run anymore.
func (c cluster) findEnded(ctx context.Context) error {
	var started []string
	for _, component := range components {
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
			return fmt.Errorf("%s ended, and its log can't be read: %w", component, err)
		}
		return fmt.Errorf("%s ended; the last lines of %s:\n%s", component, file, lastLines(string(log), logTail))
	}
	return nil
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
