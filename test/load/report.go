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
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
)

// bench has the measurements of a report.
type bench struct {
	Machine machine   `json:"machine"`
	Loads   []*result `json:"loads"`
	Big     *big      `json:"big,omitempty"`

	Autoscaled *autoscaled `json:"autoscaled,omitempty"`
}

// report reads measurements from files, prints them as text, and writes bench.json and bench.svg
// to a directory.
func report(w io.Writer, dir string, files []string) error {
	b, err := readBench(files)
	if err != nil {
		return err
	}
	b.print(w)
	if err := writeJSON(filepath.Join(dir, "bench.json"), b); err != nil {
		return err
	}
	plot, err := b.plot()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bench.svg"), plot, 0o644)
}

func readBench(files []string) (*bench, error) {
	if len(files) == 0 {
		return nil, errors.New("missing arguments: files written by measure or big")
	}
	b := &bench{}
	for i, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var file struct {
			result
			Workers    int `json:"workers"`
			Autoscaled int `json:"autoscaledRays"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", name, err)
		}
		if i == 0 {
			b.Machine = file.Machine
		}
		if !reflect.DeepEqual(file.Machine, b.Machine) {
			return nil, fmt.Errorf("%s and %s are of different machines, versions or flags", files[0], name)
		}
		switch {
		case file.Workers > 0:
			err = json.Unmarshal(data, &b.Big)
		case file.Autoscaled > 0:
			err = json.Unmarshal(data, &b.Autoscaled)
		default:
			b.Loads = append(b.Loads, &file.result)
		}
		if err != nil {
			return nil, fmt.Errorf("decoding %s: %w", name, err)
		}
	}
	slices.SortStableFunc(b.Loads, func(a, b *result) int { return cmp.Compare(a.Rays, b.Rays) })
	return b, nil
}

// print writes the report as text.
func (b *bench) print(w io.Writer) {
	m := b.Machine
	fmt.Fprintf(w, "%s, %d cores; Kubernetes %s with simulated kubelets\n%s, built with %s, run with %s\n\n",
		m.CPU, m.Cores, m.Kubernetes, m.Operator, m.Go, strings.Join(m.Flags, " "))
	if len(b.Loads) > 0 {
		printTable(w, rows, b.Loads, (*result).title)
		b.printGrowth(w)
		if slices.ContainsFunc(b.Loads, func(r *result) bool { return !r.Pods }) {
			fmt.Fprint(w, "\nWithout Pods, no Ray becomes healthy. A Ray is done when its status is of its newest generation.\n")
		}
	}
	for _, load := range b.Loads {
		printNoise(w, load.title(), load.phases())
		printRequests(w, load)
		printCPU(w, "CPU per Ray in ms, "+load.title(), load.phases(), 1000/float64(load.Rays), m.Cores)
	}
	if b.Big != nil {
		fmt.Fprintln(w)
		printTable(w, bigRows, []*big{b.Big}, func(b *big) string {
			return fmt.Sprintf("%d workers, %d small Rays", b.Workers, b.Beside.Count)
		})
		phases := []namedPhase{{"up and back", b.Big.Cost}}
		printNoise(w, "The big Ray", phases)
		printCPU(w, "CPU in s, the big Ray and the small ones", phases, 1, m.Cores)
	}
	if b.Autoscaled != nil {
		printTable(w, autoscaledRows, []*autoscaled{b.Autoscaled}, func(a *autoscaled) string {
			return fmt.Sprintf("%d autoscaled Rays", a.Rays)
		})
		phases := []namedPhase{{"rest", b.Autoscaled.Rest}}
		printNoise(w, "Autoscaled Rays", phases)
		printCPU(w, "CPU in s, autoscaled Rays", phases, 1, m.Cores)
	}
}

// title describes the load.
func (r *result) title() string {
	if !r.Pods {
		return fmt.Sprintf("%d Rays, no Pods", r.Rays)
	}
	return fmt.Sprintf("%d Rays", r.Rays)
}

// printCells prints a table with aligned columns.
func printCells(w io.Writer, lines [][]string) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, cells := range lines {
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	table.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// printTable prints a line for each row, with the goal and the values.
func printTable[T interface{ hasPods() bool }](w io.Writer, rows []row[T], measured []T, title func(T) string) {
	head := []string{"", "goal"}
	for _, m := range measured {
		head = append(head, title(m), "")
	}
	lines := [][]string{head}
	for _, row := range rows {
		cells := []string{row.what, row.goal(measured)}
		for _, m := range measured {
			value, limit := math.NaN(), math.NaN()
			if !row.pods || m.hasPods() {
				value = row.value(m)
			}
			if row.limit != nil {
				limit = row.limit(m)
			}
			cells = append(cells, row.format(value), verdict(value, limit))
		}
		lines = append(lines, cells)
	}
	printCells(w, lines)
}

// goal returns the goals of a row, as they come with the columns.
func (r row[T]) goal(measured []T) string {
	var goals []string
	for _, m := range measured {
		if r.limit == nil {
			break
		}
		if goal := "≤ " + r.format(r.limit(m)); !slices.Contains(goals, goal) {
			goals = append(goals, goal)
		}
	}
	return strings.Join(goals, ", ")
}

// format formats a value with its unit.
func (r row[T]) format(value float64) string {
	if math.IsNaN(value) {
		return "-"
	}
	return fmt.Sprintf("%.*f%s", r.digits, value, r.unit)
}

func (r *result) hasPods() bool { return r.Pods }

// hasPods is true, since the big Ray is measured only with Pods.
func (*big) hasPods() bool { return true }

// hasPods is true, since no row depends on Pods.
func (*autoscaled) hasPods() bool { return true }

// printGrowth compares the CPU per Ray with that of a load with a tenth of the Rays.
func (b *bench) printGrowth(w io.Writer) {
	for _, small := range b.Loads {
		for _, large := range b.Loads {
			if large.Rays != 10*small.Rays || large.Pods != small.Pods {
				continue
			}
			growth := large.perRay(large.Create.CPU[operatorProcess]) / small.perRay(small.Create.CPU[operatorProcess])
			fmt.Fprintf(w, "\nCPU per Ray with %s: %.2f times that with %s", large.title(), growth, small.title())
			if small.Rays == 1_000 {
				fmt.Fprintf(w, ", goal ≤ %.1f: %s", growthLimit, verdict(growth, growthLimit))
			}
			fmt.Fprintln(w, ".")
		}
	}
}

// quiet is the number of cores that other processes may use without affecting times.
const quiet = 0.1

// printNoise prints the phases in which other processes used the machine.
func printNoise(w io.Writer, title string, phases []namedPhase) {
	var doubts []string
	for _, phase := range phases {
		if others := phase.CPU[otherProcesses] / phase.Seconds; others > quiet {
			doubts = append(doubts, fmt.Sprintf("%.2f cores during %q", others, phase.name))
		}
	}
	if len(doubts) > 0 {
		fmt.Fprintf(w, "\n%s: the times are unreliable, other processes used %s.\n", title, strings.Join(doubts, ", "))
	}
}

// namedPhase is a phase with its name in tables.
type namedPhase struct {
	name string
	*phase
}

func (r *result) phases() []namedPhase {
	return []namedPhase{{"create", r.Create}, {"rest", r.Rest}, {"restart", r.Restart}, {"new image", r.Image}, {"delete", r.Delete}}
}

// printRequests prints the operator's requests per Ray.
func printRequests(w io.Writer, r *result) {
	fmt.Fprintf(w, "\nOperator requests per Ray, %s:\n\n", r.title())
	head := []string{""}
	all := tally{}
	for _, phase := range r.phases() {
		head = append(head, phase.name)
		for _, count := range phase.Requests {
			count.Count = 0
			all[count]++
		}
	}
	lines := [][]string{head}
	for _, kind := range all.sorted() {
		cells := []string{kind.Verb + " " + cmp.Or(kind.Resource, "(no resource)")}
		for _, phase := range r.phases() {
			cells = append(cells, perRayCell(r, phase.Requests, kind))
		}
		lines = append(lines, cells)
	}
	printCells(w, lines)
}

// perRayCell formats the number of requests of a kind per Ray. It is empty if there are none.
func perRayCell(r *result, list []requests, kind requests) string {
	for _, count := range list {
		if count.Verb == kind.Verb && count.Resource == kind.Resource {
			return fmt.Sprintf("%.3f", r.perRay(float64(count.Count)))
		}
	}
	return ""
}

// printCPU prints the CPU time of each process, multiplied by scale, and the cores in use.
func printCPU(w io.Writer, heading string, phases []namedPhase, scale float64, cores int) {
	fmt.Fprintf(w, "\n%s:\n\n", heading)
	head, busy := []string{""}, []string{fmt.Sprintf("cores in use, of %d", cores)}
	processes := map[string]bool{}
	for _, phase := range phases {
		head = append(head, phase.name)
		total := 0.0
		for process, seconds := range phase.CPU {
			processes[process] = true
			total += seconds
		}
		busy = append(busy, fmt.Sprintf("%.2f", total/phase.Seconds))
	}
	lines := [][]string{head}
	for _, process := range slices.Sorted(maps.Keys(processes)) {
		cells := []string{process}
		for _, phase := range phases {
			cells = append(cells, fmt.Sprintf("%.2f", scale*phase.CPU[process]))
		}
		lines = append(lines, cells)
	}
	printCells(w, append(lines, busy))
}
