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

// Package e2e tests the operator as a user meets it: the shipped binary, with the permissions
// that it ships with, against a real API server and real controllers, through kubectl. Only
// kubelets are simulated. hack/e2e.sh starts the cluster and runs the tests.
//
// Every test has a namespace of its own, so that tests can run in parallel. Tests that stop the
// operator or change cluster-scoped objects do not run in parallel.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

var (
	cluster  harness.Cluster
	auditLog = flag.String("audit-log", "", "path of the API server's audit log")
	// operator is the operator under test. It runs outside the cluster.
	operator *harness.Operator
)

func TestMain(m *testing.M) {
	cluster.AddFlags(flag.CommandLine)
	harness.ParseFlags("test-e2e", "kubeconfig", "audit-log")
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := setUp(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "setup failed:", err)
		return 1
	}
	code := m.Run()
	operator.Stop()
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
	if operator, err = cluster.NewOperator(ctx, "e2e"); err != nil {
		return err
	}
	return operator.Start(ctx)
}
