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
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The decoder understands a reply wholly, or rejects it: with a node left out, another one would be started, and
// with a demand left out, a node that is needed would be removed. It ignores fields that it does not know, and
// as Ray does, known fields with another type.

// maxIdle is the limit of the time for which a node is idle.
const maxIdle = 10 * 365 * 24 * time.Hour

// Keys of fields: the number and the type.
const (
	varint    = uint64(protowire.VarintType)
	fixed64   = uint64(protowire.Fixed64Type)
	delimited = uint64(protowire.BytesType)
)

// field is a field of a message.
type field struct {
	// key is number<<3 | type.
	key uint64
	// data is the value of type delimited.
	data []byte
	// number is the value of other types.
	number uint64
}

// fields calls f for each field of a message.
func fields(message []byte, f func(field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return failure(ErrProtocol, "malformed message")
		}
		message = message[n:]
		value := field{key: protowire.EncodeTag(number, kind)}
		switch kind {
		case protowire.VarintType:
			value.number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			value.number, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			value.data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return failure(ErrProtocol, "malformed message")
		}
		message = message[n:]
		if err := f(value); err != nil {
			return err
		}
	}
	return nil
}

// decodeState decodes a GetClusterResourceStateReply.
func decodeState(reply []byte) (*ClusterState, error) {
	d := decoder{names: map[string]string{}}
	state := &ClusterState{}
	err := fields(reply, func(f field) error {
		if f.key == 1<<3|delimited {
			return d.state(f.data, state)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return state, nil
}

// decodeDrain decodes a DrainNodeReply.
func decodeDrain(reply []byte) (accepted bool, rejection string, err error) {
	err = fields(reply, func(f field) error {
		switch f.key {
		case 1<<3 | varint:
			accepted = f.number != 0
		case 2<<3 | delimited:
			rejection = OneLine(string(f.data[:min(len(f.data), 4*maxMessage)]), maxMessage)
		}
		return nil
	})
	return accepted, rejection, err
}

// state decodes a ClusterResourceState.
func (d *decoder) state(message []byte, state *ClusterState) error {
	seen := map[string]bool{}
	return fields(message, func(f field) (err error) {
		switch f.key {
		case 3<<3 | delimited:
			err = d.node(f.data, seen, state)
		case 4<<3 | delimited:
			state.Tasks, err = d.demand(f.data, state.Tasks)
		case 5<<3 | delimited:
			state.Gangs, err = d.gang(f.data, state.Gangs)
		case 6<<3 | delimited:
			// There is one at most. The sum of several is not less than the user requests.
			state.Constraint, err = d.constraint(f.data, state.Constraint)
		case 7<<3 | delimited:
			state.Session, err = d.text(f.data)
		}
		return err
	})
}

// node decodes a NodeState, and appends it unless the node is dead.
func (d *decoder) node(message []byte, seen map[string]bool, state *ClusterState) error {
	var node Node
	err := fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			node.ID, err = d.id(f.data)
		case 2<<3 | delimited:
			node.Instance, err = d.text(f.data)
		case 3<<3 | delimited:
			node.Group, err = d.name(f.data)
		case 4<<3 | delimited:
			err = d.amount(f.data, &node.Available, available)
		case 5<<3 | delimited:
			err = d.amount(f.data, &node.Total, total)
		case 6<<3 | delimited, 13<<3 | delimited:
			err = d.label(f.data, &node.Labels)
		case 8<<3 | varint:
			node.Status = NodeStatus(int32(f.number)) //nolint:gosec // Protobuf truncates, too.
		case 9<<3 | varint:
			node.Idle = idle(f.number)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case node.Status == NodeDead: // It has only IDs.
		return nil
	case len(state.Nodes) == maxNodes:
		return failure(ErrLimit, "more than %d nodes", maxNodes)
	case seen[node.ID]:
		// With two nodes for one, draining it would remove two.
		return failure(ErrProtocol, "two nodes with one ID")
	}
	seen[node.ID] = true
	state.Nodes = append(state.Nodes, node)
	return d.charge(costNode)
}

// idle returns the duration for a number of milliseconds. It may be negative in the encoding.
func idle(milliseconds uint64) time.Duration {
	limit := maxIdle.Milliseconds()
	return time.Duration(min(max(int64(milliseconds), 0), limit)) * time.Millisecond //nolint:gosec // See above.
}

// constraint decodes a ClusterResourceConstraint, and appends its demands.
func (d *decoder) constraint(message []byte, demands []Demand) ([]Demand, error) {
	err := fields(message, func(f field) (err error) {
		if f.key == 1<<3|delimited {
			demands, err = d.demand(f.data, demands)
		}
		return err
	})
	return demands, err
}

// demand decodes a ResourceRequestByCount, and appends it unless its count is 0, or it is of tasks in a placement
// group: these use the bundles of the group, and no other node has resources for them.
func (d *decoder) demand(message []byte, demands []Demand) ([]Demand, error) {
	var demand Demand
	d.bundle = false
	err := fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			demand.Request, err = d.request(f.data, demand.Request)
		case 2<<3 | varint:
			demand.Count = int64(f.number) //nolint:gosec // It may be negative in the encoding.
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case demand.Count < 0:
		return nil, failure(ErrProtocol, "demand with the count %d", demand.Count)
	case demand.Count == 0, d.bundle:
		return demands, nil
	case len(demands) == maxShapes:
		return nil, failure(ErrLimit, "more than %d shapes of demand", maxShapes)
	}
	demand.Count = min(demand.Count, maxCount)
	return append(demands, demand), d.charge(costDemand)
}

// gang decodes a GangResourceRequest, and appends it unless it is empty: a GCS sends empty ones for placement
// groups that do not wait.
func (d *decoder) gang(message []byte, gangs []Gang) ([]Gang, error) {
	var gang Gang
	var legacy, selected []Request
	first := true
	err := fields(message, func(f field) (err error) {
		switch f.key {
		case 1<<3 | delimited:
			legacy, err = d.appendRequest(f.data, legacy)
		case 2<<3 | delimited:
			gang.Details, err = d.text(f.data)
		case 3<<3 | delimited:
			// The others are for when the first one, which the user prefers, is infeasible.
			if first {
				first = false
				selected, err = d.bundleSelector(f.data)
			}
		}
		return err
	})
	gang.Requests = selected
	if len(selected) == 0 {
		gang.Requests = legacy
	}
	switch {
	case err != nil:
		return nil, err
	case len(gang.Requests) == 0:
		return gangs, nil
	case len(gangs) == maxGangs:
		return nil, failure(ErrLimit, "more than %d placement groups", maxGangs)
	}
	return append(gangs, gang), d.charge(costGang)
}

// bundleSelector decodes a BundleSelector.
func (d *decoder) bundleSelector(message []byte) (requests []Request, err error) {
	err = fields(message, func(f field) (err error) {
		if f.key == 1<<3|delimited {
			requests, err = d.appendRequest(f.data, requests)
		}
		return err
	})
	return requests, err
}
