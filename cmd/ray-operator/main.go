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
