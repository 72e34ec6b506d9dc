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
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestStalePackages(t *testing.T) {
	const output = `{"ImportPath": "fresh"}
{"ImportPath": "changed", "Stale": true, "StaleReason": "build ID mismatch"}
{"ImportPath": "dependent", "Stale": true, "StaleReason": "stale dependency: changed"}
{"ImportPath": "cached", "Stale": true, "StaleReason": "not installed but available in build cache"}
`
	stale, total, err := stalePackages(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	if total != 4 {
		t.Errorf("total = %d, want 4", total)
	}
	got, want := slices.Sorted(maps.Keys(stale)), []string{"changed", "dependent"}
	if !slices.Equal(got, want) {
		t.Errorf("stale packages = %q, want %q", got, want)
	}
}

// The tool lines of go.mod keep the modules of these packages.
func TestPackagesAreTools(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(mod), "tool (\n")
	block, _, _ = strings.Cut(block, ")")
	tools := strings.Fields(block)
	var packages []string
	for _, pkg := range slices.Concat(controlPlanePackages, nodePackages) {
		if !strings.HasPrefix(pkg, modulePath) {
			packages = append(packages, pkg)
		}
	}
	slices.Sort(packages)
	if !slices.Equal(packages, tools) {
		t.Errorf("packages = %q, want the tools of go.mod: %q", packages, tools)
	}
}

func TestStalePackagesTruncatedOutput(t *testing.T) {
	if _, _, err := stalePackages(strings.NewReader(`{"ImportPath": `)); err == nil {
		t.Error("no error for truncated output")
	}
}

func TestLinkerFlags(t *testing.T) {
	got, err := linkerFlags("v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	want := "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2" +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
	if got != want {
		t.Errorf("linkerFlags = %q, want %q", got, want)
	}
	if _, err := linkerFlags("v1.37"); err == nil {
		t.Error("no error for a version without patch number")
	}
}
