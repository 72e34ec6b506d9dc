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

package gcs

import (
	"cmp"
	"math"
	"strings"
	"unicode/utf8"
)

// Limits of a reply, besides the number of bytes. Clusters with Ray have up to some thousand nodes, and Ray
// reports up to 100 shapes of demand for each node, and 1,000 placement groups.
const (
	maxNodes  = 20_000
	maxShapes = 10_000
	maxGangs  = 10_000
	// maxText is the limit, in bytes, of a name, a label or another text.
	maxText = 1 << 10
	// maxNames is the limit of the number of keys in a map. A node has some for each placement group on it.
	maxNames = 10_000
	// maxCount limits the count of a demand. Higher counts change nothing, since a group has fewer nodes.
	maxCount = 10_000_000
	// maxAmount limits the amount of a resource, to have finite sums. It is more than Ray can represent.
	maxAmount = 1e15
	// maxMemory limits the memory, in bytes, that a decoded reply occupies, as the costs below estimate it. A
	// reply of many small maps is much larger in memory than it was on the network.
	maxMemory = 16 << 20

	// placementGroupID is the length of the ID of a placement group in hexadecimal digits.
	placementGroupID = 36

	costNode   = 256
	costDemand = 128
	costGang   = 64
	costTerm   = 64
	costMap    = 256 // with up to eight entries
	costEntry  = 64  // each further one
)

// decoder decodes a reply.
type decoder struct {
	// names are the names so far, so that equal ones share their memory.
	names map[string]string
	// bundle is set by a request for resources of a placement group's bundle.
	bundle bool
	// memory is an estimate of the memory that is occupied so far.
	memory int
}

// charge counts memory that the reply occupies.
func (d *decoder) charge(cost int) error {
	if d.memory += cost; d.memory > maxMemory {
		return failure(ErrLimit, "more than %d bytes of memory", maxMemory)
	}
	return nil
}

// id decodes an identifier, which is binary.
func (d *decoder) id(data []byte) (string, error) {
	if len(data) > maxText {
		return "", failure(ErrLimit, "ID with more than %d bytes", maxText)
	}
	return string(data), d.charge(len(data))
}

// checkText returns an error if a text is too long or not valid UTF-8.
func checkText(data []byte) error {
	switch {
	case len(data) > maxText:
		return failure(ErrLimit, "text with more than %d bytes", maxText)
	case !utf8.Valid(data):
		return failure(ErrProtocol, "text that is not UTF-8")
	default:
		return nil
	}
}

// text decodes a text.
func (d *decoder) text(data []byte) (string, error) {
	if err := checkText(data); err != nil {
		return "", err
	}
	return string(data), d.charge(len(data))
}

// name decodes a text that is probably the same in many places.
func (d *decoder) name(data []byte) (string, error) {
	if name, ok := d.names[string(data)]; ok {
		return name, nil
	}
	name, err := d.text(data)
	if err != nil {
		return "", err
	}
	d.names[name] = name
	return name, d.charge(costEntry)
}

// entry splits an entry of a map into its key and its value.
func (d *decoder) entry(data []byte) (key string, value field, err error) {
	err = fields(data, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			key, err = d.name(f.data)
		case 2<<3 | delimited, 2<<3 | fixed64:
			value = f
		}
		return err
	})
	return key, value, err
}

// insert inserts an entry into a map, which it creates if it is nil.
func insert[V any](d *decoder, values *map[string]V, key string, value V) error {
	if *values == nil {
		*values = map[string]V{}
		if err := d.charge(costMap); err != nil {
			return err
		}
	}
	(*values)[key] = value
	switch size := len(*values); {
	case size > maxNames:
		return failure(ErrLimit, "more than %d names of resources or labels", maxNames)
	case size > 8:
		return d.charge(costEntry)
	default:
		return nil
	}
}

// label decodes an entry of a map of labels, and inserts it.
func (d *decoder) label(data []byte, labels *map[string]string) error {
	key, value, err := d.entry(data)
	if err != nil {
		return err
	}
	text, err := d.name(value.data)
	if err != nil {
		return err
	}
	return insert(d, labels, key, text)
}

// use is what an amount of a resource means.
type use int

const (
	total use = iota
	available
	requested
)

// amount decodes an entry of a map of resources, and inserts it.
func (d *decoder) amount(data []byte, resources *Resources, use use) error {
	name, value, err := d.entry(data)
	if err != nil {
		return err
	}
	amount := math.Float64frombits(value.number)
	if isBundle(name) {
		d.bundle = true
		return nil
	}
	switch {
	case math.IsNaN(amount), math.IsInf(amount, 0):
		return failure(ErrProtocol, "amount of resource %q that is not finite", OneLine(name, maxMessage))
	case amount < 0 && use == available:
		// Ray lets a task that waited continue on a node that others have filled in the meantime.
		amount = 0
	case amount < 0:
		return failure(ErrProtocol, "negative amount of resource %q", OneLine(name, maxMessage))
	case amount == 0 && use == requested:
		return nil // A request for 0 GPUs must not be one for a node with GPUs.
	}
	return insert(d, (*map[string]float64)(resources), name, min(amount, maxAmount))
}

// isBundle reports whether a resource is that of a bundle of a placement group, such as CPU_group_ID and
// CPU_group_0_ID. A node has it while the bundle is on it, in addition to the resource that it is a part of.
func isBundle(resource string) bool {
	const separator = "_group_"
	id := len(resource) - placementGroupID
	if id < 0 || strings.Trim(resource[id:], "0123456789abcdef") != "" {
		return false
	}
	prefix := resource[:id]
	if strings.HasSuffix(prefix, separator) {
		return true
	}
	prefix, indexed := strings.CutSuffix(prefix, "_")
	return indexed && strings.HasSuffix(strings.TrimRight(prefix, "0123456789"), separator)
}

// appendRequest decodes a ResourceRequest, and appends it.
func (d *decoder) appendRequest(message []byte, requests []Request) ([]Request, error) {
	if len(requests) == maxShapes {
		return nil, failure(ErrLimit, "more than %d bundles in a placement group", maxShapes)
	}
	request, err := d.request(message, Request{})
	if err != nil {
		return nil, err
	}
	return append(requests, request), d.charge(costDemand)
}

// request decodes a ResourceRequest into a request.
func (d *decoder) request(message []byte, request Request) (Request, error) {
	err := fields(message, func(f field) error {
		switch f.key {
		case 1<<3 | delimited:
			return d.amount(f.data, &request.Resources, requested)
		case 2<<3 | delimited:
			return d.placement(f.data, &request)
		case 3<<3 | delimited:
			selector, err := d.selector(f.data)
			request.Selectors = append(request.Selectors, selector)
			return cmp.Or(err, d.charge(costTerm))
		}
		return nil
	})
	// A selector without terms selects any node. Ray sends it for requests without a selector.
	if !hasTerms(request.Selectors) {
		request.Selectors = nil
	}
	return request, err
}

// hasTerms reports whether any of the selectors has terms.
func hasTerms(selectors []Selector) bool {
	for _, selector := range selectors {
		if len(selector) > 0 {
			return true
		}
	}
	return false
}

// placement decodes a PlacementConstraint.
func (d *decoder) placement(message []byte, request *Request) error {
	return fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			request.AntiAffinity, err = d.placementLabel(f.data)
		case 2<<3 | delimited:
			request.Affinity, err = d.placementLabel(f.data)
		}
		return err
	})
}

// placementLabel decodes an AffinityConstraint or an AntiAffinityConstraint.
func (d *decoder) placementLabel(message []byte) (label Label, err error) {
	err = fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			label.Name, err = d.name(f.data)
		case 2<<3 | delimited:
			label.Value, err = d.name(f.data)
		}
		return err
	})
	return label, err
}

// selector decodes a LabelSelector.
func (d *decoder) selector(message []byte) (selector Selector, err error) {
	err = fields(message, func(f field) error {
		if f.key != 1<<3|delimited {
			return nil
		}
		term, err := d.term(f.data)
		selector = append(selector, term)
		return cmp.Or(err, d.charge(costTerm))
	})
	return selector, err
}

// term decodes a LabelSelectorConstraint. One with an operator that a later version of Ray may have selects no
// node, and the demand is reported as infeasible.
func (d *decoder) term(message []byte) (term Term, err error) {
	operator := uint64(0)
	err = fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			term.Name, err = d.name(f.data)
		case 2<<3 | varint:
			operator = f.number
		case 3<<3 | delimited:
			var value string
			value, err = d.name(f.data)
			term.Values = append(term.Values, value)
			err = cmp.Or(err, d.charge(costTerm))
		}
		return err
	})
	term.Not = operator == operatorNotIn
	if operator != operatorIn && operator != operatorNotIn {
		term.Values = nil
	}
	return term, err
}
