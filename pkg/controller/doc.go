// Package controller reconciles Rays: it keeps their children in the desired state, and their status
// true. Data flows one way, and a file uses only files further down the list:
//
//	controller.go     the queue: what enqueues a Ray, and when it is retried
//	metrics.go        metrics
//	sync.go           the sync of a Ray, phase by phase
//	status_writer.go  when a status is written and a problem is reported; the only writes of statuses
//	status.go         what a status says, pure
//	children.go       the children of one kind; the only writes of children
//	desired.go        how an observed child differs from the desired one, pure
//	record.go         what was last applied to a child, stored in its annotation
//	memory.go         what is known of children beyond the caches
//	problem.go        why a child is not in its desired state
//	informers.go      what is watched, and what of it is cached
//
// Desired objects are rendered by package resources.
package controller
