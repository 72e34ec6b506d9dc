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

package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStatusLine(t *testing.T) {
	for _, test := range []struct {
		text, detail string
		elapsed      time.Duration
		want         string
	}{
		{"linking", "", 1234 * time.Millisecond, "linking, 1.2s"},
		{"linking", "", 12340 * time.Millisecond, "linking, 12s"},
		{"compiling 8 of 9 packages", "net/http", 200 * time.Second, "compiling 8 of 9 packages, 3m20s (net/http)"},
	} {
		if got := statusLine(test.text, test.detail, test.elapsed); got != test.want {
			t.Errorf("statusLine = %q, want %q", got, test.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"short", "short"},
		{"just fit", "just fit"},
		{"too long for it", "too lon…"},
	} {
		if got := shorten(test.line, 8); got != test.want {
			t.Errorf("shorten(%q) = %q, want %q", test.line, got, test.want)
		}
	}
}

func TestStep(t *testing.T) {
	failure := errors.New("no space left")
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "compiled 3 packages, "},
		{failure, "compiling 2 of 3 packages, "},
	} {
		var out bytes.Buffer
		err := progress{out: &out}.step("linking", func(report reporter) (string, error) {
			report("compiling 2 of 3 packages", "net/http")
			return "compiled 3 packages", test.err
		})
		if !errors.Is(err, test.err) {
			t.Errorf("step returned %v, want %v", err, test.err)
		}
		if !strings.HasPrefix(out.String(), test.want) {
			t.Errorf("step printed %q, want %q and the time", &out, test.want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(line string) { got = append(got, line) }}
	for _, part := range []string{"one\ntw", "o\nthree", "\n", "begun"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("lines = %q, want %q", got, want)
	}
}
