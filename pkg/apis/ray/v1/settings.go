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
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AuthenticationSpec enables Ray's token authentication.
type AuthenticationSpec struct {
	// Key of the Secret with the token that all nodes and clients must have. The Secret must exist in the namespace of the Ray; the operator reads it only for autoscaling, if a Role allows that. Requires Ray 2.52 or newer: older versions ignore it.
	// +required
	TokenSecretKeyRef SecretKeyReference `json:"tokenSecretKeyRef"`
}

// SecretKeyReference selects a key of a Secret in the namespace of the Ray.
type SecretKeyReference struct {
	// Name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",reason=FieldValueInvalid,message="must consist of lower case letters, digits, '-' or '.', and start and end with a letter or digit"
	Name string `json:"name"`

	// Key in the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",reason=FieldValueInvalid,message="must consist of letters, digits, '-', '_' or '.'"
	Key string `json:"key"`
}

// GCSSpec says where the GCS stores the state of the cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.volumeClaim) != has(self.redis)",reason=FieldValueInvalid,message="must have either volumeClaim or redis"
type GCSSpec struct {
	// A PersistentVolumeClaim for a database in the head. Requires Ray 2.57 or newer.
	// +optional
	VolumeClaim *VolumeClaimReference `json:"volumeClaim,omitempty"`

	// A Redis server.
	// +optional
	Redis *RedisSpec `json:"redis,omitempty"`
}

// VolumeClaimReference selects a PersistentVolumeClaim in the namespace of the Ray.
type VolumeClaimReference struct {
	// Name of the claim. It must exist and be writable for the user of the container. The operator never creates, changes or deletes it.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",reason=FieldValueInvalid,message="must consist of lower case letters, digits, '-' or '.', and start and end with a letter or digit"
	Name string `json:"name"`
}

// RedisSpec is a Redis server.
//
// +kubebuilder:validation:XValidation:rule="has(self.passwordSecretKeyRef) || !has(self.usernameSecretKeyRef)",fieldPath=".passwordSecretKeyRef",reason=FieldValueRequired,message="must be set with usernameSecretKeyRef"
type RedisSpec struct {
	// Address of the server: HOST:PORT, redis://HOST:PORT, or rediss://HOST:PORT for TLS.
	// +required
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="self.matches('^(rediss?://)?([-._a-zA-Z0-9]+|[[][:0-9a-fA-F]+[]]):[0-9]{1,5}$')",reason=FieldValueInvalid,message="must be HOST:PORT, redis://HOST:PORT or rediss://HOST:PORT; set a password in passwordSecretKeyRef"
	Address string `json:"address"`

	// Key of the Secret with the name of the user. Requires Ray 2.41 or newer.
	// +optional
	UsernameSecretKeyRef *SecretKeyReference `json:"usernameSecretKeyRef,omitempty"`

	// Key of the Secret with the password. The operator does not read it.
	// +optional
	PasswordSecretKeyRef *SecretKeyReference `json:"passwordSecretKeyRef,omitempty"`
}

// HeadServiceSpec has settings of the head's Service.
type HeadServiceSpec struct {
	// Type of the Service. NodePort and LoadBalancer expose all ports of the head outside of the cluster: set spec.authentication, too. Defaults to ClusterIP.
	// +optional
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	Type *corev1.ServiceType `json:"type,omitempty"`

	// Routes clients and workers also to a head that is not ready. Set it to true if the head becomes ready only with workers, such as by a probe of Ray Serve. Defaults to false.
	// +optional
	PublishNotReadyAddresses *bool `json:"publishNotReadyAddresses,omitempty"` //nolint:kubeapilinter // like that of a Service

	// Annotations of the Service, such as those that configure a load balancer.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, !name.startsWith('ray.kubeflow.org/'))",reason=FieldValueForbidden,message="must not have keys that begin with ray.kubeflow.org/, which is reserved for the operator"
	Annotations map[string]string `json:"annotations,omitempty"`

	// Labels of the Service.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, !name.startsWith('ray.kubeflow.org/'))",reason=FieldValueForbidden,message="must not have keys that begin with ray.kubeflow.org/, which is reserved for the operator"
	Labels map[string]string `json:"labels,omitempty"`
}

// WorkerStrategy says how a new template replaces workers, as the rolling update of a Deployment.
//
// +kubebuilder:validation:XValidation:rule="!(self.?maxUnavailable.orValue(1) in [dyn(0), dyn('0%')] && self.?maxSurge.orValue(0) in [dyn(0), dyn('0%')])",reason=FieldValueInvalid,message="must not have a maxUnavailable and a maxSurge of 0, since no worker could be replaced; raise one of them (maxSurge defaults to 0)"
type WorkerStrategy struct {
	// Number or percentage of workers that may be missing. Percentages are rounded down, but at least one worker is replaced at a time if maxSurge is 0. Defaults to 25%.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(0|[1-9][0-9]?|100)%$')",reason=FieldValueInvalid,message="must be a number that is not negative, or a percentage from 0% to 100%"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

	// Number or percentage of workers that may run in addition. Percentages are rounded up. Defaults to 0.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(0|[1-9][0-9]{0,2})%$')",reason=FieldValueInvalid,message="must be a number that is not negative, or a percentage"
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`
}

// AutoscalingSpec lets the demand of Ray decide how many workers a group has.
//
// +kubebuilder:validation:XValidation:rule="self.?minReplicas.orValue(0) <= self.maxReplicas",fieldPath=".maxReplicas",reason=FieldValueInvalid,message="must not be less than minReplicas, which defaults to 0; raise maxReplicas or lower minReplicas"
type AutoscalingSpec struct {
	// Minimum number of workers. Defaults to 0.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0",reason=FieldValueInvalid,message="must not be negative"
	MinReplicas *int32 `json:"minReplicas,omitempty"`

	// Maximum number of workers.
	// +required
	MaxReplicas int32 `json:"maxReplicas"`

	// Number of seconds after which a worker that nothing needs is removed. Defaults to 60.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 1",reason=FieldValueInvalid,message="must be at least 1; to keep idle workers, set minReplicas"
	IdleTimeoutSeconds *int32 `json:"idleTimeoutSeconds,omitempty"`
}

// Endpoints are addresses of the head's Service.
type Endpoints struct {
	// Address of the GCS, which nodes and drivers connect to.
	// +optional
	GCS string `json:"gcs,omitempty"`

	// URL of the dashboard and the job API.
	// +optional
	Dashboard string `json:"dashboard,omitempty"`

	// Address for Ray Client, as ray.init takes it.
	// +optional
	Client string `json:"client,omitempty"`

	// URL of Ray Serve.
	// +optional
	Serve string `json:"serve,omitempty"`
}
