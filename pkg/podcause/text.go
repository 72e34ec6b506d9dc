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
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

const (
	// maxText is the length limit, in bytes, of a text that is quoted from a Pod.
	maxText = 256
	// maxRead is the number of bytes of a text that are read. The kubelet limits messages to 4 KiB.
	maxRead = 4096
	// maxItems is the number of items of a list that are quoted.
	maxItems = 3
	// randomSuffix is the number of characters that the API server appends to generateName.
	randomSuffix = 5
)

// escape matches ANSI escape sequences: colors, movements of the cursor, and titles.
var escape = regexp.MustCompile(`\x1b\[[0-?]*[\x20-\x2f]*[\x40-\x7e]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)`)

// The parts of a message that differ between Pods or attempts: times, the local address of a connection,
// and identifiers of objects, containers, processes and memory.
var (
	times = regexp.MustCompile(`\[` + timestamp + `( [A-Z] \d+ \d+)?\]|` + timestamp +
		`|\b[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+\b`)
	localAddress = regexp.MustCompile(`\S+:\d+->`)
	identifier   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(_\d+)?` +
		`|(sha256:)?[0-9a-f]{56,64}|\b0x[0-9a-f]{6,}|\bpid[= ]\d+`)
)

// timestamp matches a date with a time of the day.
const timestamp = `\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?`

// clean returns a text of a Pod in one line, without what differs between Pods or attempts, and truncates
// it.
func clean(pod *corev1.Pod, text string) string {
	text = text[:min(len(text), maxRead)]
	text = escape.ReplaceAllString(strings.ToValidUTF8(text, ""), "")

	text = times.ReplaceAllString(text, "")
	text = localAddress.ReplaceAllString(text, "")
	text = identifier.ReplaceAllStringFunc(text, func(id string) string {
		if strings.HasPrefix(id, "sha256:") {
			return id
		}
		return "*"
	})
	if base := len(pod.Name) - randomSuffix; base > 0 && strings.HasPrefix(pod.GenerateName, pod.Name[:base]) {
		text = strings.ReplaceAll(text, pod.Name, pod.Name[:base]+"*")
	}
	if _, err := netip.ParseAddr(pod.Status.PodIP); err == nil {
		text = strings.ReplaceAll(text, pod.Status.PodIP, "*")
	}
	return truncate(printable(text))
}

// plain returns a name in one line, and truncates it.
func plain(name string) string {
	return truncate(printable(strings.ToValidUTF8(name[:min(len(name), maxRead)], "")))
}

// printable replaces spaces of any kind, also control characters, by single spaces, and removes what
// cannot be printed.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return -1
		}
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// truncate limits a text to maxText bytes.
func truncate(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// quote returns a name in quotes.
func quote(name string) string {
	return `"` + plain(name) + `"`
}

// list returns the first items of a list in alphabetical order.
func list(items []string) string {
	items = slices.Sorted(slices.Values(items))
	more := ""
	if len(items) > maxItems {
		items, more = items[:maxItems], ", …"
	}
	quoted := make([]string, 0, len(items))
	for _, item := range items {
		quoted = append(quoted, plain(item))
	}
	return strings.Join(quoted, ", ") + more
}
