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

// Command shortcrd post-processes the CustomResourceDefinition from controller-gen. It reads
// it from standard input and writes it to standard output, with changes that markers cannot
// make, since they are inside the types of Kubernetes:
//
//   - Descriptions in the workers' Pod template are cut to their first sentence, and removed below the
//     fields of a container. Those in the other Pod templates, which have the same fields, are removed.
//     So is the schema of ephemeral containers, which a Deployment refuses. Otherwise the CRD would
//     exceed the 262,144 bytes that client-side kubectl apply can store in its annotation.
//   - Unknown keys in a container's resources are accepted. Existing manifests contain `limit:`
//     instead of `limits:`; a policy warns about it (manifests/policy).
//   - The start of a worker group accepts fewer arguments, since there can be many groups.
//   - metadata.name is declared, so that validation rules can refer to it.
//   - Quantities and numbers that the Go types cannot hold are rejected. Otherwise the API
//     server would store them, and typed clients could not decode any list that contains them.
//   - A Pod template accepts what a Deployment accepts, with the same meaning: numbers as
//     quantities, null, duplicates, and no defaults.
package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// describedDepth is the number of levels below a Pod template with descriptions of fields:
// template > spec > containers > (item) image.
const describedDepth = 4

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "shortcrd:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return fmt.Errorf("decoding CustomResourceDefinition: %w", err)
	}
	for i := range crd.Spec.Versions {
		if err := finish(crd.Spec.Versions[i].Schema.OpenAPIV3Schema); err != nil {
			return fmt.Errorf("version %s: %w", crd.Spec.Versions[i].Name, err)
		}
	}
	// Omit the empty status, which is set by the API server.
	data, err = yaml.Marshal(struct {
		APIVersion string                                       `json:"apiVersion"`
		Kind       string                                       `json:"kind"`
		Metadata   map[string]any                               `json:"metadata"`
		Spec       apiextensionsv1.CustomResourceDefinitionSpec `json:"spec"`
	}{
		crd.APIVersion, crd.Kind,
		map[string]any{"name": crd.Name, "annotations": crd.Annotations},
		crd.Spec,
	})
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}

// finish modifies the schema of a Ray.
func finish(ray *apiextensionsv1.JSONSchemaProps) error {
	metadata := ray.Properties["metadata"]
	metadata.Properties = map[string]apiextensionsv1.JSONSchemaProps{"name": {Type: "string"}}
	ray.Properties["metadata"] = metadata
	restrict(ray)

	for _, group := range groups {
		schema, ok := ray.Properties["spec"].Properties[group.field]
		if !ok {
			return fmt.Errorf("no schema for spec.%s", group.field)
		}
		if schema.Items != nil {
			schema = *schema.Items.Schema // shares its fields
			limitArgs(&schema)
		}
		if err := finishGroup(&schema, group.described); err != nil {
			return fmt.Errorf("spec.%s: %w", group.field, err)
		}
	}
	return nil
}

// groups are the fields of a spec with a Pod template, or a list of them, and whether the fields of the
// template have descriptions.
var groups = []struct {
	field     string
	described bool
}{
	{"head", false},
	{"worker", true},
	{"workerGroups", false},
}

// finishGroup modifies the schema of a group.
func finishGroup(group *apiextensionsv1.JSONSchemaProps, described bool) error {
	start, ok := group.Properties["start"]
	if !ok {
		return errors.New("no schema for start")
	}
	if err := restrictStart(start); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	template, ok := group.Properties["template"]
	if !ok {
		return errors.New("no schema for template")
	}
	describe(&template, described)
	acceptLikeDeployment("template", &template)
	metadata, ok := template.Properties["metadata"]
	if !ok {
		return errors.New("no schema for template.metadata")
	}
	acceptMetadata(&metadata)
	template.Properties["metadata"] = metadata
	podSpec := template.Properties["spec"]
	for _, list := range []string{"containers", "initContainers"} {
		if err := acceptUnknownResources(podSpec.Properties[list]); err != nil {
			return fmt.Errorf("template.spec.%s: %w", list, err)
		}
	}
	podSpec.Properties["ephemeralContainers"] = refusedContainers()
	group.Properties["template"] = template
	return nil
}

// maxGroupArgs is the number of arguments that the start of a worker group accepts. With more, the cost of
// their validation rules, multiplied by the number of groups, would exceed the limit.
const maxGroupArgs = 20

// limitArgs limits the number of arguments of the start of a worker group.
func limitArgs(group *apiextensionsv1.JSONSchemaProps) {
	args, ok := group.Properties["start"].Properties["args"]
	if ok {
		args.MaxItems = new(int64(maxGroupArgs))
		group.Properties["start"].Properties["args"] = args
	}
}

// refusedContainers returns the schema of ephemeral containers, which accepts none.
func refusedContainers() apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{
		Type:  "array",
		Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}},
		XValidations: apiextensionsv1.ValidationRules{{
			Rule:    "size(self) == 0",
			Message: "ephemeral containers not allowed in pod template; remove ephemeralContainers",
			Reason:  new(apiextensionsv1.FieldValueForbidden),
		}},
	}
}

// restrict limits int-or-string fields to values that their Go types can hold, and accepts numbers
// as quantities. A field with a pattern is a resource.Quantity, any other an intstr.IntOrString.
func restrict(schema *apiextensionsv1.JSONSchemaProps) {
	switch {
	case schema.XIntOrString && schema.Pattern != "":
		*schema = quantitySchema(schema.Description)
	case schema.XIntOrString:
		schema.Minimum, schema.Maximum = new(float64(math.MinInt32)), new(float64(math.MaxInt32))
	}
	for name, property := range schema.Properties {
		restrict(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil {
		restrict(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		restrict(schema.AdditionalProperties.Schema)
	}
}

// restrictStart limits the values of the maps in a StartSpec, for which there are no markers. Rules in CEL
// would exceed the limit of their cost.
func restrictStart(start apiextensionsv1.JSONSchemaProps) error {
	resources, labels := start.Properties["resources"].AdditionalProperties, start.Properties["labels"].AdditionalProperties
	if resources == nil || labels == nil {
		return errors.New("no schema for the values of resources or labels")
	}
	// Ray does not start with a fraction of a resource, nor with more than 1e14 of one.
	*resources.Schema = apiextensionsv1.JSONSchemaProps{
		XIntOrString: true,
		AnyOf:        []apiextensionsv1.JSONSchemaProps{{Type: "integer"}, {Type: "string"}},
		Pattern:      `^([0-9]{1,14}|[0-9]{1,10}(k|Ki)|[0-9]{1,7}(M|Mi)|[0-9]{1,4}(G|Gi)|[0-9](T|Ti))$`,
		Minimum:      new(0.0),
		Maximum:      new(1e14),
	}
	labels.Schema.MaxLength = new(int64(63))
	labels.Schema.Pattern = `^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	return nil
}

// describe cuts the descriptions of a Pod template and of its fields, or removes those of its fields.
func describe(template *apiextensionsv1.JSONSchemaProps, fields bool) {
	if fields {
		shorten(template, describedDepth)
		return
	}
	description := firstSentence(template.Description)
	shorten(template, 0)
	template.Description = description + " See spec.worker.template for descriptions of its fields."
}

// shorten cuts the descriptions of a schema and of its fields down to depth levels to their
// first sentence, and removes those below.
func shorten(schema *apiextensionsv1.JSONSchemaProps, depth int) {
	if depth > 0 {
		schema.Description = firstSentence(schema.Description)
	} else {
		schema.Description = ""
	}
	for name, property := range schema.Properties {
		shorten(&property, depth-1)
		schema.Properties[name] = property
	}
	if schema.Items != nil {
		shorten(schema.Items.Schema, depth)
		schema.Items.Schema.Description = ""
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		shorten(schema.AdditionalProperties.Schema, 0)
	}
}

// firstSentence returns the first sentence of a doc comment.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if sentence, _, found := strings.Cut(text, ". "); found {
		return sentence + "."
	}
	return text
}

func acceptUnknownResources(containers apiextensionsv1.JSONSchemaProps) error {
	if containers.Items == nil || containers.Items.Schema == nil {
		return errors.New("no schema for the items of the list of containers")
	}
	resources, ok := containers.Items.Schema.Properties["resources"]
	if !ok {
		return errors.New("no schema for a container's resources")
	}
	resources.XPreserveUnknownFields = new(true)
	containers.Items.Schema.Properties["resources"] = resources
	return nil
}
