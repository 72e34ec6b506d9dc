package e2e

import (
	"slices"
	"testing"

	"github.com/kubeflow/ray-operator/test/audit"
)

// markAudit returns the end of the audit log as it is now.
func markAudit(t *testing.T) audit.Mark {
	t.Helper()
	mark, err := audit.End(*auditLog)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

// operatorRequests returns all that operators have asked for since mark, in some namespaces
// and in none. Those of earlier tests may still be going.
func operatorRequests(t *testing.T, mark audit.Mark, namespaces ...string) []*audit.Request {
	t.Helper()
	var requests []*audit.Request
	for request, err := range audit.Since(*auditLog, mark, "ray-operator/") {
		if err != nil {
			t.Fatal(err)
		}
		if request.ObjectRef == nil || request.ObjectRef.Namespace == "" || slices.Contains(namespaces, request.ObjectRef.Namespace) {
			requests = append(requests, request)
		}
	}
	return requests
}

// operatorWrites returns all that operators have written since mark, leases aside, in a
// namespace or in all if that is empty. Refused writes count, too.
func operatorWrites(t *testing.T, mark audit.Mark, namespace string) []*audit.Request {
	t.Helper()
	var writes []*audit.Request
	for request, err := range audit.Since(*auditLog, mark, "ray-operator/") {
		if err != nil {
			t.Fatal(err)
		}
		if request.IsWrite() && request.Resource() != "leases" && (namespace == "" || request.ObjectRef.Namespace == namespace) {
			writes = append(writes, request)
		}
	}
	return writes
}
