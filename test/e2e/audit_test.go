package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// request is one line of the API server's audit log.
type request struct {
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	ObjectRef *struct {
		Resource, Subresource, Namespace, Name string
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// String returns what a request did, such as "update rays/status x of namespace y: 200".
func (r request) String() string {
	resource := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		resource += "/" + r.ObjectRef.Subresource
	}
	return fmt.Sprintf("%s %s %s of namespace %s: %d", r.Verb, resource, r.ObjectRef.Name, r.ObjectRef.Namespace, r.ResponseStatus.Code)
}

// auditMark is a place in the audit log.
type auditMark int64

// markAudit returns the end of the audit log as it is now.
func markAudit(t *testing.T) auditMark {
	t.Helper()
	info, err := os.Stat(*auditLog)
	if err != nil {
		t.Fatal(err)
	}
	return auditMark(info.Size())
}

// operatorWrites returns all that operators have written since mark, leases aside, in a
// namespace or in all if that is empty. Refused writes count, too.
func operatorWrites(t *testing.T, mark auditMark, namespace string) []request {
	t.Helper()
	file, err := os.Open(*auditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Seek(int64(mark), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var writes []request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.Contains(lines.Text(), `"ray-operator/`) {
			continue
		}
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("reading the audit log: %v", err)
		}
		if !strings.HasPrefix(r.UserAgent, "ray-operator/") || r.ObjectRef == nil || r.ObjectRef.Resource == "leases" {
			continue
		}
		if slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.Verb) && (namespace == "" || r.ObjectRef.Namespace == namespace) {
			writes = append(writes, r)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	return writes
}
