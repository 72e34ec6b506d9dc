// Command load measures what the operator costs: hack/bench.sh starts local clusters and runs it.
//
// It is a program and not a test since it asserts nothing: the time that something takes belongs
// to the machine. What is a count is asserted, by test/e2e.
//
//	load measure  one load of Rays: create, rest, restart, a new image, delete
//	load big      one Ray of 1,000 workers, and small ones beside it
//	load report   what these have measured, as text, JSON and a plot
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to do: measure, big or report; hack/bench.sh does all of it")
	}
	flags := flag.NewFlagSet("load "+args[0], flag.ContinueOnError)
	out := flags.String("out", "", "`file` to write the measurement to, or directory of the report")
	if args[0] == "report" {
		if err := flags.Parse(args[1:]); err != nil {
			return flag.ErrHelp // the mistake has been printed, with the usage
		}
		return report(os.Stdout, *out, flags.Args())
	}

	var scene scene
	scene.addFlags(flags)
	load := load{pods: true}
	flags.IntVar(&load.rays, "rays", 100, "`number` of Rays to create; for big, how many are created one after another on a quiet cluster")
	flags.BoolVar(&load.pods, "pods", true, "whether the cluster makes Pods; without them no Ray gets Health")
	flags.DurationVar(&load.rest, "rest", time.Minute, "how long to watch a cluster at rest")
	if err := flags.Parse(args[1:]); err != nil {
		return flag.ErrHelp
	}
	scene.operator.flags = flags.Args()

	var measured any
	var err error
	switch args[0] {
	case "measure":
		measured, err = measure(ctx, &scene, load)
	case "big":
		measured, err = measureBig(ctx, &scene, load.rays)
	default:
		err = fmt.Errorf("unknown command %q, known are measure, big and report", args[0])
	}
	if err != nil {
		return err
	}
	return writeJSON(*out, measured)
}

func writeJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}
