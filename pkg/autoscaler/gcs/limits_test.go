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
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Builders of replies, field by field.

// sub returns a field with a message of some fields.
func sub(number protowire.Number, parts ...[]byte) []byte {
	var inner, m message
	for _, part := range parts {
		inner = append(inner, part...)
	}
	m.bytes(number, inner)
	return m
}

// text returns a field with a text.
func text(number protowire.Number, value string) []byte { return sub(number, []byte(value)) }

// number returns a field with a number.
func number(field protowire.Number, value int64) []byte {
	m := message(protowire.AppendTag(nil, field, protowire.VarintType))
	return protowire.AppendVarint(m, uint64(value))
}

// double returns a field with a floating point number.
func double(field protowire.Number, value float64) []byte {
	m := message(protowire.AppendTag(nil, field, protowire.Fixed64Type))
	return protowire.AppendFixed64(m, math.Float64bits(value))
}

// cpu returns a field with a map with an amount of a resource.
func cpu(field protowire.Number, value float64) []byte {
	return sub(field, text(1, "CPU"), double(2, value))
}

// reply returns a GetClusterResourceStateReply with fields of the state.
func reply(parts ...[]byte) []byte { return sub(1, parts...) }

// repeat returns a part many times.
func repeat(times int, part func(int) []byte) []byte {
	var all []byte
	for i := range times {
		all = append(all, part(i)...)
	}
	return all
}

// TestDecodeInvalid has replies that are rejected as a whole.
func TestDecodeInvalid(t *testing.T) {
	id := func(i int) []byte { return sub(1, []byte{byte(i >> 16), byte(i >> 8), byte(i)}) }
	long := strings.Repeat("x", maxText+1)
	fiveMaps := func(i int) []byte {
		return sub(1, sub(1, text(1, "a"), double(2, 1)), sub(3), sub(2, sub(1, text(1, string(rune('a'+i%26))))))
	}
	tests := []struct {
		name  string
		reply []byte
		kind  error
		text  string
	}{
		{"truncated message", reply(sub(3, id(1)))[:4], ErrProtocol, "malformed message"},
		{"truncated number", reply(sub(3, []byte{8 << 3, 0x80})), ErrProtocol, "malformed message"},
		{"field 0", reply([]byte{0, 0}), ErrProtocol, "malformed message"},
		{"end of no group", reply([]byte{3<<3 | 4}), ErrProtocol, "malformed message"},
		{"NaN", reply(sub(3, id(1), cpu(5, math.NaN()))), ErrProtocol, `amount of resource "CPU" that is not finite`},
		{"infinity", reply(sub(4, sub(1, cpu(1, math.Inf(1))), number(2, 1))), ErrProtocol, `amount of resource "CPU" that is not finite`},
		{"negative infinity", reply(sub(3, id(1), cpu(4, math.Inf(-1)))), ErrProtocol, `amount of resource "CPU" that is not finite`},
		{"negative total", reply(sub(3, id(1), cpu(5, -1))), ErrProtocol, `negative amount of resource "CPU"`},
		{"negative request", reply(sub(5, sub(1, cpu(1, -1)))), ErrProtocol, `negative amount of resource "CPU"`},
		{"negative constraint", reply(sub(6, sub(1, sub(1, cpu(1, -1)), number(2, 1)))), ErrProtocol, `negative amount of resource "CPU"`},
		{"negative count", reply(sub(4, sub(1, cpu(1, 1)), number(2, -1))), ErrProtocol, "demand with the count -1"},
		{"name with lines", reply(sub(3, id(1), sub(5, text(1, "a\nb"), double(2, -1)))), ErrProtocol, `negative amount of resource "a b"`},
		{"name that is not UTF-8", reply(sub(3, id(1), text(2, "\xff"))), ErrProtocol, "text that is not UTF-8"},
		{"label that is not UTF-8", reply(sub(3, id(1), sub(13, text(1, "a"), text(2, "\xff")))), ErrProtocol, "text that is not UTF-8"},
		{"node twice", reply(sub(3, id(1)), sub(3, id(2)), sub(3, id(1))), ErrProtocol, "two nodes with one ID"},
		{"long ID", reply(sub(3, text(1, long))), ErrLimit, "ID with more than 1024 bytes"},
		{"long name", reply(sub(3, id(1), text(3, long))), ErrLimit, "text with more than 1024 bytes"},
		{"nodes", reply(repeat(maxNodes+1, func(i int) []byte { return sub(3, id(i)) })), ErrLimit, "more than 20000 nodes"},
		{
			"shapes", reply(repeat(maxShapes+1, func(int) []byte { return sub(4, sub(1), number(2, 1)) })), ErrLimit,
			"more than 10000 shapes of demand",
		},
		{
			"constraint", reply(repeat(maxShapes+1, func(int) []byte { return sub(6, sub(1, sub(1), number(2, 1))) })), ErrLimit,
			"more than 10000 shapes of demand",
		},
		{
			"placement groups", reply(repeat(maxGangs+1, func(int) []byte { return sub(5, sub(1)) })), ErrLimit,
			"more than 10000 placement groups",
		},
		{
			"bundles", reply(sub(5, repeat(maxShapes+1, func(int) []byte { return sub(1) }))), ErrLimit,
			"more than 10000 bundles in a placement group",
		},
		{"resources", reply(sub(3, id(1), repeat(maxNames+1, func(i int) []byte {
			return sub(5, sub(1, []byte{byte('a' + i/625), byte('a' + i/25%25), byte('a' + i%25)}), double(2, 1))
		}))), ErrLimit, "more than 10000 names of resources or labels"},
		{"small maps", reply(repeat(20, func(int) []byte {
			return sub(5, repeat(maxShapes-1, fiveMaps))
		})), ErrLimit, "more than 16777216 bytes of memory"},
		{"selectors", reply(sub(4, sub(1, repeat(1<<20, func(int) []byte { return sub(3) })))), ErrLimit, "more than 16777216 bytes of memory"},
	}
	for _, test := range tests {
		state, err := decodeState(test.reply)
		if want := test.kind.Error() + ": " + test.text; err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", test.name, err, want)
		}
		if !errors.Is(err, test.kind) || state != nil {
			t.Errorf("%s: error %v is not of the kind %v, or state %v", test.name, err, test.kind, state)
		}
	}
}

// TestDecodeTolerant has replies that are unusual and accepted.
func TestDecodeTolerant(t *testing.T) {
	id := sub(1, []byte("n"))
	node := func(parts ...[]byte) []byte { return reply(sub(3, append(parts, id)...)) }
	task := func(parts ...[]byte) []byte { return reply(sub(4, sub(1, parts...), number(2, 1))) }
	term := func(parts ...[]byte) []byte {
		return task(sub(3, sub(1, append(parts, text(1, "a"), text(3, "b"))...)))
	}
	bundle := sub(1, cpu(1, 1))
	otherBundle := sub(1, cpu(1, 2))
	group := strings.Repeat("0f", 18)
	resource := func(name string) []byte { return sub(1, text(1, name), double(2, 1)) }

	tests := []struct {
		name  string
		reply []byte
		check func(*ClusterState) bool
	}{
		{"nothing", nil, func(s *ClusterState) bool { return s.Nodes == nil && s.Session == "" }},
		{
			"unknown fields", node(number(99, 1), text(98, "\xff"), double(97, math.NaN()), []byte{96&15<<3 | 5 | 0x80, 6, 1, 2, 3, 4}),
			func(s *ClusterState) bool { return len(s.Nodes) == 1 },
		},
		{"another type", node(number(2, 1), double(3, 1), number(5, 1)), func(s *ClusterState) bool {
			return s.Nodes[0].Instance == "" && s.Nodes[0].Group == "" && s.Nodes[0].Total == nil
		}},
		{"negative available", node(cpu(4, -0.5)), func(s *ClusterState) bool { return s.Nodes[0].Available["CPU"] == 0 }},
		{"negative zero", node(cpu(5, math.Copysign(0, -1))), func(s *ClusterState) bool { return s.Nodes[0].Total["CPU"] == 0 }},
		{"huge amount", node(cpu(5, 1e300)), func(s *ClusterState) bool { return s.Nodes[0].Total["CPU"] == maxAmount }},
		{"map entry twice", node(cpu(5, 1), cpu(5, 3)), func(s *ClusterState) bool { return s.Nodes[0].Total["CPU"] == 3 }},
		{"map entry without a value", node(sub(5, text(1, "CPU"))), func(s *ClusterState) bool {
			amount, ok := s.Nodes[0].Total["CPU"]
			return ok && amount == 0
		}},
		{"unknown status", node(number(8, 77)), func(s *ClusterState) bool { return s.Nodes[0].Status == 77 }},
		{"dead node", node(number(8, 2)), func(s *ClusterState) bool { return s.Nodes == nil }},
		{"idle forever", node(number(9, math.MaxInt64)), func(s *ClusterState) bool { return s.Nodes[0].Idle == maxIdle }},
		{"negative idle time", node(number(9, -1)), func(s *ClusterState) bool { return s.Nodes[0].Idle == 0 }},
		{"no GPU", task(cpu(1, 1), sub(1, text(1, "GPU"), double(2, 0))), func(s *ClusterState) bool {
			return len(s.Tasks[0].Request.Resources) == 1
		}},
		{"no resources", task(), func(s *ClusterState) bool { return s.Tasks[0].Count == 1 }},
		{"no count", reply(sub(4, bundle)), func(s *ClusterState) bool { return s.Tasks == nil }},
		{"huge count", reply(sub(4, bundle, number(2, math.MaxInt64))), func(s *ClusterState) bool { return s.Tasks[0].Count == maxCount }},
		{"task in a bundle", task(resource("CPU_group_0_" + group)), func(s *ClusterState) bool { return s.Tasks == nil }},
		{"task in any bundle", task(resource("a_group_" + group)), func(s *ClusterState) bool { return s.Tasks == nil }},
		{
			"similar names", task(resource("group_"+group), resource("a_group_x_"+group), resource("a_group_"+group[1:]+"g")),
			func(s *ClusterState) bool { return len(s.Tasks[0].Request.Resources) == 3 },
		},
		{
			"task after one in a bundle", reply(sub(4, sub(1, resource("CPU_group_"+group)), number(2, 1)), sub(4, bundle, number(2, 1))),
			func(s *ClusterState) bool { return len(s.Tasks) == 1 },
		},
		{"empty placement group", reply(sub(5), sub(5, text(2, "x")), sub(5, sub(3))), func(s *ClusterState) bool { return s.Gangs == nil }},
		{"legacy placement group", reply(sub(5, bundle)), func(s *ClusterState) bool { return s.Gangs[0].Requests[0].Resources["CPU"] == 1 }},
		{"preferred selector", reply(sub(5, bundle, sub(3, otherBundle), sub(3, bundle))), func(s *ClusterState) bool {
			return len(s.Gangs[0].Requests) == 1 && s.Gangs[0].Requests[0].Resources["CPU"] == 2
		}},
		{"empty selector of bundles", reply(sub(5, bundle, sub(3))), func(s *ClusterState) bool { return len(s.Gangs[0].Requests) == 1 }},
		{"several constraints", reply(sub(6, sub(1, bundle, number(2, 1))), sub(6, sub(1, bundle, number(2, 2)))), func(s *ClusterState) bool {
			return len(s.Constraint) == 2
		}},
		{"empty selectors", task(sub(3), sub(3)), func(s *ClusterState) bool { return s.Tasks[0].Request.Selectors == nil }},
		{"not in", term(number(2, 2)), func(s *ClusterState) bool {
			term := s.Tasks[0].Request.Selectors[0][0]
			return term.Not && len(term.Values) == 1
		}},
		{"unknown operator", term(number(2, 3)), func(s *ClusterState) bool {
			term := s.Tasks[0].Request.Selectors[0][0]
			return !term.Not && len(term.Values) == 0
		}},
		{"nodes at the limit", reply(repeat(maxNodes, func(i int) []byte {
			return sub(3, sub(1, []byte{byte(i >> 8), byte(i)}))
		})), func(s *ClusterState) bool { return len(s.Nodes) == maxNodes }},
	}
	for _, test := range tests {
		start := time.Now()
		state, err := decodeState(test.reply)
		if err != nil || !test.check(state) {
			t.Errorf("%s: state %+v, error %v", test.name, state, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %v", test.name, took)
		}
	}
}
