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
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/kubeflow/ray-operator/test/audit"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// proxies has the proxies of all operators, by the namespace of their Rays.
var (
	proxiesMu sync.Mutex
	proxies   = map[string][]*proxy.Proxy{}
)

func registerProxy(namespace string, p *proxy.Proxy) {
	proxiesMu.Lock()
	defer proxiesMu.Unlock()
	proxies[namespace] = append(proxies[namespace], p)
}

// TestAuditLog compares the writes that the proxies recorded, on which all oracles rely, with the
// audit log of the API server. It runs after TestFaults, since tests run in the order of their files.
func TestAuditLog(t *testing.T) {
	if *auditLog == "" {
		t.Skip("requires the audit log of the cluster: run make test-faults")
	}
	surplus := map[string]int{}
	for namespace, ofNamespace := range proxies {
		for _, p := range ofNamespace {
			for what, count := range p.Committed() {
				surplus[what+" in namespace "+namespace] -= count
			}
		}
	}
	writes := 0
	for request, err := range audit.Since(*auditLog, auditStart, "ray-operator/") {
		if err != nil {
			t.Fatal(err)
		}
		if request.IsWrite() && request.Committed() {
			surplus[fmt.Sprintf("%s %s in namespace %s", request.Verb, request.Resource(), request.ObjectRef.Namespace)]++
			writes++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(surplus)) {
		if count := surplus[what]; count != 0 {
			t.Errorf("%s: the audit log has %+d compared with the proxies", what, count)
		}
	}
	if !t.Failed() {
		t.Logf("the audit log and the proxies agree on %d writes", writes)
	}
}
