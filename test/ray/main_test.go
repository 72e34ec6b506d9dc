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

// Package ray tests the operator with real Ray on a real node: the shipped binary, with the permissions
// that it ships with, and Ray's own view of the cluster beside the status of the Ray. hack/ray.sh
// starts the cluster, builds and loads the images, and runs the tests. It requires root.
//
// Every test has a namespace of its own. Tests that measure durations run one at a time, on an idle
// machine. The others run in parallel after them.
package ray

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

var (
	cluster harness.Cluster
	// operator is the operator under test. It runs outside the cluster.
	operator *harness.Operator

	version       = flag.String("ray-version", "", "version of Ray that most tests run")
	oldestVersion = flag.String("oldest-ray-version", "", "oldest supported version of Ray")
	resultsFile   = flag.String("results", "", "file for the measured durations, as a Markdown table")
	headAway      = flag.Duration("head-away", 80*time.Second, "how long the head is away in TestHeadAway; it must exceed the 60 seconds after which a worker exits")
)

func TestMain(m *testing.M) {
	cluster.AddFlags(flag.CommandLine)
	harness.ParseFlags("test-ray", "kubeconfig", "ray-version", "oldest-ray-version")
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "setup failed:", err)
		return 1
	}
	code := m.Run()
	operator.Stop()
	if err := results.report(*resultsFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code != 0 {
		fmt.Printf("log of the operator: %s\n", operator.Log)
	}
	return code
}

// setUp installs what the operator needs and starts it.
func setUp(ctx context.Context) error {
	if err := cluster.Connect(); err != nil {
		return err
	}
	if err := cluster.Install(ctx, "crd", "policy", "rbac"); err != nil {
		return err
	}
	var err error
	if operator, err = cluster.NewOperator(ctx, "ray"); err != nil {
		return err
	}
	return operator.Start(ctx)
}
