// Command cluster builds and runs a local Kubernetes for tests, without a
// container engine: etcd, the control plane and kwok are compiled from the Go
// modules named by the tool lines of go.mod, and run as plain processes.
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

// namePattern is what a cluster's name, being part of paths, may look like.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

const usage = `Usage: go run . <command> [flags]

Commands:
  build  compile Kubernetes, etcd and kwok
  up     compile what is missing and start a cluster
  down   stop a cluster and remove its directory

These disturb a cluster that is up:
  kill    end the components that are named, as a crash does
  start   bring back what has ended, with the data that it left
  pause   stop the components that are named, without ending them
  resume  let them go on

"go run . <command> -h" lists the flags of a command.
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

// run carries out one command. Progress goes to stderr, the result to stdout.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return flag.ErrHelp
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
	return mod.build(ctx, bin, p)
}

func runUp(ctx context.Context, mod module, flags *flag.FlagSet, args []string, p progress, stdout io.Writer) error {
	var opts options
	binFlag := addBinFlag(flags, mod)
	name, dir := addClusterFlags(flags)
	flags.IntVar(&opts.nodes, "nodes", 3, "`number` of simulated nodes, each with room for 1000 Pods")
	flags.StringVar(&opts.auditPolicy, "audit-policy", "", "audit policy `file` (default: Metadata of every request)")
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
		return fmt.Errorf("--nodes %d: a cluster needs at least one node", opts.nodes)
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
		return fmt.Errorf("making the cluster's directory: %w", err)
	}
	c, err := openCluster(*name, path)
	if err != nil {
		return err
	}
	c.bin = bin

	// Two ups at once would write the same binaries and could choose the same
	// ports, so one waits for the other.
	unlock, err := lock(ctx, bin, p)
	if err != nil {
		return err
	}
	defer unlock()
	if err := mod.build(ctx, bin, p); err != nil {
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
	// Processes can be left of a cluster whose directory was removed by hand.
	if err := c.down(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "no process or file of cluster %q is left\n", *name)
	return nil
}

func runSignal(ctx context.Context, mod module, flags *flag.FlagSet, args []string, signal syscall.Signal) error {
	name, dir := addClusterFlags(flags)
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // the mistake has been printed, with the usage
	}
	if err := checkComponents(flags.Args()); err != nil {
		return err
	}
	c, err := findCluster(mod, *name, *dir)
	if err != nil {
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
	return c.startAgain(ctx)
}

// findCluster opens a cluster that has been started before.
func findCluster(mod module, name, dir string) (cluster, error) {
	path, err := clusterDir(mod, name, dir)
	if err != nil {
		return cluster{}, err
	}
	c, err := openCluster(name, path)
	if err == nil && !c.exists() {
		err = fmt.Errorf("there is no cluster %q in %s", name, path)
	}
	return c, err
}

// parse is flags.Parse for commands which take flags only.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // the mistake has been printed, with the usage
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func addBinFlag(flags *flag.FlagSet, mod module) *string {
	return flags.String("bin", filepath.Join(mod.repo, "bin", "cluster"), "`directory` of the compiled binaries")
}

func addClusterFlags(flags *flag.FlagSet) (name, dir *string) {
	name = flags.String("name", "dev", "`name` of the cluster")
	dir = flags.String("dir", "", "`directory` of the cluster's state (default: .cluster/NAME in the repository)")
	return name, dir
}

// clusterDir is the directory given by the --dir flag, or the default for name.
func clusterDir(mod module, name, dir string) (string, error) {
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("--name %q isn't made of a-z, 0-9 and -", name)
	}
	if dir == "" {
		dir = filepath.Join(mod.repo, ".cluster", name)
	}
	return dir, nil
}
