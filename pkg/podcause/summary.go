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

// Package podcause derives from the Pods of a Deployment why they are not available. All of its
// functions are pure.
//
// The result is part of a condition, and each change of a condition is a write. It therefore contains
// nothing that varies while the cause stays the same: no names of Pods, times or restart counts.
package podcause

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxCauses is the number of causes in a summary.
const maxCauses = 2

// cause is why a Pod is not available. The zero value means that no cause is known.
type cause struct {
	one  string // precedes the text if one Pod has this cause
	many string // precedes the text, after the number of Pods, if several have it
	text string
	// detail follows the text. Not all statuses that report the same cause contain it.
	detail string
	// dated means that the detail depends on when it was reported, such as the number of nodes then.
	dated bool
}

// causeOf returns a cause that reads the same for one Pod and for several.
func causeOf(text string) cause {
	return cause{many: " Pods: ", text: text}
}

// Summary returns in one line why Pods of a group are not available, or "" if no cause is known (for
// example, they are just starting). The line depends neither on the order of the Pods nor on what
// varies while the causes stay the same.
func Summary(pods []corev1.Pod, now time.Time) string {
	counts, failed := map[cause]int{}, map[cause]int{}
	for i := range pods {
		if c := podCause(&pods[i], now); c != (cause{}) {
			counts[c]++
		}
		if c := failedCause(&pods[i]); c != (cause{}) {
			failed[c]++
		}
	}
	if len(counts) == 0 {
		// A failed Pod has been replaced. It matters only if nothing else explains the missing Pod.
		counts = failed
	}
	mergeDetails(counts)

	var parts []string
	for _, c := range mostFrequent(counts) {
		if len(parts) == maxCauses {
			break
		}
		parts = append(parts, c.format(counts[c]))
	}
	return strings.Join(parts, "; ")
}

// mergeDetails counts a cause without a detail, or with an older one, as the most frequent cause that has
// a detail and is otherwise equal.
func mergeDetails(counts map[cause]int) {
	for _, c := range mostFrequent(counts) {
		if c.detail == "" || counts[c] == 0 {
			continue
		}
		for other, count := range counts {
			if other != c && (other.detail == "" || c.dated) && other.withDetail(c.detail) == c {
				counts[c] += count
				delete(counts, other)
			}
		}
	}
}

// withDetail returns the cause with another detail.
func (c cause) withDetail(detail string) cause {
	c.detail = detail
	return c
}

// mostFrequent returns the causes, the most frequent first, then by text.
func mostFrequent(counts map[cause]int) []cause {
	return slices.SortedFunc(maps.Keys(counts), func(a, b cause) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.format(1), b.format(1)))
	})
}

// format returns the line for a number of Pods with the cause.
func (c cause) format(count int) string {
	line := c.one + c.text
	if count > 1 {
		line = strconv.Itoa(count) + c.many + c.text
	}
	if c.detail != "" {
		line += ": " + c.detail
	}
	return line
}
