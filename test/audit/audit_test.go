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

package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const log = `{"verb":"create","userAgent":"ray-operator/v1","objectRef":{"resource":"events","namespace":"a","name":"x"},"responseStatus":{"code":201}}
{"verb":"update","userAgent":"kubectl/v1 \"ray-operator/v1\"","objectRef":{"resource":"rays","namespace":"a","name":"x"},"responseStatus":{"code":200}}
{"verb":"update","userAgent":"ray-operator/v1","objectRef":{"resource":"rays","subresource":"status","namespace":"a","name":"x"},"responseStatus":{"code":409}}
{"verb":"update","userAgent":"ray-operator/v1","requestURI":"/apis/x?dryRun=All","objectRef":{"resource":"leases","namespace":"a","name":"x"},"responseStatus":{"code":200}}
{"verb":"get","userAgent":"ray-operator/v1","responseStatus":{"code":200}}
`

// write writes a log and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSince(t *testing.T) {
	path := write(t, log)
	var got, writes, committed []string
	for request, err := range Since(path, 0, "ray-operator/") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, request.String())
		if request.IsWrite() {
			writes = append(writes, request.Resource())
		}
		if request.Committed() {
			committed = append(committed, request.Verb)
		}
	}
	if want := []string{"create events a/x: 201", "update rays/status a/x: 409", "update leases a/x: 200", "get: 200"}; !slices.Equal(got, want) {
		t.Errorf("the requests are %q, want %q", got, want)
	}
	if want := []string{"events", "rays/status"}; !slices.Equal(writes, want) {
		t.Errorf("the writes are of %q, want %q", writes, want)
	}
	if want := []string{"create", "update", "get"}; !slices.Equal(committed, want) {
		t.Errorf("the committed requests are %q, want %q", committed, want)
	}
}

func TestMark(t *testing.T) {
	path := write(t, log)
	mark, err := End(path)
	if err != nil {
		t.Fatal(err)
	}
	for request, err := range Since(path, mark, "ray-operator/") {
		t.Errorf("got %v (%v), which is before the mark", request, err)
	}
}

// TestIncompleteLine checks that a line that is being written is neither an error nor skipped later.
func TestIncompleteLine(t *testing.T) {
	complete := strings.LastIndex(strings.TrimSuffix(log, "\n"), "\n") + 1
	for _, cut := range []int{complete, complete + 1, len(log) - 1} {
		path := write(t, log[:cut])
		for _, err := range Since(path, 0, "ray-operator/") {
			if err != nil {
				t.Errorf("%d bytes of the log: %v", cut, err)
			}
		}
		mark, err := End(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		var got []string
		for request, err := range Since(path, mark, "ray-operator/") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, request.Verb)
		}
		if !slices.Equal(got, []string{"get"}) {
			t.Errorf("%d bytes of the log: got %q after the line was complete, want the last request", cut, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, path := range map[string]string{
		"missing log":           filepath.Join(t.TempDir(), "absent"),
		"line that is not JSON": write(t, `"ray-operator/`+"\n"),
	} {
		failed := false
		for _, err := range Since(path, 0, "ray-operator/") {
			failed = failed || err != nil
		}
		if !failed {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := End("absent"); err == nil {
		t.Error("End of a missing log: got no error")
	}
}
