package oracle

import "github.com/kubeflow/ray-operator/test/faults/history"

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
