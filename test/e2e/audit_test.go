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

package e2e

import (
	"slices"
	"testing"

	"github.com/kubeflow/ray-operator/test/audit"
)

// markAudit returns the current end of the audit log.
func markAudit(t *testing.T) audit.Mark {
	t.Helper()
	mark, err := audit.End(*auditLog)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

// operatorRequests returns the requests of operators since mark, in some namespaces and without
// any. Namespaces of earlier tests may still be terminating.
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

// operatorWrites returns the writes of operators since mark in a namespace, or in all if it is
// empty. It includes failed writes, but not those of leases.
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
