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

package podcause

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
)

var (
	// errorLine matches a line that names an error, such as the last one of a traceback or of a usage error.
	errorLine = regexp.MustCompile(`^([\w.]*(Error|Exception)|panic|fatal error): `)
	// progressLine matches what ray start logs apart from errors, and what it logs before it exits in any case.
	progressLine = regexp.MustCompile(`^(INFO|SUCC|VINFO) \w+\.py:\d+ -- |^(ERR \w+\.py:\d+ -- )?Remaining processes will be killed\.$`)
	// processLine matches how ray start --block reports that one of Ray's processes has exited.
	processLine = regexp.MustCompile(`^(?:ERR \w+\.py:\d+ -- )?(?:-+ END (\w+)\.\w+ tail \(exit code\(s\)=(.+)\) -+|(\w+) \[exit code=(.+)\])$`)
)

// errorOf returns the line of a log that says best why its process exited: the last one that names an
// error, else the last one.
func errorOf(pod *corev1.Pod, log string) string {
	log = log[max(0, len(log)-maxRead):]
	lines := strings.FieldsFunc(log, func(r rune) bool { return r == '\n' || r == '\r' })
	last, lastOfAll := "", ""
	for _, line := range slices.Backward(lines) {
		line = clean(pod, line)
		switch {
		case !strings.ContainsFunc(line, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }):
			continue
		case errorLine.MatchString(line):
			return line
		case lastOfAll == "":
			lastOfAll = line
		}
		if last == "" && !progressLine.MatchString(line) {
			last = line
		}
	}
	if last == "" {
		return lastOfAll
	}
	if match := processLine.FindStringSubmatch(last); match != nil {
		return match[1] + match[3] + " exited with " + match[2] + match[4]
	}
	return last
}
