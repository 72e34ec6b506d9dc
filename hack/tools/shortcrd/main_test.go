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

package main

import (
	"bytes"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const long = "The first sentence. The second,\nwhich is cut."

// newCRD returns a CRD with all fields that shortcrd requires, and a description everywhere.
func newCRD() *apiextensionsv1.CustomResourceDefinition {
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Description: long, Properties: properties}
	}
	list := func(item apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "array", Description: long, Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &item}}
	}
	container := object(map[string]apiextensionsv1.JSONSchemaProps{
		"image":     {Type: "string", Description: long},
		"resources": object(map[string]apiextensionsv1.JSONSchemaProps{"limits": {Type: "object", Description: long}}),
	})
	values := func(value apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Schema: &value}}
	}
	group := object(map[string]apiextensionsv1.JSONSchemaProps{
		"start": object(map[string]apiextensionsv1.JSONSchemaProps{
			"resources": values(apiextensionsv1.JSONSchemaProps{XIntOrString: true, Pattern: "x"}),
			"labels":    values(apiextensionsv1.JSONSchemaProps{Type: "string"}),
			"args":      list(apiextensionsv1.JSONSchemaProps{Type: "string"}),
		}),
		"template": object(map[string]apiextensionsv1.JSONSchemaProps{
			"metadata": object(map[string]apiextensionsv1.JSONSchemaProps{"labels": {Type: "object"}}),
			"spec": object(map[string]apiextensionsv1.JSONSchemaProps{
				"containers":     list(container),
				"initContainers": list(*container.DeepCopy()),
			}),
		}),
	})
	ray := object(map[string]apiextensionsv1.JSONSchemaProps{
		"metadata": {Type: "object"},
		"spec": object(map[string]apiextensionsv1.JSONSchemaProps{
			"head": group, "worker": *group.DeepCopy(), "workerGroups": list(*group.DeepCopy()),
		}),
	})
	return &apiextensionsv1.CustomResourceDefinition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name:   "v1",
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &ray},
		}},
	}}
}

func runOn(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) (*apiextensionsv1.JSONSchemaProps, error) {
	t.Helper()
	in, err := yaml.Marshal(crd)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(bytes.NewReader(in), &out); err != nil {
		return nil, err
	}
	var finished apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(out.Bytes(), &finished); err != nil {
		t.Fatal(err)
	}
	return finished.Spec.Versions[0].Schema.OpenAPIV3Schema, nil
}

func TestRun(t *testing.T) {
	ray, err := runOn(t, newCRD())
	if err != nil {
		t.Fatal(err)
	}
	if ray.Properties["metadata"].Properties["name"].Type != "string" {
		t.Error("metadata.name is not declared")
	}
	for _, group := range []string{"head", "worker", "workerGroups"} {
		schema := ray.Properties["spec"].Properties[group]
		if schema.Items != nil {
			schema = *schema.Items.Schema
		}
		if schema.Description != long {
			t.Errorf("%s: description outside of the Pod template is %q, want it unchanged", group, schema.Description)
		}
		start := schema.Properties["start"].Properties
		if got := start["resources"].AdditionalProperties.Schema; !got.XIntOrString || got.Minimum == nil || *got.Minimum != 0 {
			t.Errorf("%s: the schema of a resource of start is %v, want an integer or string of at least 0", group, got)
		}
		if got := start["args"].MaxItems; (got != nil) != (group == "workerGroups") {
			t.Errorf("%s: the number of arguments of start is limited to %v", group, got)
		}
		if got := start["labels"].AdditionalProperties.Schema.MaxLength; got == nil || *got != 63 {
			t.Errorf("%s: the length of a label of start is limited to %v, want 63", group, got)
		}
		if got := schema.Properties["template"].Description; !strings.HasPrefix(got, "The first sentence.") {
			t.Errorf("%s: description of the Pod template is %q, want the first sentence", group, got)
		}
		podSpec := schema.Properties["template"].Properties["spec"]
		if got := podSpec.Properties["ephemeralContainers"]; got.Type != "array" || len(got.XValidations) != 1 {
			t.Errorf("%s: the schema of ephemeral containers is %v, want one that accepts none", group, got)
		}
		for _, name := range []string{"containers", "initContainers"} {
			container := podSpec.Properties[name].Items.Schema
			if got, want := container.Properties["image"].Description, map[string]string{"worker": "The first sentence."}[group]; got != want {
				t.Errorf("%s: description of the image in %s is %q, want %q", group, name, got, want)
			}
			resources := container.Properties["resources"]
			if resources.XPreserveUnknownFields == nil || !*resources.XPreserveUnknownFields {
				t.Errorf("%s: unknown keys in the resources in %s are rejected", group, name)
			}
			if got := resources.Properties["limits"].Description; got != "" {
				t.Errorf("%s: description below the fields of a container is %q, want none", group, got)
			}
		}
	}
}

func TestRunWithMissingSchema(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(spec map[string]apiextensionsv1.JSONSchemaProps)
		want   string
	}{
		{"no workers", func(spec map[string]apiextensionsv1.JSONSchemaProps) { delete(spec, "worker") }, "no schema for spec.worker"},
		{"no start", func(spec map[string]apiextensionsv1.JSONSchemaProps) { delete(spec["head"].Properties, "start") }, "spec.head: no schema for start"},
		{"no labels", func(spec map[string]apiextensionsv1.JSONSchemaProps) {
			delete(spec["head"].Properties["start"].Properties, "labels")
		}, "no schema for the values of resources or labels"},
		{"no template", func(spec map[string]apiextensionsv1.JSONSchemaProps) { delete(spec["head"].Properties, "template") }, "spec.head: no schema for template"},
		{"no metadata", func(spec map[string]apiextensionsv1.JSONSchemaProps) {
			delete(spec["head"].Properties["template"].Properties, "metadata")
		}, "spec.head: no schema for template.metadata"},
		{"no resources", func(spec map[string]apiextensionsv1.JSONSchemaProps) {
			delete(spec["head"].Properties["template"].Properties["spec"].Properties["containers"].Items.Schema.Properties, "resources")
		}, "no schema for a container's resources"},
	} {
		t.Run(test.name, func(t *testing.T) {
			crd := newCRD()
			test.change(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties)
			if _, err := runOn(t, crd); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}
