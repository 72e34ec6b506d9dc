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

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// newOperator prepares an operator with the permissions of the operator's ServiceAccount. It is
// stopped when the test ends.
func newOperator(t *testing.T, name string, args ...string) *harness.Operator {
	t.Helper()
	o, err := cluster.NewOperator(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

// start starts an operator and waits until it is ready.
func start(t *testing.T, o *harness.Operator) {
	t.Helper()
	// Cleanups call this, too.
	if err := o.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// kill ends an operator as a crash does.
func kill(t *testing.T, o *harness.Operator) {
	t.Helper()
	if err := o.Process.Stop(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// stopOperator stops the operator under test until the test ends, so that the test can run others.
func stopOperator(t *testing.T) {
	t.Helper()
	operator.Stop()
	t.Cleanup(func() { start(t, operator) })
}

// waitLog waits until the log of an operator contains a text.
func waitLog(t *testing.T, o *harness.Operator, text string) {
	t.Helper()
	harness.Eventually(t, "the operator logs "+text, func() error {
		if !strings.Contains(readFile(t, o.Log), text) {
			return fmt.Errorf("the log is %s", o.Log)
		}
		return nil
	})
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
