// Package controller keeps the children of every Ray as the Ray asks, and its status
// true. Data flows one way:
//
//	informers.go   what is watched, and what of it is kept in memory
//	controller.go  the queue: what wakes a Ray up, and what happens after a failure
//	sync.go        one Ray's turn, phase by phase
//	child.go       one child's turn: compare what there is with what is wanted
//	mend.go        the comparison itself, pure
//	template.go    its decision about a Pod template, pure
//	contains.go    its notion of "still has what was set", pure
//	status.go      the status, pure
//	write.go       the only writes to the API server
//	ownwrites.go   whether the caches show these writes yet
//	progress.go    whose progress is told, and when
//	refusal.go     whose status the API server accepts no more, and what was told instead
//	unreadable.go  the client, and Rays that the types cannot hold
//	exponent.go    its notion of a quantity that takes for ever to read
//	problem.go     what can keep a child from being as wanted
//	events.go      the words of events
//	metrics.go     what is counted, and the gauges of Rays
//
// What is wanted comes from package resources.
package controller
