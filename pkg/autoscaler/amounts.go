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
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

const (
	// resolution is the number of units in 1 of a resource. Ray counts in these units, too
	// (src/ray/common/scheduling/fixed_point.h). Ten requests of 0.1 therefore fit into 1.
	resolution = 10_000
	// maxUnits limits amounts and counts, so that a sum of two does not overflow.
	maxUnits = math.MaxInt64 / 2
)

// amount is an amount of one resource.
type amount struct {
	// resource is the index of the resource in its catalog.
	resource int
	units    int64
}

// amounts are amounts of resources that are not 0, in the order of the catalog.
type amounts []amount

// catalog has the resources that are requested, in alphabetical order. Others do not matter: each node has a resource
// with its own name, for example.
type catalog struct {
	names []string
	index map[string]int
}

// newCatalog returns the catalog of all resources in some requests.
func newCatalog(requests ...[]gcs.Request) *catalog {
	index := map[string]int{}
	for _, list := range requests {
		for i := range list {
			for name := range list[i].Resources {
				index[name] = 0
			}
		}
	}
	names := slices.Sorted(maps.Keys(index))
	for i, name := range names {
		index[name] = i
	}
	return &catalog{names, index}
}

// amounts returns the amounts of the resources that are in the catalog.
func (c *catalog) amounts(resources gcs.Resources) amounts {
	if len(c.index) == 0 {
		return nil // no demand: the steady state
	}
	var result amounts
	for name, value := range resources {
		if i, found := c.index[name]; found && units(value) > 0 {
			result = append(result, amount{i, units(value)})
		}
	}
	return result.sum()
}

// units returns an amount in units, 0 if it is not a positive number.
func units(value float64) int64 {
	switch scaled := math.Round(value * resolution); {
	case scaled >= maxUnits:
		return maxUnits
	case scaled > 0:
		return int64(scaled)
	default:
		return 0 // negative or not a number
	}
}

// value returns the amount of a number of units.
func value(units int64) float64 { return float64(units) / resolution }

// fits returns how often an amount fits into others, at most limit times.
func (a amounts) fits(into amounts, limit int64) int64 {
	i := 0
	for _, need := range a {
		for i < len(into) && into[i].resource < need.resource {
			i++
		}
		if i == len(into) || into[i].resource != need.resource || into[i].units < need.units {
			return 0
		}
		limit = min(limit, into[i].units/need.units)
	}
	return limit
}

// take subtracts a number of times amounts that fit so often.
func (a amounts) take(need amounts, times int64) {
	i := 0
	for _, n := range need {
		for a[i].resource < n.resource {
			i++
		}
		a[i].units -= times * n.units
	}
}

// of returns the amount of a resource.
func (a amounts) of(resource int) int64 {
	for _, amount := range a {
		if amount.resource == resource {
			return amount.units
		}
	}
	return 0
}

// sum returns the amounts in order, with one amount of each resource.
func (a amounts) sum() amounts {
	slices.SortFunc(a, func(x, y amount) int { return cmp.Compare(x.resource, y.resource) })
	sum := a[:0]
	for _, add := range a {
		if last := len(sum) - 1; last >= 0 && sum[last].resource == add.resource {
			sum[last].units = addCapped(sum[last].units, add.units)
		} else {
			sum = append(sum, add)
		}
	}
	return sum
}

// addCapped returns the sum of two numbers, at most maxUnits.
func addCapped(a, b int64) int64 {
	return min(min(a, maxUnits)+min(b, maxUnits), maxUnits)
}
