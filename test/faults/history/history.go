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

// Package history has the types of the record of one run of the operator: every version of the
// objects in its namespace, every write by the operator, and the end state. The oracles check it after
// the run.
package history

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The names of resources in a history.
const (
	Rays        = "rays"
	RayStatus   = "rays/status"
	Services    = "services"
	Deployments = "deployments"
	Pods        = "pods"
	Events      = "events"
	Leases      = "leases"
)

// Version is one version of an object, from a watch that is independent of the operator.
type Version struct {
	Resource string
	Deleted  bool
	// Object is a *rayv1.Ray, *corev1.Service or *appsv1.Deployment. If Deleted, it is the last state.
	Object metav1.Object
}

// Write is one write request by an operator.
type Write struct {
	// Number is the number of the write among those of its kind (children and status, events,
	// leases) since the faults were armed. It is 0 before that.
	Number   int
	At       time.Time
	Verb     string
	Resource string
	Name     string
	// Sent is the object in the request, nil for a deletion. Of a patch, it has the metadata only.
	Sent metav1.Object
	// Target is the UID precondition of the write, if any.
	Target types.UID
	// Fault is the fault that was injected, if any.
	Fault string
	// Code is the status code of the server's response, 0 if the write did not reach it. The operator
	// may have received another one.
	Code int
	// Result is the object in the server's response.
	Result metav1.Object
	// Concealed means that the operator did not receive the server's response.
	Concealed bool
	// ProcessExited means that the process that sent it exited before the end of the run.
	ProcessExited bool
}

// Committed reports whether the server committed the write.
func (w *Write) Committed() bool { return w.Code >= 200 && w.Code < 300 }

// What returns the verb and the object of the write, such as "update deployments/sample-head".
func (w *Write) What() string { return fmt.Sprintf("%s %s/%s", w.Verb, w.Resource, w.Name) }

// String returns the write as failures print it.
func (w *Write) String() string {
	text := fmt.Sprintf("write %d %s: %d", w.Number, w.What(), w.Code)
	if w.Fault != "" {
		text += " (" + w.Fault + ")"
	}
	return text
}

// State has the objects of a namespace at one time.
type State struct {
	Rays        []rayv1.Ray
	Services    []corev1.Service
	Deployments []appsv1.Deployment
	Events      []corev1.Event
}

// Process describes the exit of a process of an operator.
type Process struct {
	// Killed means that the test killed it.
	Killed bool
	// Unexpected means that it exited without a signal of the test.
	Unexpected bool
	ExitCode   int
	// ExitMessage is the error that it printed, if any.
	ExitMessage string
}

// Size is the size of an operator's process in the steady state.
type Size struct {
	Goroutines int
	// HeapBytes is the size of the heap after a garbage collection.
	HeapBytes int64
}

// History is the record of a run.
type History struct {
	Versions []Version
	Writes   []Write
	// Converged is when the goal was reached, including the status.
	Converged time.Time
	End       State
	// Log is the log of the operators.
	Log       string
	Processes []Process
	// Sizes has the processes that were running at the end.
	Sizes []Size
}
