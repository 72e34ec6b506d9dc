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

// Command variant builds a variant of the operator: with replacements of source text that a file
// describes. The work tree is not changed. It is used for mutation testing, and to build a later
// version of the operator for upgrade tests.
//
//	variant check FILE...                   reports files that do not apply
//	variant build FILE BINARY [PACKAGE]     builds the operator, or the tests of a package
//
// The file has headers, which variant ignores, and replacements:
//
//	What: Delete by name, without preconditions.
//
//	Package: pkg/controller
//	Replace: 	PropagationPolicy: new(metav1.DeletePropagationBackground),
//	With:
//	Replace:
//	one or more lines
//	With:
//	any number of lines
//
// The replaced text must occur exactly once in the package, tests excluded. So a variant does not
// depend on the names of files, on line numbers, or on the surrounding code. The working directory
// must be the root of the repository.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const usage = "usage: variant check FILE... | variant build FILE BINARY [PACKAGE]"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "variant:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "check":
		var failures []error
		for _, file := range args[1:] {
			_, err := load(file)
			failures = append(failures, err)
		}
		return errors.Join(failures...)
	case len(args) == 3 && args[0] == "build":
		return build(args[1], args[2], "build", "./cmd/ray-operator")
	case len(args) == 4 && args[0] == "build":
		return build(args[1], args[2], "test", "-c", args[3])
	default:
		return errors.New(usage)
	}
}

// build builds the variant that a file describes, with the arguments of go.
func build(file, binary string, args ...string) error {
	changed, err := load(file)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "variant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	overlay := map[string]map[string]string{"Replace": {}}
	for path, text := range changed {
		original, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		replacement := filepath.Join(dir, fmt.Sprintf("%d-%s", len(overlay["Replace"]), filepath.Base(path)))
		if err := os.WriteFile(replacement, []byte(text), 0o600); err != nil {
			return err
		}
		overlay["Replace"][original] = replacement
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, data, 0o600); err != nil {
		return err
	}

	what := args[len(args)-1]
	args = append(args[:len(args)-1:len(args)-1], "-trimpath", "-overlay", overlayFile, "-o", binary, what)
	command := exec.CommandContext(context.Background(), "go", args...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("building %s with %s: %w", what, file, err)
	}
	return nil
}

// load applies the replacements of a file, and returns the text of the source files that they change.
func load(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	replacements, err := parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	changed := map[string]string{}
	for _, r := range replacements {
		if err := r.apply(changed); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return changed, nil
}

// replacement replaces a text in a package.
type replacement struct {
	dir, old, new string
}

// parse returns the replacements of a file.
func parse(text string) ([]replacement, error) {
	var replacements []replacement
	var dir string
	var block *[]string // the lines of the current Replace or With
	var old, replaced []string
	inWith := false
	finish := func() {
		if inWith {
			replacements = append(replacements, replacement{dir: dir, old: join(old), new: join(replaced)})
		}
		old, replaced, block, inWith = nil, nil, nil, false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		key, value, _ := strings.Cut(line, ":")
		switch {
		case key == "Package" && (block == nil || inWith):
			finish()
			dir = strings.TrimSpace(value)
		case key == "Replace" && (block == nil || inWith):
			finish()
			block = &old
		case key == "With" && block == &old:
			block, inWith = &replaced, true
		case block != nil:
			*block = append(*block, line)
			continue
		default:
			continue // a header
		}
		if value = strings.TrimSpace(value); value != "" && block != nil {
			*block = append(*block, value)
		}
	}
	if block == &old && !inWith {
		return nil, errors.New("a Replace has no With")
	}
	finish()
	if len(replacements) == 0 {
		return nil, errors.New("it has no Replace")
	}
	for _, r := range replacements {
		if r.dir == "" || r.old == "" {
			return nil, errors.New("a replacement has no Package or no text to replace")
		}
	}
	return replacements, nil
}

// join returns the lines of a block without the empty lines that separate it from the next one.
func join(lines []string) string { return strings.TrimRight(strings.Join(lines, "\n"), "\n") }

// apply adds the changed file to the changed files.
func (r *replacement) apply(changed map[string]string) error {
	paths, err := filepath.Glob(filepath.Join(r.dir, "*.go"))
	if err != nil {
		return err
	}
	count, target, text := 0, "", ""
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		content, found := changed[path]
		if !found {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		}
		if n := strings.Count(content, r.old); n > 0 {
			count, target, text = count+n, path, content
		}
	}
	if count != 1 {
		return fmt.Errorf("the text occurs %d times in %s, want once: %q", count, r.dir, r.old)
	}
	changed[target] = strings.Replace(text, r.old, r.new, 1)
	return nil
}
