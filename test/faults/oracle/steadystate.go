package oracle

import "github.com/kubeflow/ray-operator/test/faults/history"

// checkSteadyState requires that no child is written once the goal is reached. The status may still
// be updated, which checkStatusWrites limits.
func checkSteadyState(h *history.History, _ *Expectation) []string {
	if h.Converged.IsZero() {
		return nil // checkEndState reports it
	}
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		if write.Committed() && (write.Resource == history.Services || write.Resource == history.Deployments) && write.At.After(h.Converged) {
			problems = append(problems, write.String()+": write in the steady state")
		}
	}
	return problems
}
