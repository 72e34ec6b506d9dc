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

// Package gcs is a client of the GCS of Ray, as far as autoscaling needs it: the service
// ray.rpc.autoscaler.AutoscalerStateService of Ray's src/ray/protobuf/autoscaler.proto, over HTTP/2 without TLS.
//
// A GCS runs what users give it, so nothing it answers is trusted: sizes and times are bounded, redirects and
// proxies are not followed, and numbers that are not finite or negative are rejected. Texts are valid UTF-8 with at
// most 1 KiB, but can have any characters: use OneLine before they are shown.
package gcs

import "time"

// NodeStatus is the status of a node. Its values are those of Ray's NodeStatus.
type NodeStatus int32

// The statuses of a node.
const (
	NodeRunning  NodeStatus = 1
	NodeDead     NodeStatus = 2
	NodeIdle     NodeStatus = 3
	NodeDraining NodeStatus = 4
)

// Resources are amounts of resources by name, such as CPU, GPU, or memory in bytes.
type Resources map[string]float64

// ClusterState is what the GCS knows of the nodes of a cluster, and of the demand for more.
type ClusterState struct {
	// Session identifies the incarnation of the cluster: a head that starts anew without storage has another one.
	Session string
	// Nodes are the nodes that are alive or draining.
	Nodes []Node
	// Tasks are the tasks and actors that wait for resources, without those in placement groups.
	Tasks []Demand
	// Gangs are the placement groups that wait for resources.
	Gangs []Gang
	// Constraint is the size that the user requests with request_resources, counted in total resources.
	Constraint []Demand
}

// Node is a node of a cluster.
type Node struct {
	// ID identifies the node. It is binary.
	ID string
	// Instance is the name of the node's Pod, and Group that of its group, if the start command sets them.
	Instance, Group string
	Status          NodeStatus
	// Total are the resources of the node, without the names that Ray adds for bundles of placement groups.
	Total Resources
	// Available are the resources that no task, actor or placement group uses. A resource that is used up may be
	// missing.
	Available Resources
	// Labels are those of the node, and those that placement groups set while they use it.
	Labels map[string]string
	// Idle is for how long the node has been idle, or 0.
	Idle time.Duration
}

// Demand is a number of equal requests.
type Demand struct {
	Request Request
	// Count is at least 1.
	Count int64
}

// Request is a request for resources of one node.
type Request struct {
	Resources Resources
	// AntiAffinity must not be a label of the node, and Affinity is a label that all requests of a gang
	// with it share: they must be on one node. Empty if not requested.
	AntiAffinity, Affinity Label
	// Selectors are alternatives, the preferred one first. Empty if any node will do.
	Selectors []Selector
}

// Label is a label of a node.
type Label struct {
	Name, Value string
}

// Selector selects nodes that meet all its terms.
type Selector []Term

// Term is a condition on a label.
type Term struct {
	Name string
	// Values are those that the label may have, or with Not, those that it must not have.
	Values []string
	Not    bool
}

// Gang is a group of requests that are scheduled all or not at all.
type Gang struct {
	// Details identify the placement group and its strategy, for messages.
	Details  string
	Requests []Request
}
