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

// Command cluster builds and runs a local Kubernetes cluster for tests, without a container
// engine. It compiles etcd, the control plane and kwok from the tools of go.mod, and runs them as
// plain processes. Nodes are simulated by kwok, or one real node runs containers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

// namePattern matches valid names of clusters, which are part of paths.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

const usage = `Usage: go run . <command> [flags]

Commands:
  build  compile Kubernetes, etcd and kwok
  up     compile missing binaries and start a cluster
  down   stop a cluster and remove its directory
  load   import container images into the real node of a cluster

Commands to inject faults into a running cluster:
  kill    stop components with SIGKILL
  start   restart components that have exited, with their data
  pause   suspend components with SIGSTOP
  resume  continue suspended components with SIGCONT

Run "go run . <command> -h" for the flags of a command.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run runs a command. It writes progress to stderr and the result to stdout.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return flag.ErrHelp
	}
	if args[0] == nodeInit {
		return runInit(ctx, os.Stdin)
	}
	mod, err := findModule(ctx)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("cluster "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	p := newProgress(stderr)

	switch args[0] {
	case "build":
		return runBuild(ctx, mod, flags, args[1:], p)
	case "up":
		return runUp(ctx, mod, flags, args[1:], p, stdout)
	case "down":
		return runDown(ctx, mod, flags, args[1:], stdout)
	case "load":
		return runLoad(ctx, mod, flags, args[1:], p)
	case "kill", "pause", "resume":
		return runSignal(ctx, mod, flags, args[1:], signals[args[0]])
	case "start":
		return runStart(ctx, mod, flags, args[1:])
	default:
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("unknown command %q", args[0])
	}
}

func runBuild(ctx context.Context, mod module, flags *flag.FlagSet, args []string, p progress) error {
	binFlag := addBinFlag(flags, mod)
	realNode := addNodeFlag(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	bin, err := filepath.Abs(*binFlag)
	if err != nil {
		return fmt.Errorf("resolving the directory of the binaries: %w", err)
	}
	unlock, err := lock(ctx, bin, p)
	if err != nil {
		return err
	}
	defer unlock()
	return mod.buildAll(ctx, bin, *realNode, p)
}

func runUp(ctx context.Context, mod module, flags *flag.FlagSet, args []string, p progress, stdout io.Writer) error {
	var opts options
	binFlag := addBinFlag(flags, mod)
	realNode := addNodeFlag(flags)
	name, dir := addClusterFlags(flags)
	flags.IntVar(&opts.nodes, "nodes", 3, "`number` of simulated nodes, each with room for 1000 Pods")
	flags.StringVar(&opts.auditPolicy, "audit-policy", "", "audit policy `file` (default: log the metadata of every request)")
	flags.Func("extra-arg", "`component=key=value`: start the component with --key=value; can be repeated", func(s string) error {
		arg, err := parseSetting(s)
		opts.extraArgs = append(opts.extraArgs, arg)
		return err
	})
	flags.Func("extra-env", "`component=key=value`: start the component with key=value in its environment; can be repeated", func(s string) error {
		env, err := parseSetting(s)
		opts.extraEnvs = append(opts.extraEnvs, env)
		return err
	})
	if err := parse(flags, args); err != nil {
		return err
	}
	if opts.nodes < 1 {
		return fmt.Errorf("--nodes %d: must be at least 1", opts.nodes)
	}
	if opts.realNode = *realNode; opts.realNode {
		if err := checkNodeSupport(); err != nil {
			return err
		}
	}

	bin, err := filepath.Abs(*binFlag)
	if err != nil {
		return fmt.Errorf("resolving the directory of the binaries: %w", err)
	}
	path, err := clusterDir(mod, *name, *dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("creating the cluster's directory: %w", err)
	}
	c, err := openCluster(*name, path)
	if err != nil {
		return err
	}
	c.bin = bin

	// Concurrent starts would write the same binaries and could select the same ports.
	unlock, err := lock(ctx, bin, p)
	if err != nil {
		return err
	}
	defer unlock()
	if err := mod.buildAll(ctx, bin, opts.realNode, p); err != nil {
		return err
	}
	return c.up(ctx, opts, p, stdout)
}

func runDown(ctx context.Context, mod module, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	name, dir := addClusterFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	path, err := clusterDir(mod, *name, *dir)
	if err != nil {
		return err
	}
	c, err := openCluster(*name, path)
	if err != nil {
		return err
	}
	// Processes can still run if the cluster's directory was removed manually.
	if err := c.down(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "cluster %q is down\n", *name)
	return nil
}

func runLoad(ctx context.Context, mod module, flags *flag.FlagSet, args []string, p progress) error {
	bin := addBinFlag(flags, mod)
	name, dir := addClusterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // flags has printed the error and the usage
	}
	if flags.NArg() == 0 {
		return errors.New("no images given: name files in the format of docker save, or IMAGE=PROGRAM")
	}
	c, err := findCluster(mod, *name, *dir)
	if err != nil {
		return err
	}
	if c.bin, err = filepath.Abs(*bin); err != nil {
		return fmt.Errorf("resolving the directory of the binaries: %w", err)
	}
	return c.load(ctx, flags.Args(), p)
}

func runSignal(ctx context.Context, mod module, flags *flag.FlagSet, args []string, signal syscall.Signal) error {
	name, dir := addClusterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // flags has printed the error and the usage
	}
	c, err := findCluster(mod, *name, *dir)
	if err != nil {
		return err
	}
	if err := checkComponents(c.components(), flags.Args()); err != nil {
		return err
	}
	return c.signal(ctx, flags.Args(), signal)
}

func runStart(ctx context.Context, mod module, flags *flag.FlagSet, args []string) error {
	bin := addBinFlag(flags, mod)
	name, dir := addClusterFlags(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	c, err := findCluster(mod, *name, *dir)
	if err != nil {
		return err
	}
	if c.bin, err = filepath.Abs(*bin); err != nil {
		return fmt.Errorf("resolving the directory of the binaries: %w", err)
	}
	return c.restart(ctx)
}

// findCluster opens a cluster that was started before.
func findCluster(mod module, name, dir string) (cluster, error) {
	path, err := clusterDir(mod, name, dir)
	if err != nil {
		return cluster{}, err
	}
	c, err := openCluster(name, path)
	if err == nil && !c.exists() {
		err = fmt.Errorf("cluster %q not found in %s", name, path)
	}
	return c, err
}

// parse parses flags of a command without positional arguments.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // flags has printed the error and the usage
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func addBinFlag(flags *flag.FlagSet, mod module) *string {
	return flags.String("bin", filepath.Join(mod.repo, "bin", "cluster"), "`directory` of the compiled binaries")
}

// addNodeFlag returns whether the flag --node selects a real node.
func addNodeFlag(flags *flag.FlagSet) *bool {
	realNode := new(bool)
	flags.Func("node", "`kind` of nodes: simulated, or real for one node that runs containers (default simulated)", func(s string) error {
		if s != "simulated" && s != "real" {
			return errors.New("must be simulated or real")
		}
		*realNode = s == "real"
		return nil
	})
	return realNode
}

func addClusterFlags(flags *flag.FlagSet) (name, dir *string) {
	name = flags.String("name", "dev", "`name` of the cluster")
	dir = flags.String("dir", "", "`directory` of the cluster's state (default: .cluster/NAME in the repository)")
	return name, dir
}

// clusterDir returns the directory of the --dir flag, or the default for name.
func clusterDir(mod module, name, dir string) (string, error) {
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("--name %q must consist of lower case letters, digits or '-', and start and end with a letter or digit", name)
	}
	if dir == "" {
		dir = filepath.Join(mod.repo, ".cluster", name)
	}
	return dir, nil
}
