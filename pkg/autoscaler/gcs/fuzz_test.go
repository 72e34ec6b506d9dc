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

package gcs

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzClusterState decodes any reply. A state that is returned is within all limits, and the same each time.
func FuzzClusterState(f *testing.F) {
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatalf("files %v, error %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	// Small replies are easier to vary.
	label := sub(2, sub(1, text(1, "a"), text(2, "b")), sub(2, text(1, "c")))
	selector := sub(3, sub(1, text(1, "a"), number(2, 2), text(3, "b")))
	request := sub(1, cpu(1, 1), label, selector)
	bundle := sub(1, sub(1, text(1, "CPU_group_0_"+strings.Repeat("0f", 18)), double(2, 1)))
	for _, part := range [][]byte{
		sub(3, text(1, "n"), text(2, "i"), text(3, "g"), cpu(4, -1), cpu(5, 1), number(8, 3), number(9, 1000), sub(13, text(1, "a"))),
		sub(4, request, number(2, 1)),
		sub(4, bundle, number(2, 1)),
		sub(5, request, text(2, "d"), sub(3, request)),
		sub(6, sub(1, request, number(2, 1))),
		{11<<3 | 3, 11<<3 | 4, 12<<3 | 5, 1, 2, 3, 4},
	} {
		f.Add(reply(part))
		f.Add(part)
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		state, err := decodeState(reply)
		if _, _, err := decodeDrain(reply); err != nil {
			checkMessage(t, err)
		}
		if err != nil {
			checkMessage(t, err)
			if state != nil {
				t.Error("a state with an error")
			}
			return
		}
		again, err := decodeState(reply)
		if diff := cmp.Diff(state, again); diff != "" || err != nil {
			t.Errorf("decoded twice: error %v\n%s", err, diff)
		}
		checkState(t, state)
	})
}

// checkMessage checks the text of an error.
func checkMessage(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); len(text) > 2*maxMessage || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x00") {
		t.Errorf("error %q", text)
	}
}

// checkState checks all numbers and texts of a state.
func checkState(t *testing.T, state *ClusterState) {
	t.Helper()
	ids := map[string]bool{}
	for _, node := range state.Nodes {
		if ids[node.ID] || node.Status == NodeDead || node.Idle < 0 || node.Idle > maxIdle {
			t.Errorf("node %+v", node)
		}
		ids[node.ID] = true
		checkTexts(t, node.Instance, node.Group)
		checkResources(t, node.Total)
		checkResources(t, node.Available)
		for name, value := range node.Labels {
			checkTexts(t, name, value)
		}
	}
	for _, demands := range [][]Demand{state.Tasks, state.Constraint} {
		for _, demand := range demands {
			if demand.Count < 1 || demand.Count > maxCount {
				t.Errorf("demand %+v", demand)
			}
			checkRequest(t, demand.Request)
		}
	}
	for _, gang := range state.Gangs {
		if len(gang.Requests) == 0 {
			t.Error("empty placement group")
		}
		checkTexts(t, gang.Details)
		for _, request := range gang.Requests {
			checkRequest(t, request)
		}
	}
}

// checkRequest checks a request.
func checkRequest(t *testing.T, request Request) {
	t.Helper()
	checkResources(t, request.Resources)
	for name, amount := range request.Resources {
		if amount == 0 {
			t.Errorf("request for 0 of %q", name)
		}
	}
	for _, label := range []Label{request.Affinity, request.AntiAffinity} {
		checkTexts(t, label.Name, label.Value)
	}
	for _, selector := range request.Selectors {
		for _, term := range selector {
			checkTexts(t, term.Name)
			checkTexts(t, term.Values...)
		}
	}
}

// checkResources checks amounts.
func checkResources(t *testing.T, resources Resources) {
	t.Helper()
	for name, amount := range resources {
		checkTexts(t, name)
		if math.IsNaN(amount) || amount < 0 || amount > maxAmount || isBundle(name) {
			t.Errorf("%v of %q", amount, name)
		}
	}
}

// checkTexts checks texts.
func checkTexts(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if len(text) > maxText || !utf8.ValidString(text) {
			t.Errorf("text %q", text)
		}
	}
}
