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
	"strconv"
	"testing"
	"time"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// largeInput returns a cluster with up to 5,000 nodes in two groups.
func largeInput(options ...inputOption) *Input {
	resources := gcs.Resources{"CPU": 10, "memory": 32 << 30, "object_store_memory": 10 << 30}
	return newInput(append(opts{
		addGroup("worker", resources, size(0, 0, 5000)),
		addGroup("gpu", gcs.Resources{"CPU": 16, "GPU": 4, "memory": 64 << 30, "object_store_memory": 20 << 30}, size(0, 0, 5000)),
	}, options...)...)
}

// aliveWorkers adds nodes, of which every second one is idle.
func aliveWorkers(n int) inputOption {
	return func(in *Input) {
		in.Groups[0].Desired = int32(n)
		for i := range n {
			ip := "node:10.0." + strconv.Itoa(i/256) + "." + strconv.Itoa(i%256)
			total := gcs.Resources{"CPU": 10, "memory": 32 << 30, "object_store_memory": 10 << 30, ip: 1}
			addNode("n"+strconv.Itoa(i), "worker", gcs.NodeIdle, total, func(node *gcs.Node) {
				node.Idle = time.Duration(i) * time.Second
				if i%2 == 0 {
					node.Status, node.Idle = gcs.NodeRunning, 0
					node.Available = gcs.Resources{"CPU": float64(i % 10), "memory": 16 << 30, "object_store_memory": 10 << 30, ip: 1}
				}
			})(in)
		}
	}
}

// shapes adds tasks of many different shapes.
func shapes(n int, count int64) inputOption {
	return func(in *Input) {
		for i := range n {
			tasks(count, gcs.Resources{"CPU": float64(1+i%10) / 2, "memory": float64(i) * (1 << 20)})(in)
		}
	}
}

// gangs adds placement groups of four bundles.
func gangs(n int, strategy string) inputOption {
	return func(in *Input) {
		for i := range n {
			placementGroup(strconv.Itoa(i), strategy, times(4, cpu(2))...)(in)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, bench := range []struct {
		name    string
		options opts
		want    int32 // nodes of the group "worker"
	}{
		{"10,000 tasks from 0 to 1,000 nodes", opts{tasks(10_000, cpu(1))}, 1000},
		{"1,000,000,000 tasks", opts{tasks(1_000_000_000, cpu(1))}, 5000},
		{"100 nodes in the steady state", opts{aliveWorkers(100)}, 100},
		{"1,000 nodes in the steady state", opts{aliveWorkers(1000)}, 1000},
		{"1,000 nodes and 100 shapes", opts{aliveWorkers(1000), shapes(100, 10)}, 1000},
		{"1,000 nodes and 100 shapes for 1,000 more", opts{aliveWorkers(1000), shapes(100, 55)}, 1813},
		{"1,000 new nodes for 100 shapes", opts{shapes(100, 36)}, 990},
		{"1,000 new nodes for 1,000 placement groups", opts{gangs(1000, "PACK")}, 800},
		{"1,000 nodes and 1,000 placement groups that spread", opts{aliveWorkers(1000), gangs(1000, "STRICT_SPREAD")}, 1100},
		{"1,000 nodes and 1,000 placement groups that do not fit", opts{aliveWorkers(1000), gangs(1000, "STRICT_PACK"), worker(size(0, 1000, 1000))}, 1000},
	} {
		b.Run(bench.name, func(b *testing.B) {
			in := largeInput(bench.options...)
			if got := Decide(in).Groups[0].Replicas; got != bench.want {
				b.Errorf("got %d nodes, want %d", got, bench.want)
			}
			for b.Loop() {
				Decide(in)
			}
		})
	}
}
