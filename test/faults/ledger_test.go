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

// ledger has the proxies of all operators, by the namespace whose Rays these keep.
var (
	ledgerMu sync.Mutex
	ledger   = map[string][]*proxy.Proxy{}
)

func enter(namespace string, p *proxy.Proxy) {
	ledgerMu.Lock()
	defer ledgerMu.Unlock()
	ledger[namespace] = append(ledger[namespace], p)
}

// TestLedger compares what the proxies have recorded, by which all oracles judge, with the
// account of the API server. It comes after all cases.
func TestLedger(t *testing.T) {
	if *auditLog == "" {
		t.Skip("needs the audit log of the cluster: run make test-faults")
	}
	surplus := map[string]int{}
	for namespace, proxies := range ledger {
		for _, p := range proxies {
			for what, count := range p.Done() {
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
			t.Errorf("the API server has done %+d times more than the proxies know: %s", count, what)
		}
	}
	if !t.Failed() {
		t.Logf("the API server and the proxies agree on %d writes", writes)
	}
}
