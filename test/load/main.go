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

// Command load measures the operator under load. hack/bench.sh starts local clusters and runs it.
//
// It is a program and not a test because times depend on the machine. Counts of requests are tested
// by test/e2e.
//
//	load measure  measures many Rays: create, steady state, restart, new image, delete
//	load big      measures one Ray with 1,000 workers, and small ones beside it
//	load scaled   measures autoscaled Rays, of which the operator polls the GCS, in steady state
//	load report   prints the measurements, and writes them as JSON and as a plot
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
		return errors.New("missing command: measure, big, scaled or report; hack/bench.sh runs all of them")
	}
	flags := flag.NewFlagSet("load "+args[0], flag.ContinueOnError)
	out := flags.String("out", "", "`path` of the file for the measurement, or of the directory for the report")
	if args[0] == "report" {
		if err := flags.Parse(args[1:]); err != nil {
			return flag.ErrHelp // Parse has printed the error.
		}
		return report(os.Stdout, *out, flags.Args())
	}

	var setup setup
	setup.addFlags(flags)
	load := load{pods: true}
	flags.IntVar(&load.rays, "rays", 100, "`number` of Rays; for big, those created one after another on a quiet cluster")
	flags.BoolVar(&load.pods, "pods", true, "set to false if the cluster does not create Pods, so that no Ray becomes healthy")
	flags.DurationVar(&load.rest, "rest", time.Minute, "how long to measure the steady state")
	if err := flags.Parse(args[1:]); err != nil {
		return flag.ErrHelp
	}
	setup.operator.flags = flags.Args()

	var measured any
	var err error
	switch args[0] {
	case "measure":
		measured, err = measure(ctx, &setup, load)
	case "big":
		measured, err = measureBig(ctx, &setup, load.rays)
	case "scaled":
		measured, err = measureAutoscaled(ctx, &setup, load)
	default:
		err = fmt.Errorf("unknown command %q: use measure, big, scaled or report", args[0])
	}
	if err != nil {
		return err
	}
	return writeJSON(*out, measured)
}

// writeJSON writes a value to a file.
func writeJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}
