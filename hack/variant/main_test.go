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
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	const source = "package p\n\nfunc f() int {\n\treturn 1\n}\n\nfunc g() int {\n\treturn 2\n}\n"
	for _, test := range []struct {
		name, variant string
		want          string // a part of the changed source
		wantErr       string
	}{
		{name: "one line", variant: "What: x\n\nPackage: p\nReplace: return 1\nWith: return 3\n", want: "f() int {\n\treturn 3\n"},
		{name: "several lines", variant: "Package: p\nReplace:\n\treturn 1\n}\n\nWith:\n\tprintln()\n\treturn 4\n}\n", want: "\tprintln()\n\treturn 4\n}\n\nfunc g"},
		{name: "remove", variant: "Package: p\nReplace: return 1\nWith:\n", want: "f() int {\n\t\n}"},
		{name: "two replacements", variant: "Package: p\nReplace: return 1\nWith: return 5\n\nReplace: return 2\nWith: return 6\n", want: "return 5\n}\n\nfunc g() int {\n\treturn 6\n"},
		{name: "not unique", variant: "Package: p\nReplace: return\nWith: panic(1)\n", wantErr: "occurs 2 times"},
		{name: "not found", variant: "Package: p\nReplace: return 7\nWith: return 8\n", wantErr: "occurs 0 times"},
		{name: "only in a test", variant: "Package: p\nReplace: return 9\nWith: return 8\n", wantErr: "occurs 0 times"},
		{name: "no With", variant: "Package: p\nReplace: return 1\n", wantErr: "no With"},
		{name: "no Package", variant: "Replace: return 1\nWith: return 2\n", wantErr: "no Package"},
		{name: "only headers", variant: "What: x\n", wantErr: "no Replace"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for name, text := range map[string]string{
				"p/p.go": source, "p/p_test.go": "package p\n\nfunc h() int { return 9 }\n", "variant.txt": test.variant,
			} {
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			changed, err := load("variant.txt")
			switch {
			case test.wantErr == "" && err != nil, test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)):
				t.Fatalf("got error %v, want %q", err, test.wantErr)
			case !strings.Contains(changed["p/p.go"], test.want):
				t.Errorf("got\n%s\nwant it to contain\n%s", changed["p/p.go"], test.want)
			}
		})
	}
}
