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
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// results are the durations that the tests have measured.
var results resultTable

type resultTable struct {
	mutex sync.Mutex
	rows  []resultRow
}

type resultRow struct {
	test, what string
	seconds    float64
}

// measured records a duration, and fails the test if it exceeds a limit. A limit of 0 is none.
func measured(t testing.TB, what string, duration, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %.1f s", what, duration.Seconds())
	if limit > 0 && duration > limit {
		t.Errorf("%s took %.1f s, want at most %s", what, duration.Seconds(), limit)
	}
	results.mutex.Lock()
	defer results.mutex.Unlock()
	results.rows = append(results.rows, resultRow{t.Name(), what, duration.Seconds()})
}

// report prints the durations, and writes them to a file unless its name is empty.
func (r *resultTable) report(file string) error {
	slices.SortStableFunc(r.rows, func(a, b resultRow) int { return strings.Compare(a.test, b.test) })
	var table strings.Builder
	table.WriteString("| test | what | seconds |\n| --- | --- | --- |\n")
	for _, row := range r.rows {
		fmt.Fprintf(&table, "| %s | %s | %.1f |\n", row.test, row.what, row.seconds)
	}
	fmt.Print(table.String())
	if file == "" {
		return nil
	}
	return os.WriteFile(file, []byte(table.String()), 0o644)
}
