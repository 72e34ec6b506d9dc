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

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

var crashPhases = []proxy.Phase{proxy.BeforeCommit, proxy.AfterCommit, proxy.AfterResponse}

// crashCases kill the operator at every write of every workload, in every phase. For the workloads
// in crashTwice the operator is killed again at every later write. A crash has no allowance.
func crashCases() []faultCase {
	var cases []faultCase
	for i := range workloads {
		w := &workloads[i]
		for write := 1; write <= len(w.writes); write++ {
			for _, phase := range crashPhases {
				first := proxy.Fault{Write: write, Kind: proxy.Crash, Phase: phase}
				cases = append(cases, faultCase{
					name:     fmt.Sprintf("crash/%s/write-%d/%s", w.name, write, phase),
					workload: w,
					faults:   []proxy.Fault{first},
					always:   w.name == "create" || w.name == "image",
				})
				if crashTwice.Has(w.name) {
					cases = append(cases, secondCrashes(w, first)...)
				}
			}
		}
	}
	return cases
}

// crashTwice has the workloads in which the operator is killed twice: create, recreate, and all
// kinds of updates.
var crashTwice = sets.New("create", "recreate", "image", "ports", "labels-and-env", "scale-up", "scale-down", "scale-to-zero", "worker-added")

// secondCrashes kill the operator at a first write and again at every later write that is
// guaranteed to happen.
func secondCrashes(w *workload, first proxy.Fault) []faultCase {
	last := len(w.writes)
	if first.Write < len(w.writes)-1 || first.Write == len(w.writes)-1 && first.Phase == proxy.BeforeCommit {
		// No status was written yet. When it is, all Pods may already be available: then it is the last.
		last--
	}
	if first.Phase == proxy.BeforeCommit {
		last++ // the write that did not reach the server is sent again
	}
	var cases []faultCase
	for write := first.Write + 1; write <= last; write++ {
		for _, phase := range crashPhases {
			cases = append(cases, faultCase{
				name:     fmt.Sprintf("crash-twice/%s/write-%d/%s/write-%d/%s", w.name, first.Write, first.Phase, write, phase),
				workload: w,
				faults:   []proxy.Fault{first, {Write: write, Kind: proxy.Crash, Phase: phase}},
			})
		}
	}
	return cases
}
