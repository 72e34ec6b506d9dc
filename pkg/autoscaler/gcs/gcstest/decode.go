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

package gcstest

import (
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// message is a message by the numbers of its fields.
type message map[protowire.Number][]value

// value is a value of a field: a number, or bytes.
type value struct {
	number uint64
	bytes  []byte
}

// parse parses a message.
func parse(data []byte) (message, error) {
	m := message{}
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, errors.New("malformed message")
		}
		data = data[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(data)
		default:
			return nil, errors.New("unexpected type of a field")
		}
		if n < 0 {
			return nil, errors.New("malformed message")
		}
		data = data[n:]
		m[field] = append(m[field], v)
	}
	return m, nil
}

// last returns the last value of a field, which is the one that counts.
func (m message) last(field protowire.Number) value {
	if values := m[field]; len(values) > 0 {
		return values[len(values)-1]
	}
	return value{}
}

func (m message) text(field protowire.Number) string { return string(m.last(field).bytes) }

func (m message) int(field protowire.Number) int64 {
	return int64(m.last(field).number) //nolint:gosec // The encoding of negative numbers.
}

func (m message) int32(field protowire.Number) int32 {
	return int32(m.last(field).number) //nolint:gosec // The encoding of negative numbers.
}

func (m message) seconds(field protowire.Number) time.Time {
	if seconds := m.int(field); seconds != 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// each parses the messages of a field. It panics if one is malformed, which lets the call fail.
func each[T any](m message, field protowire.Number, decode func(message) T) []T {
	var list []T
	for _, v := range m[field] {
		inner, err := parse(v.bytes)
		if err != nil {
			panic(err)
		}
		list = append(list, decode(inner))
	}
	return list
}

// decodeMap parses a map.
func decodeMap[V any](m message, field protowire.Number, decode func(value) V) map[string]V {
	if len(m[field]) == 0 {
		return nil
	}
	result := map[string]V{}
	each(m, field, func(entry message) any {
		result[entry.text(1)] = decode(entry.last(2))
		return nil
	})
	return result
}

// decodeDrain decodes a DrainNodeRequest.
func decodeDrain(m message) Drain {
	return Drain{NodeID: m.text(1), Reason: int(m.int(2)), Message: m.text(3), Deadline: m.int(4)}
}

// decodeReport decodes a ReportAutoscalingStateRequest. seen is last_seen_cluster_resource_state_version.
func decodeReport(m message) (report *gcs.AutoscalingState, seen int64) {
	report = &gcs.AutoscalingState{}
	each(m, 1, func(m message) any {
		seen = m.int(1)
		report.Version = m.int(2)
		report.Requested = each(m, 3, func(m message) gcs.InstanceRequest {
			return gcs.InstanceRequest{Group: m.text(2), Count: m.int32(3), Since: m.seconds(4)}
		})
		report.Infeasible = each(m, 4, decodeRequest)
		report.InfeasibleGangs = each(m, 5, func(m message) gcs.Gang {
			return gcs.Gang{Requests: each(m, 1, decodeRequest), Details: m.text(2)}
		})
		each(m, 6, func(m message) any {
			report.InfeasibleConstraint = append(report.InfeasibleConstraint, each(m, 1, decodeDemand)...)
			return nil
		})
		report.Pending = each(m, 7, func(m message) gcs.PendingInstance {
			return gcs.PendingInstance{Group: m.text(2), Instance: m.text(3), Address: m.text(4), Details: m.text(5)}
		})
		report.Failed = each(m, 8, func(m message) gcs.FailedRequest {
			return gcs.FailedRequest{
				Group: m.text(2), Count: m.int32(3), Reason: m.text(4), Started: m.seconds(5), Failed: m.seconds(6),
			}
		})
		return nil
	})
	return report, seen
}

// decodeDemand decodes a ResourceRequestByCount.
func decodeDemand(m message) gcs.Demand {
	demand := gcs.Demand{Count: m.int(2)}
	for _, request := range each(m, 1, decodeRequest) {
		demand.Request = request
	}
	return demand
}

// decodeRequest decodes a ResourceRequest.
func decodeRequest(m message) gcs.Request {
	label := func(m message) gcs.Label { return gcs.Label{Name: m.text(1), Value: m.text(2)} }
	request := gcs.Request{
		Resources: decodeMap(m, 1, func(v value) float64 { return math.Float64frombits(v.number) }),
		Selectors: each(m, 3, func(m message) gcs.Selector { return each(m, 1, decodeTerm) }),
	}
	each(m, 2, func(m message) any {
		for _, antiAffinity := range each(m, 1, label) {
			request.AntiAffinity = antiAffinity
		}
		for _, affinity := range each(m, 2, label) {
			request.Affinity = affinity
		}
		return nil
	})
	return request
}

// decodeTerm decodes a LabelSelectorConstraint.
func decodeTerm(m message) gcs.Term {
	term := gcs.Term{Name: m.text(1), Not: m.int(2) == 2}
	for _, v := range m[3] {
		term.Values = append(term.Values, string(v.bytes))
	}
	return term
}

// decodeConfig decodes a ReportClusterConfigRequest.
func decodeConfig(m message) *gcs.ClusterConfig {
	amount := func(v value) uint64 { return v.number }
	config := &gcs.ClusterConfig{}
	each(m, 1, func(m message) any {
		config.Min = decodeMap(m, 1, amount)
		config.Max = decodeMap(m, 2, amount)
		config.Groups = each(m, 3, func(m message) gcs.GroupConfig {
			return gcs.GroupConfig{
				Resources: decodeMap(m, 1, amount), Min: uint32(m.int32(2)), Max: m.int32(3), Name: m.text(4), //nolint:gosec // Small.
			}
		})
		return nil
	})
	return config
}
