package controller

// Reasons of events. The first and its message are a contract: users' scripts know them.
const (
	// reasonSuccessfullyCreate is the reason of the event after a child was created.
	reasonSuccessfullyCreate = "SuccessfullyCreate"
	// reasonSuccessfullyUpdate is the reason of the event after a child was changed to
	// what the Ray asks, whether the Ray had changed or somebody else the child.
	reasonSuccessfullyUpdate = "SuccessfullyUpdate"
	// reasonSuccessfullyDelete is the reason of the event after a child was deleted that
	// the Ray no longer asks for.
	reasonSuccessfullyDelete = "SuccessfullyDelete"

	// messageCreate, messageUpdate, messageRestore and messageDelete take the kind and
	// the name of a child; the middle two also take what was changed.
	messageCreate  = "Successfully create the %s %s"
	messageUpdate  = "Successfully update the %s %s: %s"
	messageRestore = "Successfully update the %s %s: undo a change by somebody else of its %s"
	messageDelete  = "Successfully delete the %s %s"
)

// Reasons of the condition Health. Those of problems of the operator's own, which are all but the
// first four, are also those of the Warning events that tell them.
const (
	// reasonHealthy says that all is as the spec asks.
	reasonHealthy = "AllReplicasAvailable"
	// reasonUnobserved says that nothing is known of the Deployments yet.
	reasonUnobserved = "DeploymentsUnobserved"
	// reasonProgressing says that replicas are still missing, or older ones left.
	reasonProgressing = "ReplicasMissing"
	// reasonReplicaFailure says that a Deployment cannot make Pods.
	reasonReplicaFailure = "ReplicaFailure"

	// reasonUnreadable says that the Ray has a spec that the types cannot hold.
	reasonUnreadable = "Unreadable"
	// reasonFailedCreate says that the API server refused a child.
	reasonFailedCreate = "FailedCreate"
	// reasonFailedUpdate says that the API server refused a change of a child.
	reasonFailedUpdate = "FailedUpdate"
	// reasonFailedDelete says that the API server refused to delete a child.
	reasonFailedDelete = "FailedDelete"
	// reasonFailedGet says that a child could not be read.
	reasonFailedGet = "FailedGet"
	// reasonNameTaken says that a child's name belongs to an object that is not the Ray's.
	reasonNameTaken = "NameTaken"
	// reasonTerminating says that a child, or one of a predecessor, is still being deleted.
	reasonTerminating = "ChildTerminating"
)

// isProblem tells whether a reason of Health is that of a problem of the operator's own.
func isProblem(reason string) bool {
	switch reason {
	case reasonHealthy, reasonUnobserved, reasonProgressing, reasonReplicaFailure:
		return false
	default:
		return true
	}
}
