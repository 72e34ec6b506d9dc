// Command shortcrd finishes the CustomResourceDefinition that controller-gen writes:
// it reads one from standard input and writes it to standard output, with
// changes that no marker can make, since they lie inside Kubernetes' own types.
//
//   - A Pod template's descriptions are cut to their first sentence, and dropped
//     below the fields of a container. Whole, they would take the CRD far over the
//     262,144 bytes that a client-side kubectl apply can carry.
//   - Unknown keys under a container's resources are accepted. Manifests in the wild
//     say `limit:` for `limits:`; a policy warns of it (manifests/policy).
//   - metadata.name is declared, so that a validation rule can point at it.
//   - Quantities and numbers that the Go types cannot hold are refused. The API server would
//     store them, and no client could read any list with such an object in it.
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

// describedDepth is how many levels of fields below a Pod template keep a description:
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
		return fmt.Errorf("reading a CustomResourceDefinition: %w", err)
	}
	for i := range crd.Spec.Versions {
		if err := finish(crd.Spec.Versions[i].Schema.OpenAPIV3Schema); err != nil {
			return fmt.Errorf("version %s: %w", crd.Spec.Versions[i].Name, err)
		}
	}
	// The status is the API server's: an empty one in a manifest is noise.
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

// finish changes the schema of a Ray.
func finish(ray *apiextensionsv1.JSONSchemaProps) error {
	metadata := ray.Properties["metadata"]
	metadata.Properties = map[string]apiextensionsv1.JSONSchemaProps{"name": {Type: "string"}}
	ray.Properties["metadata"] = metadata
	narrow(ray)

	for _, group := range []string{"head", "worker"} {
		schema, ok := ray.Properties["spec"].Properties[group]
		if !ok {
			return fmt.Errorf("no schema for spec.%s", group)
		}
		template, ok := schema.Properties["template"]
		if !ok {
			return fmt.Errorf("no schema for spec.%s.template", group)
		}
		describe(&template, describedDepth)
		podSpec := template.Properties["spec"]
		for _, list := range []string{"containers", "initContainers"} {
			if err := acceptUnknownResources(podSpec.Properties[list]); err != nil {
				return fmt.Errorf("spec.%s.template.spec.%s: %w", group, list, err)
			}
		}
		schema.Properties["template"] = template
	}
	return nil
}

// quantity is what resource.ParseQuantity accepts. The pattern that controller-gen knows
// allows exponents that are fractions, or too large.
const quantity = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$`

// narrow limits what may be a number or a string to what the Go types can hold: such a
// field is a resource.Quantity if it has a pattern, else an intstr.IntOrString.
func narrow(schema *apiextensionsv1.JSONSchemaProps) {
	switch {
	case schema.XIntOrString && schema.Pattern != "":
		schema.Pattern = quantity
	case schema.XIntOrString:
		schema.Minimum, schema.Maximum = new(float64(math.MinInt32)), new(float64(math.MaxInt32))
	}
	for name, property := range schema.Properties {
		narrow(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil {
		narrow(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		narrow(schema.AdditionalProperties.Schema)
	}
}

// describe shortens the descriptions of a schema's fields down to depth levels, and
// drops them below.
func describe(schema *apiextensionsv1.JSONSchemaProps, depth int) {
	if depth > 0 {
		schema.Description = firstSentence(schema.Description)
	} else {
		schema.Description = ""
	}
	for name, property := range schema.Properties {
		describe(&property, depth-1)
		schema.Properties[name] = property
	}
	if schema.Items != nil {
		describe(schema.Items.Schema, depth)
		schema.Items.Schema.Description = ""
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		describe(schema.AdditionalProperties.Schema, 0)
	}
}

// firstSentence returns the first sentence of a Go doc comment.
func firstSentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if sentence, _, found := strings.Cut(text, ". "); found {
		return sentence + "."
	}
	return text
}

func acceptUnknownResources(containers apiextensionsv1.JSONSchemaProps) error {
	if containers.Items == nil || containers.Items.Schema == nil {
		return errors.New("no schema for the items of a list of containers")
	}
	resources, ok := containers.Items.Schema.Properties["resources"]
	if !ok {
		return errors.New("no schema for a container's resources")
	}
	resources.XPreserveUnknownFields = new(true)
	containers.Items.Schema.Properties["resources"] = resources
	return nil
}
