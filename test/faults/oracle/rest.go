package oracle

import (
	"fmt"
	"strings"

	"github.com/kubeflow/ray-operator/test/faults/history"
)

// checkRest wants that no child is written once all is as wanted. Of a status only
// progress may follow, which checkStatusWrites judges.
func checkRest(h *history.History, _ *Expectation) []string {
	if h.Converged.IsZero() {
		return nil // that is for EndState to say
	}
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Committed() && (write.Resource == history.Services || write.Resource == history.Deployments) && write.At.After(h.Converged) {
			problems = append(problems, write.String()+" came when all was as wanted")
		}
	}
	return problems
}

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
		lostLease := want.Allowance.LostLease && process.ExitCode == 1 && strings.Contains(h.Log, "the lease was lost")
		if !process.Killed && process.ExitCode != 0 && !lostLease {
			problems = append(problems, fmt.Sprintf("an operator exited with %d", process.ExitCode))
		}
	}
	for _, size := range h.Sizes {
		if size.Goroutines > maxGoroutines || size.HeapBytes > maxHeapBytes {
			problems = append(problems, fmt.Sprintf("an operator at rest has %d goroutines and a heap of %d bytes", size.Goroutines, size.HeapBytes))
		}
	}
	return problems
}
