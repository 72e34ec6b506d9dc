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

import "cmp"

// score is how well a new node matches the requests that it takes. It is that of Ray's autoscaler.
type score struct {
	// selected is how much the first request with selectors prefers the node, 0 if there is no such request.
	selected int
	// wastesGPU is whether the node has a GPU that no request needs.
	wastesGPU bool
	needsGPU  bool
	// kinds is the number of resources of which the requests need some.
	kinds int
	// least and mean are the minimum and the mean of the utilization of all resources of the node.
	least, mean float64
}

// add adds a shape that gives the node a rank.
func (s *score) add(shape *shape, rank int) {
	if s.selected == 0 && len(shape.selectors) > 0 {
		s.selected = shape.ranks() - rank
	}
	s.needsGPU = s.needsGPU || shape.gpu
}

// setUtilization sets the rest of the score of a node with these resources left. As in Ray, the utilization of a
// resource is its third power times the amount: large nodes are better if they are almost full.
func (s *score) setUtilization(n *node, free amounts) {
	s.wastesGPU = n.gpu && !s.needsGPU
	sum := 0.0
	for i, total := range n.total {
		used := float64(total.units-free[i].units) / float64(total.units)
		if used == 0 {
			continue
		}
		utilization := value(total.units) * used * used * used
		if s.kinds == 0 || utilization < s.least {
			s.least = utilization
		}
		sum += utilization
		s.kinds++
	}
	if s.kinds < n.kinds {
		s.least = 0
	}
	s.mean = sum / float64(max(n.kinds, 1))
}

// compare returns a positive number if the score is better than another one, and 0 if it is as good.
func (s *score) compare(other score) int {
	return cmp.Or(
		cmp.Compare(s.selected, other.selected),
		-compareBool(s.wastesGPU, other.wastesGPU),
		cmp.Compare(s.kinds, other.kinds),
		cmp.Compare(s.least, other.least),
		cmp.Compare(s.mean, other.mean))
}

// compareBool returns how two values compare, false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}
