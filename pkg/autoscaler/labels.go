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
	"strings"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// alternatives are selectors, the preferred one first.
type alternatives []gcs.Selector

// ranks returns the number of ranks that a node can have for a shape.
func (s *shape) ranks() int {
	n := 1
	for _, a := range s.selectors {
		n += len(a) - 1
	}
	return n
}

// rank returns how much a shape prefers a node with labels: 0 is best, and -1 means that the node is not selected.
func (s *shape) rank(labels map[string]string) int {
	rank := 0
	for _, a := range s.selectors {
		i := slices.IndexFunc(a, func(selector gcs.Selector) bool { return selects(selector, labels) })
		if i < 0 {
			return -1
		}
		rank += i
	}
	return rank
}

// selects returns whether labels meet all terms of a selector. As in Ray, a term with Not is met if the label is
// missing.
func selects(selector gcs.Selector, labels map[string]string) bool {
	for i := range selector {
		value, found := labels[selector[i].Name]
		if in := found && slices.Contains(selector[i].Values, value); in == selector[i].Not {
			return false
		}
	}
	return true
}

// hasLabel returns whether labels contain one.
func hasLabel(labels map[string]string, label gcs.Label) bool {
	value, found := labels[label.Name]
	return found && value == label.Value
}

// key returns a text that is the same for equal alternatives only.
func (a alternatives) key() string {
	var b strings.Builder
	for _, selector := range a {
		for i := range selector {
			fmt.Fprintf(&b, "%q %t %q,", selector[i].Name, selector[i].Not, selector[i].Values)
		}
		b.WriteByte(';')
	}
	return b.String()
}
