// Package faults is the fault-injection suite. It runs the shipped operator against a real API
// server through a proxy that injects one fault, at every point where it can occur, and checks the
// history of each run afterwards.
//
//	history   what is recorded of a run
//	proxy     injects faults
//	oracle    checks a history, whatever the fault was
//
// The tests of this package are the cases. Each case has its own namespace, operator and proxy, so
// that cases run in parallel. The cases of the family malformed share a namespace and an operator,
// and have a Ray each. hack/faults.sh starts the cluster.
package faults
