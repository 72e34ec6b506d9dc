package oracle

import (
	"fmt"
	"strings"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// What an operator with one Ray takes at most when it has nothing to do. An undisturbed one has
// 55 goroutines and a heap of 5 MiB.
const (
	maxGoroutines = 80
	maxHeapBytes  = 10 << 20
)

// checkProcesses wants no panic and no data race, that the operators ended as they were told,
// and that they kept nothing.
func checkProcesses(h *history.History, want *Expectation) []string {
	var problems []string
	for line := range strings.Lines(h.Log) {
		if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") {
			problems = append(problems, "the log has: "+strings.TrimSpace(line))
		}
	}
	for _, process := range h.Processes {
		lostLease := want.Allowance.LostLease && process.ExitCode == 1 &&
			(strings.Contains(process.LastWords, "the lease was lost") || strings.Contains(process.LastWords, "injected: "))
		switch {
		case process.Killed || lostLease:
		case process.ByItself:
			problems = append(problems, fmt.Sprintf("an operator ended by itself with %d: %s", process.ExitCode, process.LastWords))
		case process.ExitCode != 0:
			problems = append(problems, fmt.Sprintf("an operator exited with %d: %s", process.ExitCode, process.LastWords))
		}
	}
	for _, size := range h.Sizes {
		if size.Goroutines > maxGoroutines || size.HeapBytes > maxHeapBytes {
			problems = append(problems, fmt.Sprintf("an operator at rest has %d goroutines and a heap of %d bytes", size.Goroutines, size.HeapBytes))
		}
	}
	return problems
}
