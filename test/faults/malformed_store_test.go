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

package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

const crdPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rays.ray.kubeflow.org"

// storeMalformed stores the malformed Rays under a schema without validation, and then restores the
// shipped schema. It runs before all cases, since the schema applies to the whole cluster.
func storeMalformed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := malformed.createNamespace(ctx); err != nil {
		return err
	}
	shipped, err := kube.CoreV1().RESTClient().Get().AbsPath(crdPath).Do(ctx).Raw()
	if err != nil {
		return err
	}
	var crd struct {
		Spec struct {
			Versions []json.RawMessage `json:"versions"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(shipped, &crd); err != nil {
		return err
	}
	// Without the status subresource, the status is stored as sent.
	const withoutValidation = `{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`
	if err := replaceVersion(ctx, []byte(withoutValidation)); err != nil {
		return err
	}
	probe := &malformedRay{name: "probe", content: map[string]any{"spec": 7, "status": "x"}}
	if err := poll(ctx, func() error { return probe.store(ctx) }); err != nil {
		return fmt.Errorf("the schema without validation is not in effect: %w", err)
	}
	valid := &malformedRay{name: validRay, content: map[string]any{"spec": validSpec}}
	if err := valid.store(ctx); err != nil {
		return err
	}
	for i := range malformedCount {
		if err := newMalformed(i).store(ctx); err != nil {
			return err
		}
	}

	if err := replaceVersion(ctx, crd.Spec.Versions[0]); err != nil {
		return err
	}
	probe.name = "late-probe"
	return poll(ctx, func() error {
		err := probe.store(ctx)
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return nil
		}
		probe.name += "-x"
		return fmt.Errorf("the shipped schema is not in effect: %w", err)
	})
}

// replaceVersion replaces the only version of the CustomResourceDefinition.
func replaceVersion(ctx context.Context, version []byte) error {
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/spec/versions/0","value":%s}]`, version)
	return kube.CoreV1().RESTClient().Patch(types.JSONPatchType).AbsPath(crdPath).Body(patch).Do(ctx).Error()
}

// store creates the Ray.
func (m *malformedRay) store(ctx context.Context) error {
	body := map[string]any{"apiVersion": "ray.kubeflow.org/v1", "kind": "Ray", "metadata": map[string]any{"name": m.name}}
	maps.Copy(body, m.content)
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	err = rays.RayV1().RESTClient().Post().Namespace(malformed.namespace).Resource("rays").Body(data).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("storing Ray %q: %w", m.name, err)
	}
	return nil
}
