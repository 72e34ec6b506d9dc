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
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkDecode decodes the reply of two nodes, and that of a large cluster.
func BenchmarkDecode(b *testing.B) {
	for name, reply := range map[string][]byte{
		"recorded":  recorded(b, "ray-2.60.0-demand"),
		"1000nodes": largeReply(b, 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(reply)))
			for b.Loop() {
				if _, err := decodeState(reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largeReply returns the reply of a cluster with a number of nodes like those in the recorded one.
func largeReply(t testing.TB, nodes int) []byte {
	t.Helper()
	var worker []byte
	err := fields(recorded(t, "ray-2.60.0-idle"), func(f field) error {
		return fields(f.data, func(f field) error {
			if f.key == 3<<3|delimited {
				worker = f.data
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return reply(repeat(nodes, func(i int) []byte {
		// The last value of a field is valid.
		return sub(3, worker, text(1, fmt.Sprintf("%028d", i)))
	}))
}

// TestLargeState checks that a cluster of Ray's largest size is within the limits, and what it costs.
func TestLargeState(t *testing.T) {
	reply := largeReply(t, 10_000)
	state, err := decodeState(reply)
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Nodes) != 10_000 {
		t.Errorf("%d nodes", len(state.Nodes))
	}
	used := heap(t, state)
	t.Logf("a reply of %d bytes occupies %d bytes", len(reply), used)
	if used > maxMemory {
		t.Errorf("%d bytes, more than %d", used, maxMemory)
	}
}

// TestWorstState measures the heap of replies that are small on the network and large in memory.
func TestWorstState(t *testing.T) {
	// Maps with one entry each: bundles of placement groups.
	groups := func(n int) []byte {
		return reply(repeat(n, func(int) []byte {
			return sub(5, repeat(1000, func(int) []byte { return sub(1, cpu(1, 1)) }))
		}))
	}
	const n = maxMemory / (costDemand + costMap) / 1000
	content := groups(n)
	state, err := decodeState(content)
	if err != nil {
		t.Fatal(err)
	}
	used := heap(t, state)
	t.Logf("a reply of %d bytes occupies %d bytes", len(content), used)
	if used > 2*maxMemory {
		t.Errorf("%d bytes, more than twice %d", used, maxMemory)
	}
}

// heap returns the bytes of heap that a state occupies.
func heap(t *testing.T, state *ClusterState) uint64 {
	t.Helper()
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(state)
	*state = ClusterState{}
	runtime.GC()
	runtime.ReadMemStats(&without)
	return with.HeapAlloc - without.HeapAlloc
}
