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
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var here = machine{CPU: "a CPU", Cores: 2, Kubernetes: "v1.37.2", Operator: "ray-operator v1", Go: "go1.26", Flags: []string{"--leader-elect"}}

// newResult returns a measurement in which the operator used a CPU time in seconds during creation.
func newResult(rays int, pods bool, seconds float64) *result {
	newPhase := func(counts ...requests) *phase {
		return &phase{
			Seconds: 10, Resident: 60, Peak: 70, Requests: counts, Latency: &percentiles{},
			CPU: map[string]float64{operatorProcess: 0.01, "kube-apiserver": 5, otherProcesses: 0},
		}
	}
	r := &result{
		Machine: here, Rays: rays, Pods: pods,
		Create:  newPhase(requests{"create", "events", true, 3 * rays}, requests{"update", "leases", true, 9}, requests{"watch", "rays", false, 1}),
		Rest:    newPhase(),
		Restart: newPhase(),
		Image:   newPhase(requests{"update", "rays/status", true, 7 * rays}),
		Delete:  newPhase(),
	}
	r.Create.CPU[operatorProcess] = seconds
	if pods {
		r.Create.Share = &percentiles{P50: 0.123}
	}
	return r
}

func newBig() *big {
	return &big{
		Machine: here, Workers: 1000, Requests: []requests{{"update", "rays/status", true, 21}},
		Beside: percentiles{Count: 5, Max: 2},
		Cost:   &phase{Seconds: 10, CPU: map[string]float64{operatorProcess: 1, otherProcesses: 5}},
	}
}

func newAutoscaled() *autoscaled {
	return &autoscaled{
		Machine: here, Rays: 1000, Polls: 940,
		Rest: &phase{Seconds: 10, Resident: 160, CPU: map[string]float64{operatorProcess: 2, otherProcesses: 0}},
	}
}

// writeAll writes measurements to files.
func writeAll(t *testing.T, measured ...any) []string {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for i, m := range measured {
		files = append(files, filepath.Join(dir, string(rune('a'+i))+".json"))
		if err := writeJSON(files[i], m); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestReport(t *testing.T) {
	var text bytes.Buffer
	dir := t.TempDir()
	files := writeAll(t, newResult(1000, true, 9), newResult(100, true, 0.8), newBig(), newResult(100, false, 0.3), newAutoscaled())
	if err := report(&text, dir, files); err != nil {
		t.Fatal(err)
	}
	// The width of columns varies.
	got := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{
		"a CPU, 2 cores; Kubernetes v1.37.2",
		"ray-operator v1, built with go1.26, run with --leader-elect",
		"goal 100 Rays 100 Rays, no Pods 1000 Rays",
		"create: operator CPU per Ray ≤ 8.0 ms 8.0 ms pass - 9.0 ms miss",
		"create: operator writes per Ray ≤ 8.00 3.00 pass - 3.00 pass",
		"create: operator's share of that, p50 0.123 s - 0.123 s",
		"new image: status writes per Ray ≤ 6.00 7.00 miss - 7.00 miss",
		"CPU per Ray with 1000 Rays: 1.12 times that with 100 Rays.",
		"Without Pods, no Ray becomes healthy.",
		"create events 3.000",
		"update leases 0.090",
		"kube-apiserver 50.00",
		"big Ray: operator writes, up and back ≤ 20 21 miss",
		"small Ray beside it: Health after, max ≤ 2.00 s 2.00 s pass",
		"autoscaled, rest: CPU ≤ 0.300 cores 0.200 cores pass",
		"autoscaled, rest: memory, resident ≤ 150 MiB 160 MiB miss",
		"autoscaled, rest: polls per second 940",
		`The big Ray: the times are unreliable, other processes used 0.50 cores during "up and back".`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report does not contain %q", want)
		}
	}
	if strings.Contains(got, "100 Rays: the times are unreliable") {
		t.Error("the report has a warning about a quiet machine")
	}
	if t.Failed() {
		t.Logf("%s", &text)
	}

	again, err := readBench(files)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Loads) != 3 || again.Big == nil || again.Autoscaled == nil {
		t.Errorf("got %d loads, the big Ray %v and the autoscaled ones %v, want 3 loads and these", len(again.Loads), again.Big, again.Autoscaled)
	}
	checkXML(t, filepath.Join(dir, "bench.svg"))
}

// checkXML checks that a plot is valid XML, and that each load has three points.
func checkXML(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	points := 0
	for decoder := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "circle" {
			points++
		}
	}
	if points != 9 {
		t.Errorf("the plot has %d points, want 9", points)
	}
	if strings.Contains(string(data), "NaN") || strings.Contains(string(data), "Inf") {
		t.Error("the plot has a point without coordinates")
	}
}

// TestReportErrors checks that a report has only measurements of the same machine and operator.
func TestReportErrors(t *testing.T) {
	other := newResult(1000, true, 9)
	other.Machine.Operator = "ray-operator v2"
	for name, files := range map[string][]string{
		"no file":          nil,
		"another operator": writeAll(t, newResult(100, true, 1), other),
		"missing file":     {"absent"},
	} {
		if err := report(io.Discard, t.TempDir(), files); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestGrowthGoal(t *testing.T) {
	for name, test := range map[string]struct {
		pods bool
		want string
	}{
		"":                   {false, "CPU per Ray with 10000 Rays, no Pods: 1.25 times that with 1000 Rays, no Pods, goal ≤ 1.2: miss."},
		"only one with Pods": {true, ""},
	} {
		var text bytes.Buffer
		b := &bench{Loads: []*result{newResult(1000, false, 4), newResult(10_000, test.pods, 50)}}
		b.printGrowth(&text)
		if !strings.Contains(text.String(), test.want) || (test.want == "") != (text.Len() == 0) {
			t.Errorf("%s: got %q, want %q", name, &text, test.want)
		}
	}
}

func TestNiceStep(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 0.3: 0.05, 4: 1, 9: 2, 61: 20, 100: 20, 350: 100} {
		if got := niceStep(most); got != want {
			t.Errorf("niceStep(%v) = %v, want %v", most, got, want)
		}
	}
}
