// Package history holds what is known of one run of the operator: every version of the
// objects in its namespace, every request that it made to change something, and how all
// was in the end. It only has data, so that oracles judge a run after it is over.
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

// The resources as histories name them.
const (
	Rays        = "rays"
	RayStatus   = "rays/status"
	Services    = "services"
	Deployments = "deployments"
	Events      = "events"
	Leases      = "leases"
)

// Version is one version of an object, as a watch beside the operator saw it.
type Version struct {
	Resource string
	Deleted  bool
	// Object is a *rayv1.Ray, *corev1.Service or *appsv1.Deployment. If Deleted, it is the
	// last state.
	Object metav1.Object
}

// Write is one request of an operator to change something.
type Write struct {
	// Number counts the writes of its kind of resource (children and status, events,
	// leases) from when the faults were armed; it is 0 before.
	Number   int
	At       time.Time
	Verb     string
	Resource string
	Name     string
	// Sent is the object that was sent, nil for a deletion.
	Sent metav1.Object
	// Target is the UID that the write insists on, if it does.
	Target types.UID
	// Fault says what was done to the write, if anything was.
	Fault string
	// Code is what the server answered, 0 if it has not seen the write. It may differ from
	// what the operator was told.
	Code int
	// Result is the object that the server answered with.
	Result metav1.Object
	// Concealed says that the operator was told something else than the server's answer.
	Concealed bool
	// ProcessEnded says that the process which made it ended before the run did.
	ProcessEnded bool
}

// Committed tells whether the server did what the operator asked.
func (w *Write) Committed() bool { return w.Code >= 200 && w.Code < 300 }

// What names what a write is about, such as "update deployments/sample-head".
func (w *Write) What() string { return fmt.Sprintf("%s %s/%s", w.Verb, w.Resource, w.Name) }

// String is for messages of failure.
func (w *Write) String() string {
	text := fmt.Sprintf("write %d %s: %d", w.Number, w.What(), w.Code)
	if w.Fault != "" {
		text += " (" + w.Fault + ")"
	}
	return text
}

// State is what a namespace holds at one time.
type State struct {
	Rays        []rayv1.Ray
	Services    []corev1.Service
	Deployments []appsv1.Deployment
	Events      []corev1.Event
}

// Process is how an operator's process ended.
type Process struct {
	// Killed says that the run killed it.
	Killed bool
	// ByItself says that nobody had told it to end.
	ByItself bool
	ExitCode int
	// LastWords is why it ended, if it said so.
	LastWords string
}

// Size is how big an operator's process was when it had nothing left to do.
type Size struct {
	Goroutines int
	// HeapBytes is what its heap took after a garbage collection.
	HeapBytes int64
}

// History is all that is known of a run.
type History struct {
	Versions []Version
	Writes   []Write
	// Converged is when the Ray was first as wanted, with its status.
	Converged time.Time
	End       State
	// Log is what the operators have logged.
	Log       string
	Processes []Process
	// Sizes has the processes that ran in the end.
	Sizes []Size
}
