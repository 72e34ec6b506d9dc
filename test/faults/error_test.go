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

package faults

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

var (
	errorCodes = []int{
		http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, proxy.Reset,
	}
	errorPhases = []proxy.Phase{proxy.BeforeCommit, proxy.AfterCommit}
)

// errorCases fail every write of every workload with every error, before and after the commit.
func errorCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 1; write <= len(w.writes); write++ {
			for _, code := range errorCodes {
				for _, phase := range errorPhases {
					name := strconv.Itoa(code)
					if code == proxy.Reset {
						name = "reset"
					}
					cases = append(cases, faultCase{
						name:      fmt.Sprintf("error/%s/write-%d/%s/%s", w.name, write, name, phase),
						workload:  w,
						faults:    []proxy.Fault{{Write: write, Kind: proxy.Fail, Code: code, Phase: phase}},
						allowance: errorAllowance(w, write, code, phase),
					})
				}
			}
		}
	}
	return cases
}

// errorAllowance returns the allowance for an error. An error is a problem that is reported in the
// status and in one event, and from which the Ray recovers; the conflict of an update is not. If
// the operator is blocked by other controllers, any write may be a create. If the write was
// committed, the operator does not know that, and may retry it once.
func errorAllowance(w *workload, write, code int, phase proxy.Phase) oracle.Allowance {
	var allowance oracle.Allowance
	if code != http.StatusConflict || strings.HasPrefix(w.writes[write-1], "create") || w.blocked {
		allowance.ProblemStatuses, allowance.WarningEvents, allowance.Recoveries = 1, 1, 1
	}
	if phase == proxy.AfterCommit {
		allowance.Rejected = 1
	}
	return allowance
}
