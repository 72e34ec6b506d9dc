// Command ray-operator runs Ray clusters on Kubernetes: it reconciles a Service and
// Deployments for every Ray object. See docs/design.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"k8s.io/component-base/logs"

	"github.com/kubeflow/ray-operator/cmd/ray-operator/app"
)

func main() {
	os.Exit(run())
}

func run() int {
	options := app.NewOptions()
	if err := options.Parse(os.Args[1:]); errors.Is(err, pflag.ErrHelp) {
		return 0
	} else if err != nil {
		return fail(err)
	}
	if options.ShowVersion {
		fmt.Println("ray-operator", app.Version)
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer logs.FlushLogs()
	if err := app.Run(ctx, options); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	logs.FlushLogs()
	fmt.Fprintln(os.Stderr, "ray-operator:", err)
	return 1
}
