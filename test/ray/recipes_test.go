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

package ray

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// fence matches a block of a Markdown file, with its language.
var fence = regexp.MustCompile("(?s)\n```([a-z]+)\n(.*?\n)```\n")

// TestRecipes runs the commands of docs/recipes.md in the namespace default. A block of text is what the
// commands before it print.
func TestRecipes(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(cluster.Path("docs/recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	userOf(t, "default")
	printed, outputs := "", 0
	for _, block := range fence.FindAllStringSubmatch(string(document), -1) {
		switch language, text := block[1], block[2]; language {
		case "sh":
			out := cluster.Run(t.Context(), "", "bash", "-euo", "pipefail", "-c", "cd "+cluster.Root+"\n"+text)
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			printed = out.Stdout
		case "text":
			if outputs++; !strings.Contains(printed, text) {
				t.Errorf("the commands print\n%s\nwant\n%s", printed, text)
			}
		}
	}
	if outputs != 3 {
		t.Errorf("checked the output of %d recipes, want 3", outputs)
	}
}

// TestFailingJob has a program that fails, so the Job fails.
func TestFailingJob(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.change(u.sample(shortSample, "replicas: 2", "replicas: 0"))
	u.change(u.sample("manifests/samples/job.yaml", `print("the sum`, `raise SystemExit("the sum`, `is", sum(squares))`, `is %d" % sum(squares))`))
	u.kubectl("wait", "--for=condition=Failed", "--timeout=5m", "job/ray-job")
	if log := u.kubectl("logs", "job/ray-job").Stdout; !strings.Contains(log, "the sum of 100 squares is 328350") {
		t.Errorf("the log of the Job does not have the program's error:\n%s", log)
	}
}
