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
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// Field numbers are those of src/ray/protobuf/autoscaler.proto and common.proto of Ray 2.60.

// submessage appends a message in a field.
func submessage(to []byte, field protowire.Number, inner []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), inner)
}

// str appends a string or bytes.
func str(to []byte, field protowire.Number, value string) []byte {
	if value == "" {
		return to
	}
	return submessage(to, field, []byte(value))
}

// num appends an integer, an enumeration or a bool.
func num(to []byte, field protowire.Number, value int64) []byte {
	if value == 0 {
		return to
	}
	to = protowire.AppendTag(to, field, protowire.VarintType)
	return protowire.AppendVarint(to, uint64(value)) //nolint:gosec // The encoding of negative numbers.
}

// encodeState returns a GetClusterResourceStateReply.
func encodeState(state *gcs.ClusterState) []byte {
	// ClusterResourceState. The client does not use the version.
	s := num(nil, 1, 1)
	for _, node := range state.Nodes {
		s = submessage(s, 3, encodeNode(node))
	}
	for _, demand := range state.Tasks {
		s = submessage(s, 4, encodeDemand(demand))
	}
	for _, gang := range state.Gangs {
		s = submessage(s, 5, encodeGang(gang))
	}
	if len(state.Constraint) > 0 {
		var constraint []byte // ClusterResourceConstraint
		for _, demand := range state.Constraint {
			constraint = submessage(constraint, 1, encodeDemand(demand))
		}
		s = submessage(s, 6, constraint)
	}
	s = str(s, 7, state.Session)
	return submessage(nil, 1, s)
}

// encodeNode returns a NodeState.
func encodeNode(node gcs.Node) []byte {
	n := str(nil, 1, node.ID)
	n = str(n, 2, node.Instance)
	n = str(n, 3, node.Group)
	n = encodeResources(n, 4, node.Available)
	n = encodeResources(n, 5, node.Total)
	n = num(n, 7, 1)
	n = num(n, 8, int64(node.Status))
	n = num(n, 9, node.Idle.Milliseconds())
	for name, value := range node.Labels {
		field := protowire.Number(13) // labels
		if len(name) > 4 && name[:4] == "_PG_" {
			field = 6 // dynamic_labels
		}
		n = submessage(n, field, str(str(nil, 1, name), 2, value))
	}
	return n
}

// encodeResources appends a map<string, double>.
func encodeResources(to []byte, field protowire.Number, resources gcs.Resources) []byte {
	for name, amount := range resources {
		entry := protowire.AppendTag(str(nil, 1, name), 2, protowire.Fixed64Type)
		to = submessage(to, field, protowire.AppendFixed64(entry, math.Float64bits(amount)))
	}
	return to
}

// encodeDemand returns a ResourceRequestByCount.
func encodeDemand(demand gcs.Demand) []byte {
	return num(submessage(nil, 1, encodeRequest(demand.Request)), 2, demand.Count)
}

// encodeGang returns a GangResourceRequest with both fields for the requests, as Ray 2.60 does.
func encodeGang(gang gcs.Gang) []byte {
	var g, selector []byte
	for _, request := range gang.Requests {
		encoded := encodeRequest(request)
		g = submessage(g, 1, encoded)
		selector = submessage(selector, 1, encoded) // BundleSelector
	}
	return submessage(str(g, 2, gang.Details), 3, selector)
}

// encodeRequest returns a ResourceRequest.
func encodeRequest(request gcs.Request) []byte {
	r := encodeResources(nil, 1, request.Resources)
	// PlacementConstraint with an AntiAffinityConstraint or an AffinityConstraint.
	for i, label := range []gcs.Label{request.AntiAffinity, request.Affinity} {
		if label != (gcs.Label{}) {
			constraint := str(str(nil, 1, label.Name), 2, label.Value)
			r = submessage(r, 2, submessage(nil, protowire.Number(i+1), constraint)) //nolint:gosec // 1 or 2.
		}
	}
	for _, selector := range request.Selectors {
		var s []byte // LabelSelector
		for _, term := range selector {
			s = submessage(s, 1, encodeTerm(term))
		}
		r = submessage(r, 3, s)
	}
	return r
}

// encodeTerm returns a LabelSelectorConstraint.
func encodeTerm(term gcs.Term) []byte {
	operator := int64(1) // LABEL_OPERATOR_IN
	if term.Not {
		operator = 2
	}
	t := num(str(nil, 1, term.Name), 2, operator)
	for _, value := range term.Values {
		t = submessage(t, 3, []byte(value))
	}
	return t
}

// encodeDrained returns a DrainNodeReply.
func encodeDrained(accepted bool, rejection string) []byte {
	if accepted {
		return num(nil, 1, 1)
	}
	return str(nil, 2, rejection)
}
