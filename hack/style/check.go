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
	"go/scanner"
	"go/token"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxColumns is the maximum length of a line in Markdown.
const maxColumns = 120

// finding is a violation in a line of a file. Line 0 is the path of the file.
type finding struct {
	line    int
	message string
}

// checkFile returns the violations in a file.
func checkFile(name string, content []byte) []finding {
	findings := checkLine(0, name)
	for i, line := range strings.Split(string(content), "\n") {
		if isText(name, line) {
			findings = append(findings, checkLine(i+1, line)...)
		}
	}
	switch path.Ext(name) {
	case ".go":
		findings = append(findings, checkIdentifiers(content)...)
	case ".md":
		findings = append(findings, checkColumns(string(content))...)
	}
	return findings
}

// jsonText matches the properties of a dashboard that are shown to users.
var jsonText = regexp.MustCompile(`^\s*"(title|description|legendFormat|label|text|content)":`)

// isText reports whether a line contains text of the project, and not only structure.
func isText(name, line string) bool {
	return path.Ext(name) != ".json" || jsonText.MatchString(line)
}

var (
	// camelCase matches the boundary between two words of an identifier.
	camelCase = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	// markdownLink matches the target of a link, or a URL.
	markdownLink = regexp.MustCompile(`\]\([^)]*\)|https?://\S+`)
)

// normalize removes quotes from a line and splits identifiers into words.
func normalize(line string) string {
	for _, quote := range allowed {
		line = quote.ReplaceAllString(line, "")
	}
	return camelCase.ReplaceAllString(strings.ReplaceAll(line, "_", " "), "$1 $2")
}

// checkLine returns the violations in a line.
func checkLine(number int, line string) []finding {
	line = normalize(line)
	var findings []finding
	for _, r := range rules {
		if match := r.pattern.FindString(line); match != "" {
			findings = append(findings, finding{number, fmt.Sprintf("%q: %s", strings.TrimSpace(match), r.advice)})
		}
	}
	return findings
}

// identifier matches names of variables that hold an observed value.
var identifier = regexp.MustCompile(`^have([A-Z]\w*)?$`)

// checkIdentifiers returns the violations in the identifiers of a Go file that would be common
// words in comments and strings.
func checkIdentifiers(content []byte) []finding {
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(content))
	var s scanner.Scanner
	s.Init(file, content, nil, 0)
	var findings []finding
	for {
		pos, kind, literal := s.Scan()
		switch {
		case kind == token.EOF:
			return findings
		case kind == token.IDENT && identifier.MatchString(literal):
			findings = append(findings, finding{file.Line(pos), fmt.Sprintf("identifier %q: use got or observed", literal)})
		}
	}
}

// checkColumns returns the lines of a Markdown file that are too long, except in code blocks and
// tables. Targets of links do not count.
func checkColumns(content string) []finding {
	var findings []finding
	code := false
	for i, line := range strings.Split(content, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if code || strings.HasPrefix(strings.TrimSpace(line), "|") {
			continue
		}
		if columns := utf8.RuneCountInString(markdownLink.ReplaceAllString(line, "")); columns > maxColumns {
			findings = append(findings, finding{i + 1, fmt.Sprintf("line has %d columns: wrap it at %d", columns, maxColumns)})
		}
	}
	return findings
}
