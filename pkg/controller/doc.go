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

// Package controller reconciles Rays: it creates, updates and deletes their children, and writes their
// status. Its files are in the order in which data flows; each uses only files listed below it:
//
//	controller.go     the queue: what enqueues a Ray, and when it is retried
//	metrics.go        metrics
//	sync.go           the sync of a Ray, phase by phase
//	groups.go         the order in which the groups are updated
//	scale.go          how many nodes an autoscaled group is to have
//	causes.go         lists Pods to find out why they are not available
//	status_writer.go  decides when a status is written and a problem is reported; no other file does
//	status.go         what a status says, pure
//	children.go       writes children and records events about that; no other file does
//	ownership.go      which objects are children, may be adopted, and may be written
//	desired.go        how an observed child differs from the desired one, pure
//	rollout.go        how a new Pod template is rolled out, pure
//	kinds.go          what a child is, and what differs between Services and Deployments
//	record.go         what was last applied to a child, stored in its annotation
//	memory.go         what is known of children beyond the caches
//	problem.go        why a child is not in its desired state
//	informers.go      what is watched, and what of it is cached
//
// Desired objects are rendered by package resources.
package controller
