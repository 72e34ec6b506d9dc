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
