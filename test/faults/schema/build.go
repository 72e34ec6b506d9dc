package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// object is a JSON object.
type object = map[string]any

// Base returns a group of a Ray that has as little as possible. It has no replicas, so
// that whatever keeps Pods from running does not matter.
func Base() map[string]any {
	return object{
		"replicas": 0,
		"template": object{"spec": object{
			"terminationGracePeriodSeconds": 0, // Pods that are to go are gone at once.
			"containers":                    []any{object{"name": "node", "image": "rayproject/ray:1"}},
		}},
	}
}

// Group returns the base with a leaf at a value, and with all that a leaf there needs.
func (l Leaf) Group(value Value) map[string]any {
	group := Base()
	objects := l.descend(group)
	last := l.steps[len(l.steps)-1]
	parent := objects[len(objects)-1]
	switch last.into {
	case nothing:
		parent[last.name] = value.JSON
	case list:
		parent[last.name] = []any{value.JSON}
	case mapping:
		parent[last.name] = object{l.key(len(l.steps) - 1): value.JSON}
	}
	for _, rule := range l.rules() {
		apply(rule, group, parent, parent)
	}
	for i := range slices.Backward(objects) {
		l.complete(objects, i)
	}
	if value.Unset {
		delete(parent, last.name)
	}
	return group
}

// descend returns the objects along the path, which it makes where there are none. The
// first is the group, the last the one that has the leaf.
func (l Leaf) descend(group object) []object {
	objects := []object{group}
	for i, step := range l.steps[:len(l.steps)-1] {
		here := objects[len(objects)-1]
		next := object{}
		switch step.into {
		case nothing:
			next = child(here, step.name)
		case list:
			if there, ok := here[step.name].([]any); ok {
				next = mustObject(there[0])
			}
			here[step.name] = []any{next}
		case mapping:
			child(here, step.name)[l.key(i)] = next
		}
		objects = append(objects, next)
	}
	return objects
}

// child returns a property that is an object, which it makes if there is none.
func child(parent object, name string) object {
	if parent[name] == nil {
		parent[name] = object{}
	}
	return mustObject(parent[name])
}

func mustObject(value any) object {
	object, ok := value.(object)
	if !ok {
		panic(fmt.Sprintf("%#v is no object", value)) // The schema says that it is one.
	}
	return object
}

// complete adds to the object behind the first steps what rules and schema want besides.
func (l Leaf) complete(objects []object, steps int) {
	here := objects[steps]
	if steps > 0 {
		for _, rule := range l.steps[steps-1].rules {
			apply(rule, objects[0], objects[steps-1], here)
		}
	}
	schema := l.steps[steps].parent
	for _, name := range schema.Required {
		if _, found := here[name]; !found {
			here[name] = sample(schema.Properties[name])
		}
	}
}

// apply adds what a rule wants.
func apply(rule rule, group, above, here object) {
	fill(here, parse(rule.with))
	fill(above, parse(rule.beside))
	fill(child(child(group, "template"), "spec"), parse(rule.spec))
}

// fill adds to an object what it lacks of another one.
func fill(into, from object) {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		have, found := into[name]
		if !found {
			into[name] = from[name]
			continue
		}
		more, isObject := from[name].(object)
		if isObject {
			fill(mustObject(have), more)
		}
	}
}

// parse reads the object of a rule.
func parse(text string) object {
	parsed := object{}
	if text == "" {
		return parsed
	}
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		panic(fmt.Sprintf("the rule %s: %v", text, err))
	}
	return parsed
}

// sample returns a value that a schema allows.
func sample(schema *Schema) any {
	switch {
	case schema.Default != nil:
		return schema.Default
	case schema.Items != nil:
		return []any{sample(schema.Items)}
	case len(schema.Properties) > 0:
		sampled := object{}
		for _, name := range schema.Required {
			sampled[name] = sample(schema.Properties[name])
		}
		return sampled
	case schema.AdditionalProperties != nil:
		return object{}
	default:
		return ofType(schema)[0].JSON
	}
}

// In returns the value of the leaf in a group.
func (l Leaf) In(group map[string]any) (value any, found bool) {
	value = group
	for i, step := range l.steps {
		parent, _ := value.(object) // a nil one has nothing
		if value, found = parent[step.name]; !found {
			return nil, false
		}
		switch step.into {
		case nothing:
		case list:
			elements, _ := value.([]any)
			if len(elements) == 0 {
				return nil, false
			}
			value = elements[0]
		case mapping:
			entries, _ := value.(object)
			if value, found = entries[l.key(i)]; !found {
				return nil, false
			}
		}
	}
	return value, true
}
