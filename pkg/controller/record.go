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

package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// lastApplied is the record of what the operator last applied to a child. It is stored with the child,
// in the annotation AnnotationLastApplied, so that a restart of the operator changes nothing.
type lastApplied struct {
	// RayGeneration is the generation of the Ray that the child was last written for.
	RayGeneration int64 `json:"rayGeneration"`
	// Generation is the metadata.generation of a Deployment after the operator's last write. The API
	// server increments it with every change of the spec or the annotations. While it is unchanged, no
	// other client has changed the Deployment, and all differences are due to admission.
	Generation int64 `json:"generation,omitempty"`
	// Inputs is the hash of the user's inputs of the group.
	Inputs string `json:"inputs,omitempty"`
	// Rendering is the hash of what was rendered from them.
	Rendering string `json:"rendering,omitempty"`
	// Stored is the hash of the Pod template as the API server stored it, if that is not what was sent:
	// admission rewrote it, or the API server does not know a field. While the template has this hash,
	// no other client has changed it.
	Stored string `json:"stored,omitempty"`
	// TemplatePending is set while a new template of the user's waits until the head has rolled out.
	TemplatePending bool `json:"templatePending,omitempty"`
	// TemplateGeneration is the generation of the Ray for which a Deployment last got a new Pod template of the
	// user's, or was created or adopted.
	TemplateGeneration int64 `json:"templateGeneration,omitempty"`
	// NewWorkers has the names of the groups of workers that got a new template in the same change of the spec as
	// the head when this last got one. It is recorded on the head, since workers get theirs later.
	NewWorkers []string `json:"newWorkers,omitempty"`
	// WithHead is set while workers roll out that got a new template together with the head.
	WithHead bool `json:"withHead,omitempty"`
	// Replicas is the target of an autoscaled group, so that a restart of the operator does not change it.
	Replicas *int32 `json:"replicas,omitempty"`
	// AnnotationKeys and LabelKeys are the keys of what the user sets on a Service, or for Kueue on a
	// Deployment. Those that the user no longer sets are removed.
	AnnotationKeys []string `json:"annotationKeys,omitempty"`
	LabelKeys      []string `json:"labelKeys,omitempty"`
	// AdmissionOverride is the last update that admission changed back.
	AdmissionOverride *admissionOverride `json:"admissionOverride,omitempty"`
}

// admissionOverride is a difference between what the operator sent and what admission stored. The
// operator accepts the stored values, and does not send the same update again.
type admissionOverride struct {
	// Accepted is a JSON merge patch with the values that admission set.
	Accepted json.RawMessage `json:"accepted,omitempty"`
	// Desired is a JSON merge patch with the values that the operator sent.
	Desired json.RawMessage `json:"desired,omitempty"`
	// Hash replaces the patches if they exceed maxOverride.
	Hash string `json:"hash,omitempty"`
}

// maxOverride is the length limit, in bytes, of each patch in an admissionOverride: annotations
// have a limit of 256 KiB in total.
const maxOverride = 4096

// readLastApplied returns the record of a child. It is zero if there is none or it is invalid.
func readLastApplied(child metav1.Object) lastApplied {
	var r lastApplied
	value, found := child.GetAnnotations()[rayv1.AnnotationLastApplied]
	if !found || json.Unmarshal([]byte(value), &r) != nil {
		return lastApplied{}
	}
	return r
}

// writeTo stores the record in a child. It replaces the child's map of annotations.
func (r *lastApplied) writeTo(child metav1.Object) {
	annotation := map[string]string{rayv1.AnnotationLastApplied: string(encode(r))}
	child.SetAnnotations(labels.Merge(child.GetAnnotations(), annotation))
}

// isValid returns whether a child was last written for a generation that its Ray has had. Otherwise
// the cached Ray is stale, or another client has changed the record.
func (r *lastApplied) isValid(ray *rayv1.Ray) bool {
	return 0 < r.RayGeneration && r.RayGeneration <= ray.Generation
}

// differsInRollout returns whether a record differs from another one in what no other part of a Deployment shows.
func (r *lastApplied) differsInRollout(other *lastApplied) bool {
	return !ptr.Equal(r.Replicas, other.Replicas) || r.TemplateGeneration != other.TemplateGeneration || r.WithHead != other.WithHead
}

// isOwnChange returns whether an update changes what the operator itself wrote for the same generation of
// the Ray: a template that waited for the head, the strategy of a rollout that is complete, the target of an autoscaled
// group, or what another version of the operator rendered.
func isOwnChange(recorded *lastApplied, next metav1.Object, diff []string) bool {
	current := readLastApplied(next)
	waited := recorded.TemplatePending && current.Inputs != recorded.Inputs
	upgraded := recorded.Rendering != "" && current.Rendering != recorded.Rendering && !slices.Contains(diff, partTemplate)
	scaled := !ptr.Equal(current.Replicas, recorded.Replicas)
	rolledOut := recorded.WithHead && !current.WithHead
	return waited || upgraded || scaled || rolledOut
}

// withoutRecord returns annotations without the record.
func withoutRecord(annotations map[string]string) map[string]string {
	others := maps.Clone(annotations)
	delete(others, rayv1.AnnotationLastApplied)
	return others
}

// equals returns whether two records are the same.
func (r *lastApplied) equals(other *lastApplied) bool {
	return string(encode(r)) == string(encode(other))
}

// overrides returns whether the record has this admissionOverride.
func (r *lastApplied) overrides(override *admissionOverride) bool {
	return r.AdmissionOverride != nil && string(encode(r.AdmissionOverride)) == string(encode(override))
}

// newOverride returns the difference between what is stored and what was sent. Fields that are equal
// have no influence, such as one that admission sets anew at each write.
func newOverride[T any](stored, sent T) *admissionOverride {
	override := &admissionOverride{Accepted: mergePatch(sent, stored), Desired: mergePatch(stored, sent)}
	if len(override.Accepted) > maxOverride || len(override.Desired) > maxOverride {
		return &admissionOverride{Hash: resources.Hash(override)}
	}
	return override
}

// mergePatch returns the JSON merge patch from one object to another.
func mergePatch[T any](from, to T) []byte {
	patch, err := jsonpatch.CreateMergePatch(encode(from), encode(to))
	if err != nil {
		panic(fmt.Sprintf("comparing two JSON objects: %v", err))
	}
	return patch
}

// encode returns the JSON encoding of a value.
func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", value, err)) // as in resources.Hash
	}
	return data
}
