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
	"regexp"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func TestAcceptLikeDeployment(t *testing.T) {
	for _, test := range []struct{ name, field, schema, want string }{
		{"a default", "protocol", `{type: string, default: TCP}`, `{type: string}`},
		{
			"a default in a list", "volumes",
			`{type: array, x-kubernetes-list-type: atomic, items: {type: object, required: [name], properties: {fsType: {type: string, default: ext4}}}}`,
			`{type: array, items: {type: object, required: [name], properties: {fsType: {type: string, nullable: true}}}}`,
		},
		{
			"fields that can be null", "spec",
			`{type: object, required: [containers], properties: {containers: {type: array}, restartPolicy: {type: string}, volumes: {type: array}}}`,
			`{type: object, required: [containers], properties: {containers: {type: array}, restartPolicy: {type: string}, volumes: {type: array, nullable: true}}}`,
		},
		{
			"the metadata of a claim", "volumeClaimTemplate",
			`{type: object, properties: {metadata: {type: object, properties: {}}}}`,
			`{type: object, properties: {metadata: {type: object, nullable: true, properties: {creationTimestamp: {type: string, format: date-time, nullable: true, pattern: '` + timestamp + `'}}}}}`,
		},
		{
			"a list of strings", "args",
			`{type: array, x-kubernetes-list-type: atomic, items: {type: string}}`,
			`{type: array, items: {type: string, nullable: true}}`,
		},
		{"a set", "values", `{type: array, x-kubernetes-list-type: set, items: {type: integer}}`, `{type: array, items: {type: integer, nullable: true}}`},
		{
			"a map that rejects duplicates", "containers",
			`{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name]}}`,
			`{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name]}}`,
		},
		{
			"a map that accepts duplicates", "env",
			`{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name]}}`,
			`{type: array, items: {type: object, required: [name]}}`,
		},
		{
			"null in a map", "nodeSelector",
			`{type: object, additionalProperties: {type: string}}`,
			`{type: object, additionalProperties: {type: string, nullable: true}}`,
		},
		{
			"a field that a Deployment does not require", "scaleIO",
			`{type: object, required: [gateway, secretRef], properties: {secretRef: {type: object}}}`,
			`{type: object, required: [gateway], properties: {secretRef: {type: object, nullable: true}}}`,
		},
		{
			"a field of an item that a Deployment does not require", "httpHeaders",
			`{type: array, items: {type: object, required: [name, value]}}`,
			`{type: array, items: {type: object, required: [name]}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			schema, want := decodeSchema(t, test.schema), decodeSchema(t, test.want)
			acceptLikeDeployment(test.field, schema)
			if got, want := encode(t, schema), encode(t, want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func decodeSchema(t *testing.T, text string) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	var schema apiextensionsv1.JSONSchemaProps
	if err := yaml.UnmarshalStrict([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	return &schema
}

func encode(t *testing.T, schema *apiextensionsv1.JSONSchemaProps) string {
	t.Helper()
	data, err := yaml.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAcceptMetadata(t *testing.T) {
	metadata := decodeSchema(t, `{type: object, properties: {labels: {type: object}}}`)
	acceptMetadata(metadata)
	for _, name := range []string{"labels", "creationTimestamp", "ownerReferences", "uid"} {
		if _, found := metadata.Properties[name]; !found {
			t.Errorf("metadata.%s is not declared", name)
		}
	}
}

func TestRestrict(t *testing.T) {
	schema := decodeSchema(t, `{type: object, properties: {
		port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]},
		limits: {type: object, additionalProperties: {x-kubernetes-int-or-string: true, pattern: x, anyOf: [{type: integer}, {type: string}]}},
		list: {type: array, items: {description: text, x-kubernetes-int-or-string: true, pattern: x}}}}`)
	restrict(schema)
	port := schema.Properties["port"]
	if !port.XIntOrString || *port.Minimum != -1<<31 || *port.Maximum != 1<<31-1 {
		t.Errorf("the schema of an IntOrString is %v", port)
	}
	limit, item := schema.Properties["limits"].AdditionalProperties.Schema, schema.Properties["list"].Items.Schema
	for _, quantity := range []*apiextensionsv1.JSONSchemaProps{limit, item} {
		if quantity.XIntOrString || quantity.XPreserveUnknownFields == nil || quantity.Type != "" || *quantity.Maximum != maxQuantity {
			t.Errorf("the schema of a quantity is %v", quantity)
		}
	}
	if item.Description != "text" {
		t.Errorf("the description of a quantity is %q, want it unchanged", item.Description)
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern string
		text    string
		want    bool
	}{
		{quantity, "1", true},
		{quantity, "0.5", true},
		{quantity, ".5", true},
		{quantity, "1.", true},
		{quantity, "+1Gi", true},
		{quantity, "-1", true},
		{quantity, "500m", true},
		{quantity, "1e9", true},
		{quantity, "1E-99", true},
		{quantity, " 1 ", true},
		{quantity, "", false},
		{quantity, ".", false},
		{quantity, "1 Gi", false},
		{quantity, "1GB", false},
		{quantity, "1K", false},
		{quantity, "1e100", false},
		{quantity, "1e1.5", false},
		{quantity, "1\n", false},
		{timestamp, "2026-01-02T03:04:05Z", true},
		{timestamp, "2026-01-02T03:04:05.678+01:00", true},
		{timestamp, "2026-01-02T03:04:05", false},
		{timestamp, "2026-01-02", false},
	} {
		if got := regexp.MustCompile(test.pattern).MatchString(test.text); got != test.want {
			t.Errorf("%q matches %s: %t, want %t", test.text, test.pattern, got, test.want)
		}
	}
}
