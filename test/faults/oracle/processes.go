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

package oracle

import (
	"fmt"
	"strings"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// The maximum size of an operator with one Ray in the steady state. An undisturbed operator has 82
// goroutines, of which 9 poll autoscaled Rays, and a heap of 5 MiB.
const (
	maxGoroutines = 100
	maxHeapBytes  = 10 << 20
)

// checkProcesses requires no panic and no data race, the expected exit codes, and a bounded size.
func checkProcesses(h *history.History, want *Expectation) []string {
	var problems []string
	for line := range strings.Lines(h.Log) {
		if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") {
			problems = append(problems, "log: "+strings.TrimSpace(line))
		}
	}
	for _, process := range h.Processes {
		lostLease := want.Allowance.LostLease && process.ExitCode == 1 &&
			(strings.Contains(process.ExitMessage, "the lease was lost") || strings.Contains(process.ExitMessage, "injected: "))
		switch {
		case process.Killed || lostLease:
		case process.Unexpected:
			problems = append(problems, fmt.Sprintf("an operator exited on its own with code %d: %s", process.ExitCode, process.ExitMessage))
		case process.ExitCode != 0:
			problems = append(problems, fmt.Sprintf("an operator exited with code %d: %s", process.ExitCode, process.ExitMessage))
		}
	}
	for _, size := range h.Sizes {
		if size.Goroutines > maxGoroutines || size.HeapBytes > maxHeapBytes {
			problems = append(problems, fmt.Sprintf("an operator in the steady state has %d goroutines and a heap of %d bytes, want at most %d and %d",
				size.Goroutines, size.HeapBytes, maxGoroutines, maxHeapBytes))
		}
	}
	return problems
}
