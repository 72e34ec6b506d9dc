// Package schema finds all leaves of the schema of a Ray's spec, makes up values for each,
// and builds specs that have a leaf at a value. It knows the schema, and of what Kubernetes
// wants besides only what a leaf needs to be reached (rules.go): whether a value is valid
// is for the API server to say.
package schema

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Schema is what this package understands of an OpenAPI v3 schema.
type Schema struct {
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Default              any                `json:"default"`
	Minimum              *int64             `json:"minimum"`
	Maximum              *int64             `json:"maximum"`
	MinLength            *int64             `json:"minLength"`
	Pattern              string             `json:"pattern"`
	IntOrString          bool               `json:"x-kubernetes-int-or-string"`
	Required             []string           `json:"required"`
	Properties           map[string]*Schema `json:"properties"`
	Items                *Schema            `json:"items"`
	AdditionalProperties *Schema            `json:"additionalProperties"`
}

// Load reads the schema of a spec from the file of a CustomResourceDefinition.
func Load(file string) (*Schema, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema Schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &definition); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(definition.Spec.Versions) != 1 {
		return nil, fmt.Errorf("%s has %d versions, want 1", file, len(definition.Spec.Versions))
	}
	spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	if spec == nil {
		return nil, errors.New(file + " has no spec")
	}
	return spec, nil
}

// Leaf is a field that holds a single value, or the elements of a list or map of such.
type Leaf struct {
	// steps lead to the leaf. Those into a list end in [], those into a map in {}.
	steps []step
}

// step leads from an object to one of its properties, or into the list or map that this is.
type step struct {
	name string
	into container
	// parent is the schema of the object, schema that of what the step leads to.
	parent, schema *Schema
	// rules are those that hold where the step leads to.
	rules []rule
}

type container string

const (
	nothing container = ""
	list    container = "[]"
	mapping container = "{}"
)

// Leaves returns all leaves of a schema, in the order of their names.
func Leaves(schema *Schema) []Leaf { return leaves(nil, schema) }

func leaves(steps []step, object *Schema) []Leaf {
	var all []Leaf
	for _, name := range slices.Sorted(maps.Keys(object.Properties)) {
		next := step{name: name, parent: object, schema: object.Properties[name]}
		switch {
		case next.schema.Items != nil:
			next.into, next.schema = list, next.schema.Items
		case next.schema.AdditionalProperties != nil:
			next.into, next.schema = mapping, next.schema.AdditionalProperties
		}
		path := append(slices.Clone(steps), next)
		path[len(steps)].rules = rulesAt(Leaf{steps: path}.Name())
		if len(next.schema.Properties) > 0 {
			all = append(all, leaves(path, next.schema)...)
		} else {
			all = append(all, Leaf{steps: path})
		}
	}
	return all
}

// Name names the leaf for people, such as "template/spec/containers/name".
func (l Leaf) Name() string {
	names := make([]string, 0, len(l.steps))
	for _, step := range l.steps {
		names = append(names, step.name)
	}
	return strings.Join(names, "/")
}

// Field is the leaf as the API server names it, such as "template.spec.containers[0].name",
// and Parent the object that has it.
func (l Leaf) Field() (field, parent string) {
	var path strings.Builder
	for i, step := range l.steps {
		parent = path.String()
		if i > 0 {
			path.WriteByte('.')
		}
		path.WriteString(step.name)
		switch step.into {
		case nothing:
		case list:
			path.WriteString("[0]")
		case mapping:
			path.WriteString("." + l.key(i))
		}
	}
	return path.String(), parent
}

// Last is the name of the leaf in its object.
func (l Leaf) Last() string { return l.steps[len(l.steps)-1].name }

func (l Leaf) schema() *Schema { return l.steps[len(l.steps)-1].schema }

// required tells whether the schema wants the leaf where there is its object.
func (l Leaf) required() bool {
	last := l.steps[len(l.steps)-1]
	return slices.Contains(last.parent.Required, last.name) && last.parent.Properties[last.name].Default == nil
}
