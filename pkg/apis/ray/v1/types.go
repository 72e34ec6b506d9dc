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

package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Ray is a Ray cluster: one head node and any number of worker nodes.
//
// The names of the Service and the Deployments are derived from the name of the Ray. The longest
// suffix of a Service name is "-head", and a Service name is a DNS-1035 label of at most 63
// characters, hence the limit of 58.
//
// +genclient
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:resource:path=rays,singular=ray,scope=Namespaced,shortName=ry,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.worker.replicas,statuspath=.status.worker.replicas,selectorpath=.status.worker.selector
// +kubebuilder:printcolumn:name="Head",type=integer,JSONPath=".status.head.readyReplicas",description="Number of ready head nodes."
// +kubebuilder:printcolumn:name="Workers",type=integer,JSONPath=".status.readyWorkerReplicas",description="Number of ready workers."
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=".status.desiredWorkerReplicas",description="Number of desired workers."
// +kubebuilder:printcolumn:name="Health",type=string,JSONPath=".status.conditions[?(@.type=='Health')].status",description="True if all desired nodes are up to date and available."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Updated",type=integer,JSONPath=".status.updatedWorkerReplicas",priority=1,description="Number of workers with the current template."
// +kubebuilder:printcolumn:name="Available",type=integer,JSONPath=".status.availableWorkerReplicas",priority=1,description="Number of available workers."
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=".status.conditions[?(@.type=='Health')].reason",priority=1,description="Reason of the condition Health."
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=".status.conditions[?(@.type=='Health')].message",priority=1,description="Message of the condition Health."
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",fieldPath=".metadata.name",reason=FieldValueInvalid,message="must be a DNS-1035 label, since a Service is named after it: it must consist of lower case letters, digits or '-', start with a letter and end with a letter or digit"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 58",fieldPath=".metadata.name",reason=FieldValueInvalid,message="must be no more than 58 characters: the name of the head's Service is this name and '-head', and is limited to 63"
type Ray struct {
	metav1.TypeMeta `json:",inline"`

	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Desired state.
	// +required
	Spec RaySpec `json:"spec"`

	// Observed state. Written by the operator only. The default makes kstatus (Flux, helm --wait)
	// treat a Ray without a status as in progress.
	// +optional
	// +default={"observedGeneration":-1}
	Status RayStatus `json:"status,omitempty,omitzero"`
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

// RaySpec is the desired state of a Ray cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.gcs) == has(oldSelf.gcs) && (!has(self.gcs) || self.gcs == oldSelf.gcs)",fieldPath=".gcs",reason=FieldValueForbidden,message="must not be added, changed or removed, since another storage is another cluster; create another Ray"
type RaySpec struct {
	// Suspends the Ray: all its Deployments have 0 replicas. Its Service, its templates and the replicas in its spec remain, so that it resumes with false as it was. Defaults to false.
	// +optional
	Suspend *bool `json:"suspend,omitempty"` //nolint:kubeapilinter // like that of a Job

	// The head node.
	// +required
	Head HeadSpec `json:"head"`

	// The workers that the scale subresource scales. Without worker and workerGroups, the cluster consists of the head only.
	// +optional
	Worker *WorkerSpec `json:"worker,omitempty"`

	// Further groups of workers, each with a template of its own, such as one for nodes with GPUs.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	WorkerGroups []WorkerGroup `json:"workerGroups,omitempty"`

	// Authentication of clients and nodes. If omitted, anyone who can reach a port of the cluster can run code in it.
	// +optional
	Authentication *AuthenticationSpec `json:"authentication,omitempty"`

	// Where the GCS stores the state of the cluster, so that the cluster survives the loss of its head. If omitted, the GCS keeps it in memory. Cannot be changed.
	// +optional
	GCS *GCSSpec `json:"gcs,omitempty"`

	// Settings of the head's Service. By default it is reachable from within the cluster only.
	// +optional
	HeadService *HeadServiceSpec `json:"headService,omitempty"`
}

// HeadSpec is the desired state of the head node.
//
// +kubebuilder:validation:XValidation:rule="!has(self.start) || !has(self.template.spec) || !has(self.template.spec.containers) || size(self.template.spec.containers) == 0 || size(self.template.spec.containers[0].?command.orValue([])) + size(self.template.spec.containers[0].?args.orValue([])) == 0",fieldPath=".start",reason=FieldValueForbidden,message="must be omitted if the first container has command or args: it configures the ray start command that the operator generates; remove start, or command and args"
type HeadSpec struct {
	// Number of desired head nodes, 0 or 1. Defaults to 1. With 0 the Ray is suspended: workers cannot run without a head.
	// +optional
	// +default=1
	// +kubebuilder:validation:XValidation:rule="self == 0 || self == 1",reason=FieldValueInvalid,message="must be 0 or 1: two heads behind one Service are two clusters; to add nodes, set spec.worker.replicas"
	Replicas *int32 `json:"replicas,omitempty"`

	// Settings of the ray start command that the operator generates if the first container has neither command nor args.
	// +optional
	Start *StartSpec `json:"start,omitempty"`

	// Template of the head's Pod. Labels under ray.kubeflow.org and the variables RAY_HEAD_SERVICE, RAY_NODE_IP and MY_POD_IP are added. If the first container has neither command nor args, the operator generates ray start.
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.spec) && has(self.spec.containers) && size(self.spec.containers) > 0",fieldPath=".spec",reason=FieldValueInvalid,message="must have at least one container under containers: the first one runs Ray"
	// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.restartPolicy) || self.spec.restartPolicy == 'Always'",fieldPath=".spec",reason=FieldValueInvalid,message="restartPolicy must be Always or omitted: Ray nodes are Pods of a Deployment"
	Template corev1.PodTemplateSpec `json:"template"`
}

// WorkerSpec is the desired state of the workers.
//
// +kubebuilder:validation:XValidation:rule="!has(self.start) || !has(self.template.spec) || !has(self.template.spec.containers) || size(self.template.spec.containers) == 0 || size(self.template.spec.containers[0].?command.orValue([])) + size(self.template.spec.containers[0].?args.orValue([])) == 0",fieldPath=".start",reason=FieldValueForbidden,message="must be omitted if the first container has command or args: it configures the ray start command that the operator generates; remove start, or command and args"
type WorkerSpec struct {
	// Number of desired workers. Defaults to 1. With autoscaling, it is the number at creation, and later changes have no effect.
	// +optional
	// +default=1
	// +kubebuilder:validation:XValidation:rule="self >= 0",reason=FieldValueInvalid,message="must not be negative"
	Replicas *int32 `json:"replicas,omitempty"`

	// Lets the demand of Ray decide how many workers there are: its tasks, actors and placement groups.
	// +optional
	Autoscaling *AutoscalingSpec `json:"autoscaling,omitempty"`

	// How a new template replaces the workers.
	// +optional
	Strategy *WorkerStrategy `json:"strategy,omitempty"`

	// Settings of the ray start command that the operator generates if the first container has neither command nor args.
	// +optional
	Start *StartSpec `json:"start,omitempty"`

	// Template of the workers' Pods. Labels under ray.kubeflow.org and the variables RAY_HEAD_SERVICE, RAY_NODE_IP and MY_POD_IP are added. If the first container has neither command nor args, the operator generates ray start.
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.spec) && has(self.spec.containers) && size(self.spec.containers) > 0",fieldPath=".spec",reason=FieldValueInvalid,message="must have at least one container under containers: the first one runs Ray"
	// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.restartPolicy) || self.spec.restartPolicy == 'Always'",fieldPath=".spec",reason=FieldValueInvalid,message="restartPolicy must be Always or omitted: Ray nodes are Pods of a Deployment"
	Template corev1.PodTemplateSpec `json:"template"`
}

// WorkerGroup is the desired state of a further group of workers.
type WorkerGroup struct {
	// Name of the group, at most 20 characters. Its Deployment is named <ray>-worker-<name>.
	// +required
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",reason=FieldValueInvalid,message="must be a DNS-1123 label: it must consist of lower case letters, digits or '-', and start and end with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="!(self in ['head', 'worker'])",reason=FieldValueInvalid,message="must not be head or worker, which are the names of the groups spec.head and spec.worker: choose another name"
	Name string `json:"name"`

	WorkerSpec `json:",inline"`
}

// StartSpec has settings of the ray start command that the operator generates for a group.
type StartSpec struct {
	// Resources that Ray may schedule on each node, such as CPU, GPU, memory, object_store_memory or a name of your own. Values are whole numbers, such as 4 or 2Gi. By default they are those of the first container.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, !name.startsWith('node:'))",reason=FieldValueInvalid,message="must not begin with node:, which is reserved for Ray"
	Resources map[string]resource.Quantity `json:"resources,omitempty"`

	// Labels of each node, which tasks and actors can select.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, name != '' && size(name) <= 317)",reason=FieldValueInvalid,message="must have keys of 1 to 317 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(name, !name.startsWith('ray.io/'))",reason=FieldValueInvalid,message="must not have keys that begin with ray.io/, which is reserved for Ray"
	Labels map[string]string `json:"labels,omitempty"`

	// Additional arguments of ray start, such as --plasma-directory=/data. An argument replaces the generated one with the same flag.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.all(arg, arg.startsWith('--'))",reason=FieldValueInvalid,message="must be flags that begin with --, with their value in the same item: --flag=value"
	// +kubebuilder:validation:XValidation:rule="[self.map(arg, arg.split('=', 2)[0])].all(flags, flags.all(flag, flags.exists_one(other, other == flag)))",reason=FieldValueInvalid,message="must not contain a flag twice: remove one of them"
	// +kubebuilder:validation:XValidation:rule="self.all(arg, !(arg.split('=', 2)[0] in ['--num-cpus', '--num-gpus', '--memory', '--object-store-memory', '--resources', '--labels', '--labels-file']))",reason=FieldValueForbidden,message="must not set resources or labels: set start.resources or start.labels instead"
	// +kubebuilder:validation:XValidation:rule="self.all(arg, !(arg.split('=', 2)[0] in ['--head', '--block', '--address', '--port', '--node-ip-address', '--node-name', '--node-manager-port', '--dashboard-agent-listen-port']))",reason=FieldValueForbidden,message="must not contain --head, --block, --address, --port, --node-ip-address, --node-name, --node-manager-port or --dashboard-agent-listen-port, which the operator sets: remove them, or write a command of your own"
	Args []string `json:"args,omitempty"`
}

// RayStatus is the observed state of a Ray cluster.
type RayStatus struct {
	// Generation of the Ray that this status was computed for. -1 before the first status.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Time of the first status update.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// Time of the last status update. Does not change in the steady state.
	// +optional
	LastReconcileTime *metav1.Time `json:"lastReconcileTime,omitempty"`

	// Observed state of the head node.
	// +optional
	Head HeadStatus `json:"head,omitempty,omitzero"`

	// Observed state of the workers in spec.worker. Absent if there are none.
	// +optional
	Worker *WorkerStatus `json:"worker,omitempty"`

	// Observed state of the worker groups.
	// +optional
	// +listType=map
	// +listMapKey=name
	WorkerGroups []WorkerGroupStatus `json:"workerGroups,omitempty"`

	// Number of desired workers, over worker and all worker groups; 0 while the Ray is suspended. Absent if the Ray has no workers, like the other totals.
	// +optional
	DesiredWorkerReplicas *int32 `json:"desiredWorkerReplicas,omitempty"`

	// Number of workers with the current template, over worker and all worker groups.
	// +optional
	UpdatedWorkerReplicas *int32 `json:"updatedWorkerReplicas,omitempty"`

	// Number of ready workers, over worker and all worker groups.
	// +optional
	ReadyWorkerReplicas *int32 `json:"readyWorkerReplicas,omitempty"`

	// Number of available workers, over worker and all worker groups.
	// +optional
	AvailableWorkerReplicas *int32 `json:"availableWorkerReplicas,omitempty"`

	// Addresses of the head's Service, as clients in the cluster use them. Each is absent if the Service does not have the port.
	// +optional
	Endpoints Endpoints `json:"endpoints,omitempty,omitzero"`

	// Health, Ready, Suspended, those of autoscaling, and the conditions of the Deployments.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []RayCondition `json:"conditions,omitempty"`
}

// ReplicaCounts are the numbers of Pods of a group, as its Deployment reports them.
type ReplicaCounts struct {
	// Number of Pods.
	// +optional
	Replicas int32 `json:"replicas"`

	// Number of Pods with the current template.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas"`

	// Number of ready Pods.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`

	// Number of available Pods: ready for at least the Deployment's minReadySeconds.
	// +optional
	AvailableReplicas int32 `json:"availableReplicas"`

	// Number of Pods that are still required for the group to be available. Omitted if 0.
	// +optional
	UnavailableReplicas int32 `json:"unavailableReplicas,omitempty"`
}

// HeadStatus is the observed state of the head node.
type HeadStatus struct {
	ReplicaCounts `json:",inline"`
}

// WorkerStatus is the observed state of the workers.
type WorkerStatus struct {
	ReplicaCounts `json:",inline"`

	// Number of desired workers. Only with autoscaling; otherwise it is spec.worker.replicas.
	// +optional
	DesiredReplicas *int32 `json:"desiredReplicas,omitempty"`

	// Label selector of the workers' Pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
}

// WorkerGroupStatus is the observed state of a worker group.
type WorkerGroupStatus struct {
	// Name of the group.
	// +required
	Name string `json:"name"`

	ReplicaCounts `json:",inline"`

	// Number of desired workers. Only with autoscaling; otherwise it is replicas in the spec.
	// +optional
	DesiredReplicas *int32 `json:"desiredReplicas,omitempty"`
}

// RayConditionType is the type of a condition of a Ray.
type RayConditionType string

const (
	// RayHealth is True if, for every group, the Deployment controller has observed the newest
	// generation of the Deployment, all desired replicas are updated and available, and no old ones
	// are left. It remains True until a Pod or the Ray changes.
	RayHealth RayConditionType = "Health"
	// RayReady always equals RayHealth. It is the name that kstatus (Flux, Helm, Argo CD) and
	// users of kubectl wait expect.
	RayReady RayConditionType = "Ready"

	// RaySuspended is True if the Ray is suspended and has no Pods. It is False while they terminate, and after
	// the Ray has resumed. A Ray that was never suspended does not have it.
	RaySuspended RayConditionType = "Suspended"

	// RayScalingActive is True if the demand of Ray decides how many workers the autoscaled groups have. If it is
	// False, they keep the number that they have, or those do that the message names. Like the other two conditions about autoscaling, it is absent
	// from a Ray without autoscaled groups.
	RayScalingActive RayConditionType = "ScalingActive"
	// RayScalingLimited is True if the demand needs more workers than maxReplicas of a group allows.
	RayScalingLimited RayConditionType = "ScalingLimited"
	// RayInfeasibleDemand is True if there is demand that no worker of any group can ever satisfy.
	RayInfeasibleDemand RayConditionType = "InfeasibleDemand"

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

// RayCondition is a condition of a Ray. Like a DeploymentCondition, and unlike a
// metav1.Condition, it has two times.
type RayCondition struct {
	// Type of the condition.
	// +required
	Type RayConditionType `json:"type"`

	// Status of the condition: True, False or Unknown.
	// +required
	// +kubebuilder:validation:Enum=True;False;Unknown
	Status corev1.ConditionStatus `json:"status"`

	// Generation of the Ray that the condition was computed for.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Machine-readable reason of the status, in CamelCase.
	// +optional
	Reason string `json:"reason,omitempty"`

	// Human-readable details.
	// +optional
	Message string `json:"message,omitempty"`

	// Last time the status, reason or message changed.
	// +optional
	LastUpdateTime metav1.Time `json:"lastUpdateTime,omitempty,omitzero"`

	// Last time the status changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty,omitzero"`
}
