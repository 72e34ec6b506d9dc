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

const (
	// maxWork is the work of a decision at most, for a cluster that reports nonsense. Its unit is the comparison of a
	// resource or label that a request names with those of a node, which takes some nanoseconds.
	maxWork = 20_000_000
	// costPut is the work of placing requests on a node, and costCopy that of copying a node.
	costPut, costCopy = 50, 5
)

// budget is the work that a decision may still do. Demand that is not placed when it ends is not considered.
type budget struct{ left int }

// spend does some work, and returns whether the budget was enough.
func (b *budget) spend(work int) bool {
	b.left -= work
	return !b.isExhausted()
}

// isExhausted returns whether the budget has ended.
func (b *budget) isExhausted() bool { return b.left < 0 }
