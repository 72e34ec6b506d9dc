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

import "github.com/kubeflow/ray-operator/test/faults/history"

// checkSteadyState requires that no child and no Pod is written once the goal is reached. The status may
// still be updated, which checkStatusWrites limits.
func checkSteadyState(h *history.History, _ *Expectation) []string {
	if h.Converged.IsZero() {
		return nil // checkEndState reports it
	}
	var problems []string
	for i := range h.Writes {
		write := &h.Writes[i]
		written := write.Resource == history.Services || write.Resource == history.Deployments || write.Resource == history.Pods
		if written && write.Committed() && write.At.After(h.Converged) {
			problems = append(problems, write.String()+": write in the steady state")
		}
	}
	return problems
}
