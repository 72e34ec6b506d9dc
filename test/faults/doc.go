// Package faults proves that no single fault leaves a Ray wrong. It runs the shipped
// operator against a real API server through a proxy that makes one thing go wrong, at
// every place where it can, and judges the history of each run afterwards.
//
//	history   what is known of a run
//	proxy     what goes wrong in it
//	oracle    what has to hold in it, whatever went wrong
//	schema    every leaf of a Ray's schema, and values for it
//
// The tests of this package are the cases. Each has a namespace, an operator and a proxy of
// its own, so that they run side by side. Those of the family fields share theirs, those of
// malformed too, and have Rays of their own. hack/faults.sh starts the cluster.
package faults
