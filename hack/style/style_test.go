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
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	tested := make([]bool, len(rules))
	for _, test := range []struct{ line, want string }{
		{"// The operator mends it.", "mends"},
		{"func (c *Controller) mendChild(", "mend"},
		{"amend the commit, and recommend it", ""},
		{"it is put right", "put right"},
		{"put it back", "put it back"},
		{"output is right", ""},
		{"undo a change by somebody else", "undo,somebody"},
		{"kubectl rollout undo deployment/x", ""},
		{"type foreignWriter struct", "foreign"},
		{"the operator keeps every Ray", "keeps every Ray"},
		{"Rays are kept", "Rays are kept"},
		{"keep the Deployment of a Ray", ""},
		{"serves a Ray", "serves a Ray"},
		{"the API server does not serve Rays", ""},
		{"tells apart", "tells"},
		{"told := 1", "told"},
		{"that is news", "news"},
		{"newService()", ""},
		{"LastWords string", "Words"},
		{"passwords and keywords", ""},
		{"the message has settled", "settled"},
		{"waits for its turn", "its turn"},
		{"Health turns True", ""},
		{"ray.kubeflow.org/yielded", "yielded"},
		{"for x := range func(yield func(int) bool) { yield(1) }", ""},
		{"it insists on it", "insists"},
		{"admission has its way", "has its way"},
		{"errBehind = errors.New", "err Behind"},
		{"the cache is behind", "is behind"},
		{"behind a load balancer", ""},
		{"ray_operator_replicas_wanted", "wanted"},
		{"want: 3", ""},
		{"ReasonNameTaken", "Name Taken"},
		{"the name is already taken", "name is already taken"},
		{"then try again", "try again"},
		{"please apply your changes to the latest version and try again", ""},
		{"it comes back", "comes back"},
		{"callback and fallback", ""},
		{"made on purpose", "on purpose"},
		{"type scene struct", "scene"},
		{"playAll()", "play"},
		{"a display", ""},
		{"in the first act", "the first act"},
		{"an action", ""},
		{"judge() {", "judge"},
		{"const lanes = 4", "lanes"},
		{"in a plane", ""},
		{"-patience 30s", "patience"},
		{"at the end of the operator", "end of the operator"},
		{"writes nothing at rest", "at rest"},
		{"Secrets are encrypted at rest", ""},
		{"whoever reads it", "whoever"},
		{"a Ray whose workers run", "whose"},
		{"the status alone", "alone"},
		{"a stand-alone Pod", ""},
		{"for want of CPU", "for want of"},
		{"writes are borne", "borne"},
		{"none of its affair", "affair"},
		{"how things stand", "how things stand"},
		{"the Ray is not also deleted", "not also"},
		{"not X, but also Y", ""},
		{"That Pods cannot be made waits.", "That Pods cannot"},
		{"That is all.", ""},
		{"What is none of it costs no write.", "What is none of it costs no write."},
		{"What is a Ray?", ""},
		{"a Pod of the operator's.", "of the operator's."},
		{"of the operator's lease", ""},
		{"So it is.", "So it is."},
		{"so it is tested", ""},
		{"desired and observed replicas", ""},
	} {
		findings := checkLine(1, test.line)
		var got []string
		for _, f := range findings {
			match, _, _ := strings.Cut(f.message, ": ")
			got = append(got, strings.Trim(match, `"`))
		}
		for i, r := range rules {
			tested[i] = tested[i] || r.pattern.MatchString(normalize(test.line))
		}
		if strings.Join(got, ",") != test.want {
			t.Errorf("checkLine(%q) = %q, want %q", test.line, got, test.want)
		}
	}
	for i, r := range rules {
		if !tested[i] {
			t.Errorf("no line matches the rule %s", r.pattern)
		}
	}
}

func TestCheckFile(t *testing.T) {
	long := strings.Repeat("x ", 70)
	for _, test := range []struct {
		name, content string
		want          []int
	}{
		{"a.go", "package a\n\nfunc f() { have := 1; _ = have }\n", []int{3, 3}},
		{"a.go", "package a\n\n// Pods have names.\nconst s = \"have\"\n", nil},
		{"mend.go", "package a\n", []int{0}},
		{"a.md", long + "\n", []int{1}},
		{"a.md", "```\n" + long + "\n```\n| " + long + "|\n", nil},
		{"a.md", "[a](https://" + strings.Repeat("x", 120) + ")\n", nil},
		{"a.yaml", "# " + long + "\n", nil},
		{"a.json", "{\n\"title\": \"wanted\",\n\"expr\": \"wanted\"\n}\n", []int{2}},
	} {
		var got []int
		for _, f := range checkFile(test.name, []byte(test.content)) {
			got = append(got, f.line)
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: findings in lines %v, want %v:\n%s", test.name, got, test.want, test.content)
		}
	}
}

func TestIsChecked(t *testing.T) {
	for _, test := range []struct {
		name string
		want bool
	}{
		{"README.md", true},
		{".ci/run", true},
		{"pkg/controller/sync.go", true},
		{"vendor/k8s.io/api/x.go", false},
		{"pkg/client/clientset/x.go", false},
		{"pkg/apis/ray/v1/zz_generated.deepcopy.go", false},
		{"pkg/resources/testdata/x.yaml", false},
		{"docs/dashboard.svg", false},
		{"hack/tools/go.mod", false},
		{"hack/style/rules.go", false},
	} {
		if got := isChecked(test.name); got != test.want {
			t.Errorf("isChecked(%q) = %t, want %t", test.name, got, test.want)
		}
	}
}

func TestRun(t *testing.T) {
	root := t.TempDir()
	if err := exec.CommandContext(t.Context(), "git", "init", "--quiet", root).Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "a.md")
	check := func(content string) (string, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		add := exec.CommandContext(t.Context(), "git", "add", ".")
		add.Dir = root
		if err := add.Run(); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err := run(t.Context(), root, &out)
		return out.String(), err
	}

	if out, err := check("Plain text.\n"); err != nil || out != "" {
		t.Errorf("got %q, %v, want no output and no error", out, err)
	}
	out, err := check("It is wanted.\n")
	const want = "docs/a.md:1: \"wanted\": use desired, or want in tests\n\nViolations per directory:\n    1  docs\n"
	if err == nil || out != want {
		t.Errorf("got %q, %v, want %q and an error", out, err, want)
	}
}
