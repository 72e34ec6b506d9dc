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

// Command style checks the text of all tracked files for terms that the project does not use,
// and Markdown files for long lines. It prints each finding, and the number of findings per
// directory.
//
//	style [ROOT]
//
// Quotes of other projects that contain such a term are listed in the variable allowed.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

var errFindings = errors.New("style violations found")

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(context.Background(), root, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "style:", err)
		os.Exit(1)
	}
}

// run checks the repository at root and prints the findings to out.
func run(ctx context.Context, root string, out io.Writer) error {
	files, err := trackedFiles(ctx, root)
	if err != nil {
		return err
	}
	perDir := map[string]int{}
	for _, name := range files {
		content, err := readFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		for _, f := range checkFile(name, content) {
			perDir[directory(name)]++
			fmt.Fprintf(out, "%s:%d: %s\n", name, f.line, f.message)
		}
	}
	if len(perDir) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nViolations per directory:")
	dirs := slices.SortedFunc(maps.Keys(perDir), func(a, b string) int {
		return cmp.Or(perDir[b]-perDir[a], strings.Compare(a, b))
	})
	for _, dir := range dirs {
		fmt.Fprintf(out, "%5d  %s\n", perDir[dir], dir)
	}
	return errFindings
}

// trackedFiles returns the paths of all files in the index of git that are checked.
func trackedFiles(ctx context.Context, root string) ([]string, error) {
	command := exec.CommandContext(ctx, "git", "ls-files", "-z")
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	return slices.DeleteFunc(names, func(name string) bool { return !isChecked(name) }), nil
}

// isChecked reports whether the text of a file is written by the project.
func isChecked(name string) bool {
	for _, dir := range []string{
		"vendor/",
		"pkg/client/",    // generated
		"manifests/crd/", // generated, with descriptions by Kubernetes
		"hack/style/",    // contains the terms
	} {
		if strings.HasPrefix(name, dir) {
			return false
		}
	}
	base := path.Base(name)
	switch {
	case strings.Contains(name, "/testdata/"), strings.HasPrefix(base, "zz_generated"):
		return false
	case slices.Contains([]string{"LICENSE", "go.mod", "go.sum", "prometheus_rule.yaml"}, base):
		return false
	}
	return path.Ext(base) != ".svg"
}

// readFile returns the content of a regular text file, and nothing for any other file, or for a
// file that is deleted in the work tree.
func readFile(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(name)
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, nil
	}
	return content, err
}

// directory returns the first two elements of the directory of a file, for the summary.
func directory(name string) string {
	parts := strings.Split(path.Dir(name), "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}
