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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Recommendation is what the autoscaler recommends for a Ray. It is immutable.
type Recommendation struct {
	// UID is that of the Ray that it is for.
	UID types.UID
	// Outdated is whether the spec has changed since. A newer recommendation follows at once. Until then, the number of
	// nodes of a group must not be lowered: idle ones are to be drained first, which is the next poll's task.
	Outdated bool
	// Replicas is the number of nodes by the name of the group. A group without one keeps its target.
	Replicas map[string]int32
	// Reasons says why a group was scaled last, by its name.
	Reasons map[string]string
	// Conditions are the conditions ScalingActive, ScalingLimited and InfeasibleDemand of the Ray. Messages do not
	// change while their cause lasts, since each change is a write.
	Conditions []Condition
	// decided is whether the demand is known. If not, there are no nodes to drain.
	decided bool
}

// Condition is a condition of a Ray without times.
type Condition struct {
	Type            rayv1.RayConditionType
	Status          corev1.ConditionStatus
	Reason, Message string
}
