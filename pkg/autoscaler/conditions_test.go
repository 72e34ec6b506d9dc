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
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestDemandConditions checks that no demand is said to have room that has not been considered.
func TestDemandConditions(t *testing.T) {
	limited := []GroupDecision{{Name: "worker", Limited: `{"CPU": 1}`}}
	infeasible := Infeasible{Message: `{"CPU": 9}: no group`}
	for _, test := range []struct {
		name     string
		decision Decision
		want     []string
	}{
		{"enough", Decision{}, []string{"ScalingActive True DemandKnown", "ScalingLimited False DesiredWithinRange", "InfeasibleDemand False AllDemandFits"}},
		{"limited", Decision{Groups: limited}, []string{"ScalingActive True DemandKnown", "ScalingLimited True TooManyReplicas", "InfeasibleDemand False AllDemandFits"}},
		{"infeasible", Decision{Infeasible: infeasible}, []string{"ScalingActive True DemandKnown", "ScalingLimited False DesiredWithinRange", "InfeasibleDemand True NoGroupFits"}},
		{"too much", Decision{Incomplete: true}, []string{"ScalingActive True TooManyShapes", "ScalingLimited Unknown TooManyShapes", "InfeasibleDemand Unknown TooManyShapes"}},
		{
			"too much, with a known part",
			Decision{Incomplete: true, Groups: limited, Infeasible: infeasible},
			[]string{"ScalingActive True TooManyShapes", "ScalingLimited True TooManyReplicas", "InfeasibleDemand True NoGroupFits"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, c := range newRecommendation(&rayv1.Ray{}, nil, &test.decision, nil).Conditions {
				got = append(got, string(c.Type)+" "+string(c.Status)+" "+c.Reason)
			}
			if diff := gocmp.Diff(test.want, got); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}
