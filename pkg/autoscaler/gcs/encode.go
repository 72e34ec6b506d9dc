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
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Values of enumerations in requests.
const (
	drainIdle     = 1 // DRAIN_NODE_REASON_IDLE_TERMINATION
	operatorIn    = 1 // LABEL_OPERATOR_IN
	operatorNotIn = 2 // LABEL_OPERATOR_NOT_IN
)

// message is an encoded message. Fields with the zero value are left out, as protobuf does.
type message []byte

func (m *message) bytes(number protowire.Number, value []byte) {
	*m = protowire.AppendTag(*m, number, protowire.BytesType)
	*m = protowire.AppendBytes(*m, value)
}

func (m *message) text(number protowire.Number, value string) {
	if value != "" {
		m.bytes(number, []byte(value))
	}
}

func (m *message) uint(number protowire.Number, value uint64) {
	if value != 0 {
		*m = protowire.AppendTag(*m, number, protowire.VarintType)
		*m = protowire.AppendVarint(*m, value)
	}
}

func (m *message) int(number protowire.Number, value int64) {
	m.uint(number, uint64(value)) //nolint:gosec // The encoding of negative numbers.
}

func (m *message) seconds(number protowire.Number, value time.Time) {
	if !value.IsZero() {
		m.int(number, value.Unix())
	}
}

// encodeEach appends a message for each element of a list.
func encodeEach[T any](m *message, number protowire.Number, list []T, encode func(*message, T)) {
	for _, element := range list {
		var inner message
		encode(&inner, element)
		m.bytes(number, inner)
	}
}

// encodeMap appends a map, with its keys in order: equal maps have equal encodings.
func encodeMap[V any](m *message, number protowire.Number, values map[string]V, encode func(*message, V)) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		var entry message
		entry.text(1, key)
		encode(&entry, values[key])
		m.bytes(number, entry)
	}
}

// encodeDrain returns a DrainNodeRequest without a deadline, which Ray reads as: now, or not at all.
func encodeDrain(nodeID, reason string) []byte {
	var m message
	m.text(1, nodeID)
	m.uint(2, drainIdle)
	m.text(3, reason)
	return m
}

// encodeState returns a ReportAutoscalingStateRequest. It leaves out last_seen_cluster_resource_state_version, as
// all requests do.
func encodeState(state *AutoscalingState) []byte {
	var m message
	m.int(2, state.Version)
	encodeEach(&m, 3, state.Requested, encodeInstanceRequest)
	encodeEach(&m, 4, state.Infeasible, encodeRequest)
	encodeEach(&m, 5, state.InfeasibleGangs, encodeGang)
	if len(state.InfeasibleConstraint) > 0 {
		var constraint message
		encodeEach(&constraint, 1, state.InfeasibleConstraint, encodeDemand)
		m.bytes(6, constraint)
	}
	encodeEach(&m, 7, state.Pending, encodePending)
	encodeEach(&m, 8, state.Failed, encodeFailed)

	var request message
	request.bytes(1, m)
	return request
}

// The type of an instance, in the following messages, is that of a machine in a cloud. Groups have only a name.

func encodeInstanceRequest(m *message, request InstanceRequest) {
	m.text(1, request.Group)
	m.text(2, request.Group)
	m.int(3, int64(request.Count))
	m.seconds(4, request.Since)
}

func encodePending(m *message, pending PendingInstance) {
	m.text(1, pending.Group)
	m.text(2, pending.Group)
	m.text(3, pending.Instance)
	m.text(4, pending.Address)
	m.text(5, pending.Details)
}

func encodeFailed(m *message, failed FailedRequest) {
	m.text(1, failed.Group)
	m.text(2, failed.Group)
	m.int(3, int64(failed.Count))
	m.text(4, failed.Reason)
	m.seconds(5, failed.Started)
	m.seconds(6, failed.Failed)
}

func encodeDemand(m *message, demand Demand) {
	var request message
	encodeRequest(&request, demand.Request)
	m.bytes(1, request)
	m.int(2, demand.Count)
}

// encodeGang returns a GangResourceRequest with the field for requests that all versions of Ray have.
func encodeGang(m *message, gang Gang) {
	encodeEach(m, 1, gang.Requests, encodeRequest)
	m.text(2, gang.Details)
}

func encodeRequest(m *message, request Request) {
	encodeMap(m, 1, request.Resources, func(m *message, value float64) {
		*m = protowire.AppendTag(*m, 2, protowire.Fixed64Type)
		*m = protowire.AppendFixed64(*m, math.Float64bits(value))
	})
	encodePlacement(m, 1, request.AntiAffinity)
	encodePlacement(m, 2, request.Affinity)
	encodeEach(m, 3, request.Selectors, func(m *message, selector Selector) {
		encodeEach(m, 1, selector, encodeTerm)
	})
}

// encodePlacement appends a PlacementConstraint with a label in a field of it.
func encodePlacement(m *message, number protowire.Number, label Label) {
	if label == (Label{}) {
		return
	}
	var inner, constraint message
	inner.text(1, label.Name)
	inner.text(2, label.Value)
	constraint.bytes(number, inner)
	m.bytes(2, constraint)
}

func encodeTerm(m *message, term Term) {
	m.text(1, term.Name)
	operator := uint64(operatorIn)
	if term.Not {
		operator = operatorNotIn
	}
	m.uint(2, operator)
	for _, value := range term.Values {
		m.bytes(3, []byte(value))
	}
}

// encodeConfig returns a ReportClusterConfigRequest.
func encodeConfig(config *ClusterConfig) []byte {
	encodeAmount := func(m *message, value uint64) { m.uint(2, value) }
	var m message
	encodeMap(&m, 1, config.Min, encodeAmount)
	encodeMap(&m, 2, config.Max, encodeAmount)
	encodeEach(&m, 3, config.Groups, func(m *message, group GroupConfig) {
		encodeMap(m, 1, group.Resources, encodeAmount)
		m.uint(2, uint64(group.Min))
		m.int(3, int64(group.Max))
		m.text(4, group.Name)
	})

	var request message
	request.bytes(1, m)
	return request
}
