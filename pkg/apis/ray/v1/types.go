package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Ray is one Ray cluster: a head node and, if wanted, any number of workers.
//
// The operator derives the names of a Service and two Deployments from the name of
// the Ray. The longest suffix of a Service name is "-head", and a Service name has
// at most 63 characters (DNS-1035), hence the limit of 58.
//
// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:resource:path=rays,singular=ray,scope=Namespaced,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.worker.replicas,statuspath=.status.worker.replicas,selectorpath=.status.worker.selector
// +kubebuilder:printcolumn:name="Head",type=integer,JSONPath=".status.head.readyReplicas",description="Head nodes that are ready."
// +kubebuilder:printcolumn:name="Workers",type=integer,JSONPath=".status.worker.readyReplicas",description="Workers that are ready."
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=".spec.worker.replicas",description="Workers that are wanted."
// +kubebuilder:printcolumn:name="Health",type=string,JSONPath=".status.conditions[?(@.type=='Health')].status",description="True when every node of the spec runs and is available."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Updated",type=integer,JSONPath=".status.worker.updatedReplicas",priority=1,description="Workers that run the newest template."
// +kubebuilder:printcolumn:name="Available",type=integer,JSONPath=".status.worker.availableReplicas",priority=1,description="Workers that are available."
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=".status.conditions[?(@.type=='Health')].reason",priority=1,description="Why Health is what it is."
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=".status.conditions[?(@.type=='Health')].message",priority=1,description="What is missing."
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",fieldPath=".metadata.name",reason=FieldValueInvalid,message="must be a DNS-1035 label, since a Service is named after it: lower case letters, digits and '-', first a letter, last no '-'"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 58",fieldPath=".metadata.name",reason=FieldValueInvalid,message="must have at most 58 characters: the head's Service is named after it, with '-head' added, and may have 63"
type Ray struct {
	metav1.TypeMeta `json:",inline"`

	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is wanted.
	// +required
	Spec RaySpec `json:"spec"`

	// How things stand. Written by the operator alone.
	// +optional
	Status RayStatus `json:"status,omitempty"`
}

// RayList is a list of Rays.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type RayList struct {
	metav1.TypeMeta `json:",inline"`
	// Standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// The Rays.
	// +required
	Items []Ray `json:"items"`
}

// RaySpec is what is wanted of a Ray cluster.
type RaySpec struct {
	// The head node.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || self.replicas <= 1",fieldPath=".replicas",reason=FieldValueInvalid,message="must be 0 or 1: two heads behind one Service would be two clusters; more nodes are spec.worker.replicas"
	Head GroupSpec `json:"head"`

	// The workers. Without it the cluster is the head alone.
	// +optional
	Worker *GroupSpec `json:"worker,omitempty"`
}

// GroupSpec is a group of Ray nodes that are all alike.
type GroupSpec struct {
	// How many nodes are wanted. Defaults to 1; a head has 0 or 1.
	// +optional
	// +default=1
	// +kubebuilder:validation:XValidation:rule="self >= 0",reason=FieldValueInvalid,message="must not be negative"
	Replicas *int32 `json:"replicas,omitempty"`

	// The Pods of the group. Labels under ray.kubeflow.org and the variables RAY_HEAD_SERVICE, RAY_NODE_IP and MY_POD_IP are added.
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.spec) && has(self.spec.containers) && size(self.spec.containers) > 0",fieldPath=".spec",reason=FieldValueInvalid,message="must have at least one container under containers: the first one runs Ray"
	// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.restartPolicy) || self.spec.restartPolicy == 'Always'",fieldPath=".spec",reason=FieldValueInvalid,message="restartPolicy must be Always or left out: the nodes run in Deployments"
	Template corev1.PodTemplateSpec `json:"template"`
}

// RayStatus is how a Ray cluster stands.
type RayStatus struct {
	// The generation of the Ray that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// When the operator first wrote a status.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// When the operator last wrote the status. It stands still when nothing changes.
	// +optional
	LastReconcileTime *metav1.Time `json:"lastReconcileTime,omitempty"`

	// The head node.
	// +optional
	Head HeadStatus `json:"head,omitempty,omitzero"`

	// The workers. Absent when the spec has none.
	// +optional
	Worker *WorkerStatus `json:"worker,omitempty"`

	// Health, and the conditions of the Deployments.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []RayCondition `json:"conditions,omitempty"`
}

// ReplicaCounts counts the Pods of a group, as its Deployment reports them.
type ReplicaCounts struct {
	// Pods that exist.
	// +optional
	Replicas int32 `json:"replicas"`

	// Pods that run the newest template.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`

	// Pods that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`

	// Pods that have been ready for as long as the Deployment asks.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas"`

	// Pods that are missing for the group to be available as a whole. Left out when 0.
	// +optional
	UnavailableReplicas int32 `json:"unavailableReplicas,omitempty"`
}

// HeadStatus is how the head stands.
type HeadStatus struct {
	ReplicaCounts `json:",inline"`
}

// WorkerStatus is how the workers stand.
type WorkerStatus struct {
	ReplicaCounts `json:",inline"`

	// Selects the workers' Pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
}

// RayConditionType names one aspect of a Ray's state.
type RayConditionType string

const (
	// RayHealth becomes True when the Deployment of every group has observed its newest
	// generation, all wanted replicas are updated and available, and no older ones are left.
	// It stays so until a Pod changes, or the Ray.
	RayHealth RayConditionType = "Health"

	// RayHeadDeploymentProgressing mirrors the condition Progressing of the head's Deployment.
	RayHeadDeploymentProgressing RayConditionType = "RayHeadDeploymentProgressing"
	// RayHeadDeploymentAvailable mirrors the condition Available of the head's Deployment.
	RayHeadDeploymentAvailable RayConditionType = "RayHeadDeploymentAvailable"
	// RayHeadDeploymentReplicaFailure mirrors the condition ReplicaFailure of the head's Deployment.
	RayHeadDeploymentReplicaFailure RayConditionType = "RayHeadDeploymentReplicaFailure"

	// RayWorkerDeploymentProgressing mirrors the condition Progressing of the workers' Deployment.
	RayWorkerDeploymentProgressing RayConditionType = "RayWorkerDeploymentProgressing"
	// RayWorkerDeploymentAvailable mirrors the condition Available of the workers' Deployment.
	RayWorkerDeploymentAvailable RayConditionType = "RayWorkerDeploymentAvailable"
	// RayWorkerDeploymentReplicaFailure mirrors the condition ReplicaFailure of the workers' Deployment.
	RayWorkerDeploymentReplicaFailure RayConditionType = "RayWorkerDeploymentReplicaFailure"
)

// RayCondition is one aspect of a Ray's state. It has the two times of a
// DeploymentCondition, which metav1.Condition lacks.
type RayCondition struct {
	// What the condition is about.
	// +required
	Type RayConditionType `json:"type"`

	// True, False, or Unknown.
	// +required
	// +kubebuilder:validation:Enum=True;False;Unknown
	Status corev1.ConditionStatus `json:"status"`

	// Why, as one word.
	// +optional
	Reason string `json:"reason,omitempty"`

	// Why, as a sentence.
	// +optional
	Message string `json:"message,omitempty"`

	// When status, reason or message last changed.
	// +optional
	LastUpdateTime metav1.Time `json:"lastUpdateTime,omitempty,omitzero"`

	// When status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty,omitzero"`
}
