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
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// optional has fields that controller-gen requires, by the name of the field with the object. The
// API server accepts a Deployment without them.
var optional = map[string]string{
	"preferredDuringSchedulingIgnoredDuringExecution": "preference",
	"httpHeaders": "value",
	"iscsi":       "lun",
	"scaleIO":     "secretRef",
	"sleep":       "seconds",
	"sysctls":     "value",
}

// duplicable has the lists of type map, by the name of their field, in which a Deployment accepts
// duplicate keys.
var duplicable = []string{"claims", "env", "hostAliases", "imagePullSecrets", "ports"}

// notNullable has fields that validation rules use, and one that a Deployment refuses, by the names of
// the field with the object and of the field.
var notNullable = []string{"template.spec", "spec.restartPolicy", "spec.ephemeralContainers"}

// acceptLikeDeployment changes the schema of a Pod template, which is in the field name, to accept
// what a Deployment accepts, with the same meaning:
//
//   - There are no defaults. The API server defaults the Pod template of the Deployment. A default
//     inside a list would also make every kubectl apply write the Ray.
//   - null is the zero value, in lists and in maps as well. It is stored, since server-side apply rejects
//     null in a field that is not nullable.
//   - Duplicates are accepted where a Deployment accepts them. A list of type map or set rejects them.
//
// Lists without a type are atomic, so this type is omitted.
func acceptLikeDeployment(name string, schema *apiextensionsv1.JSONSchemaProps) {
	schema.Default = nil
	if claim, found := schema.Properties["metadata"]; found && name == "volumeClaimTemplate" {
		claim.Properties["creationTimestamp"] = timeSchema()
	}
	if field, found := optional[name]; found {
		schema.Required = slices.DeleteFunc(schema.Required, func(required string) bool { return required == field })
	}
	for property, value := range schema.Properties {
		acceptLikeDeployment(property, &value)
		value.Nullable = !slices.Contains(schema.Required, property) && !slices.Contains(notNullable, name+"."+property)
		schema.Properties[property] = value
	}
	if schema.Items != nil {
		item := schema.Items.Schema
		acceptLikeDeployment(name, item)
		if listType := schema.XListType; listType != nil && (*listType != "map" || slices.Contains(duplicable, name)) {
			schema.XListType, schema.XListMapKeys = nil, nil
		}
		// An item of a map cannot be null. null for an object with required fields lacks them.
		if schema.XListType == nil && len(item.Required) == 0 {
			item.Nullable = true
		}
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		acceptLikeDeployment(name, schema.AdditionalProperties.Schema)
		schema.AdditionalProperties.Schema.Nullable = true
	}
}

// timestamp matches what metav1.Time decodes, among what the format date-time accepts.
const timestamp = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`

// acceptMetadata declares the fields of metadata that have no effect in a Pod template. Some tools
// emit them, above all `creationTimestamp: null`, and a Deployment accepts them.
func acceptMetadata(metadata *apiextensionsv1.JSONSchemaProps) {
	str := apiextensionsv1.JSONSchemaProps{Type: "string"}
	integer := apiextensionsv1.JSONSchemaProps{Type: "integer", Format: "int64"}
	boolean := apiextensionsv1.JSONSchemaProps{Type: "boolean"}
	time := timeSchema()
	for name, schema := range map[string]apiextensionsv1.JSONSchemaProps{
		"creationTimestamp":          time,
		"deletionGracePeriodSeconds": integer,
		"deletionTimestamp":          time,
		"generateName":               str,
		"generation":                 integer,
		"ownerReferences": {Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{
			Type: "object",
			Properties: map[string]apiextensionsv1.JSONSchemaProps{
				"apiVersion": str, "blockOwnerDeletion": boolean, "controller": boolean, "kind": str, "name": str, "uid": str,
			},
		}}},
		"resourceVersion": str,
		"selfLink":        str,
		"uid":             str,
	} {
		schema.Nullable = true
		metadata.Properties[name] = schema
	}
}

// timeSchema returns the schema of a time in metadata.
func timeSchema() apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: "string", Format: "date-time", Pattern: timestamp, Nullable: true}
}

// quantity matches the strings that resource.Quantity decodes. The pattern of controller-gen also
// allows fractional exponents, and exponents that are too large.
const quantity = `^ *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})? *$`

// maxQuantity is the largest number that is accepted as a quantity: every integer up to it is an int64.
const maxQuantity = 9e18

// minQuantity is the smallest number above 0 that is accepted as a quantity: encoded as JSON, its
// exponent has two digits.
const minQuantity = 1e-99

// quantitySchema returns the schema of a quantity: a string, or a number, which may be a fraction. No
// type of a schema has these values, and a structural schema cannot have alternative types. So there is
// no type, and the other types are rejected by validations that no value of theirs can satisfy.
func quantitySchema(description string) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{
		Description:            description,
		XPreserveUnknownFields: new(true),
		Pattern:                quantity,
		Minimum:                new(0.0),
		Maximum:                new(maxQuantity),
		AnyOf:                  []apiextensionsv1.JSONSchemaProps{{Maximum: new(0.0)}, {Minimum: new(minQuantity)}},
		Not:                    &apiextensionsv1.JSONSchemaProps{Enum: []apiextensionsv1.JSON{{Raw: []byte("false")}, {Raw: []byte("true")}}},
		MinItems:               new(int64(1)),
		MaxItems:               new(int64(0)),
		MinProperties:          new(int64(1)),
		MaxProperties:          new(int64(0)),
	}
}
