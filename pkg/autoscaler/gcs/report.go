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

import "time"

// AutoscalingState is what an autoscaler reports to the GCS. ray status and the dashboard show it.
type AutoscalingState struct {
	// Version orders the reports. A GCS ignores a report with a lower version than one before, and replies
	// with success nevertheless. Use the time in Unix milliseconds, which grows over restarts, too.
	Version int64
	// Requested are the nodes that do not exist yet.
	Requested []InstanceRequest
	// Pending are the nodes that exist but have not joined the cluster.
	Pending []PendingInstance
	// Failed are the requests for nodes that failed.
	Failed []FailedRequest
	// Infeasible are requests that no node can fulfill. Ray warns the driver of each, once.
	Infeasible []Request
	// InfeasibleGangs are placement groups that the cluster cannot fulfill.
	InfeasibleGangs []Gang
	// InfeasibleConstraint is the part of the size that the user requests that the cluster cannot have.
	InfeasibleConstraint []Demand
}

// InstanceRequest is a number of nodes that are requested and do not exist yet.
type InstanceRequest struct {
	Group string
	Count int32
	// Since has a precision of seconds.
	Since time.Time
}

// PendingInstance is a node that exists and has not joined the cluster.
type PendingInstance struct {
	Group string
	// Instance is the name of its Pod.
	Instance string
	// Address is the IP address of the Pod, or empty.
	Address string
	// Details are the reason for users.
	Details string
}

// FailedRequest is a request for nodes that failed.
type FailedRequest struct {
	Group  string
	Count  int32
	Reason string
	// Started and Failed have a precision of seconds.
	Started, Failed time.Time
}

// ClusterConfig is what Ray's libraries can know of the size that a cluster can have.
type ClusterConfig struct {
	Groups []GroupConfig
	// Min and Max are the resources of the smallest and of the largest cluster. Empty means unknown.
	Min, Max map[string]uint64
}

// GroupConfig is a group of nodes.
type GroupConfig struct {
	Name string
	// Resources are those of one node.
	Resources map[string]uint64
	Min       uint32
	// Max is -1 without a limit.
	Max int32
}
