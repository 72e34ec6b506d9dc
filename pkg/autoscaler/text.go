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

package autoscaler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

const (
	// maxListed is the number of items of a list that are named.
	maxListed = 3
	// maxName is the length limit, in bytes, of a name that is quoted from a cluster, before control characters in it
	// are escaped.
	maxName = 63
	// maxText is the length limit, in bytes, of a text that describes demand.
	maxText = 256
)

// text returns a request in one line, for example {"CPU": 1, "GPU": 0.5} on nodes with zone in (a).
func (c *catalog) text(s *shape) string {
	return truncate(string(s.kind)+c.shapeText(s), maxText)
}

// gangText returns a gang in one line.
func (c *catalog) gangText(g *gang) string {
	bundles := make([]string, 0, len(g.shapes))
	for _, s := range g.shapes {
		text := c.shapeText(s)
		if s.count > 1 {
			text += " x " + strconv.FormatInt(s.count, 10)
		}
		bundles = append(bundles, text)
	}
	return truncate(string(kindGang)+enumerate(bundles), maxText) + strategy(g.source)
}

// strategy returns the strategy of a gang in parentheses, or "" if it is unknown.
func strategy(g *gcs.Gang) string {
	for _, s := range []string{"STRICT_SPREAD", "STRICT_PACK", "SPREAD", "PACK"} {
		if strings.Contains(g.Details, ":"+s+"|") {
			return " (" + s + ")"
		}
	}
	return ""
}

func (c *catalog) shapeText(s *shape) string {
	resources := make([]string, 0, len(s.need))
	for _, n := range s.need {
		name := c.names[n.resource]
		resources = append(resources, `"`+plain(name)+`": `+formatAmount(name, n.units))
	}
	text := "{" + join(resources, ", ", ", and ") + "}"
	if len(s.selectors) == 0 {
		return text
	}
	selectors := make([]string, 0, len(s.selectors))
	for _, a := range s.selectors {
		selectors = append(selectors, a.text())
	}
	return text + " on nodes with " + join(selectors, " and ", " and ")
}

// text returns alternatives in one line, for example zone in (a, b) or zone notin (c).
func (a alternatives) text() string {
	alternatives := make([]string, 0, len(a))
	for _, selector := range a {
		terms := make([]string, 0, len(selector))
		for i := range selector {
			term := &selector[i]
			operator := "in"
			if term.Not {
				operator = "notin"
			}
			values := make([]string, 0, len(term.Values))
			for _, value := range term.Values {
				values = append(values, plain(value))
			}
			terms = append(terms, fmt.Sprintf("%s %s (%s)", plain(term.Name), operator, join(values, ", ", ", and ")))
		}
		if len(terms) == 0 {
			terms = []string{"any labels"}
		}
		alternatives = append(alternatives, join(terms, ", ", ", and "))
	}
	return join(alternatives, " or ", " or ")
}

// plain returns a name in printable characters, and truncates it.
func plain(name string) string {
	quoted := strconv.Quote(truncate(name, maxName))
	return quoted[1 : len(quoted)-1]
}

// truncate returns a text of at most a number of bytes.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// formatAmount returns an amount of a resource. Large amounts of memory have a suffix, as in Kubernetes.
func formatAmount(name string, units int64) string {
	amount, suffix := value(units), ""
	if name == "memory" || name == "object_store_memory" {
		for _, unit := range []string{"Ki", "Mi", "Gi", "Ti"} {
			if amount < 1024 {
				break
			}
			amount, suffix = amount/1024, unit
		}
		return strconv.FormatFloat(amount, 'g', 4, 64) + suffix
	}
	return strconv.FormatFloat(amount, 'f', -1, 64)
}

// enumerate returns a list in one line, the first maxListed items of it.
func enumerate(items []string) string {
	if last := len(items) - 1; last > 0 && last < maxListed {
		return strings.Join(items[:last], ", ") + " and " + items[last]
	}
	return join(items, ", ", " and ")
}

// join returns the first maxListed items of a list with a separator, and how many more there are.
func join(items []string, separator, last string) string {
	if len(items) <= maxListed {
		return strings.Join(items, separator)
	}
	return strings.Join(items[:maxListed], separator) + last + strconv.Itoa(len(items)-maxListed) + " more"
}

// appendNew appends an item that is not in a list.
func appendNew(items []string, item string) []string {
	if slices.Contains(items, item) {
		return items
	}
	return append(items, item)
}
