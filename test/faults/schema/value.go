package schema

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Value is something that a leaf may be set to.
type Value struct {
	// Name says what is special about the value.
	Name string
	// JSON is the value, as encoding/json takes it.
	JSON any
	// Unset means that the leaf is left out, where its object is there.
	Unset bool
	// Refused says that the schema does not allow the value.
	Refused bool
}

// String is for messages of failure.
func (v Value) String() string {
	text := fmt.Sprintf("%#v", v.JSON)
	if v.Unset {
		return v.Name
	}
	if len(text) > 40 {
		text = fmt.Sprintf("%s… (%d characters)", text[:40], len(text))
	}
	return v.Name + " " + text
}

// Values returns what to try for a leaf: what its type suggests, then what the rules pick,
// and in the end what the schema refuses.
func (l Leaf) Values() []Value {
	schema := l.schema()
	var values []Value
	if schema.Default != nil {
		values = append(values, Value{Name: "default", JSON: schema.Default})
	}
	if !l.handpicked() {
		values = append(values, ofType(schema)...)
	}
	values = append(values, l.picks()...)
	values = append(values, refused(schema)...)
	if l.required() {
		values = append(values, Value{Name: "unset", Unset: true, Refused: true})
	}
	return distinct(values)
}

// long is longer than any name that Kubernetes knows.
var long = strings.Repeat("a", 300)

// ofType returns an ordinary value of a type, and what its type has at its ends.
func ofType(schema *Schema) []Value {
	switch {
	case schema.IntOrString && schema.Pattern != "":
		return []Value{{Name: "other", JSON: "2"}, {Name: "number", JSON: 1}, {Name: "zero", JSON: "0"}, {Name: "exponent", JSON: "3e3"}}
	case schema.IntOrString:
		return []Value{{Name: "other", JSON: 80}, {Name: "name", JSON: "a"}, {Name: "zero", JSON: 0}, {Name: "maximum", JSON: *schema.Maximum}}
	case schema.Type == "boolean":
		return []Value{{Name: "true", JSON: true}, {Name: "false", JSON: false}}
	case schema.Type == "integer":
		least, most := limits(schema)
		return []Value{{Name: "other", JSON: 1}, {Name: "zero", JSON: 0}, {Name: "minimum", JSON: least}, {Name: "maximum", JSON: most}}
	default:
		values := []Value{{Name: "other", JSON: "a"}, {Name: "long", JSON: long}}
		if schema.MinLength == nil {
			values = append(values, Value{Name: "empty", JSON: ""})
		}
		return values
	}
}

// limits returns the least and the greatest number that a schema allows.
func limits(schema *Schema) (least, most int64) {
	least, most = math.MinInt64, math.MaxInt64
	if schema.Format == "int32" {
		least, most = math.MinInt32, math.MaxInt32
	}
	if schema.Minimum != nil {
		least = max(least, *schema.Minimum)
	}
	if schema.Maximum != nil {
		most = min(most, *schema.Maximum)
	}
	return least, most
}

// refused returns what a schema does not allow.
func refused(schema *Schema) []Value {
	var values []Value
	switch {
	case schema.IntOrString && schema.Pattern != "":
		values = []Value{{Name: "wrong type", JSON: true}, {Name: "malformed", JSON: "much"}, {Name: "malformed exponent", JSON: "1e1.5"}}
	case schema.IntOrString:
		values = []Value{{Name: "wrong type", JSON: true}, {Name: "above maximum", JSON: *schema.Maximum + 1}, {Name: "below minimum", JSON: *schema.Minimum - 1}}
	case schema.Type == "boolean":
		values = []Value{{Name: "wrong type", JSON: "true"}}
	case schema.Type == "integer":
		least, most := limits(schema)
		// What is beyond an int64 has to be written as a number with a sign of its own.
		values = []Value{{Name: "wrong type", JSON: "1"}, {Name: "fraction", JSON: 1.5}, {Name: "above maximum", JSON: uint64(most) + 1}}
		if least > math.MinInt64 {
			values = append(values, Value{Name: "below minimum", JSON: least - 1})
		}
	default:
		values = []Value{{Name: "wrong type", JSON: 1}}
		if schema.MinLength != nil {
			values = append(values, Value{Name: "empty", JSON: ""})
		}
	}
	for i := range values {
		values[i].Refused = true
	}
	return values
}

// distinct drops values that are there already.
func distinct(values []Value) []Value {
	var kept []Value
	for _, value := range values {
		same := func(other Value) bool {
			return other.Unset == value.Unset && fmt.Sprintf("%#v", other.JSON) == fmt.Sprintf("%#v", value.JSON)
		}
		if !slices.ContainsFunc(kept, same) {
			kept = append(kept, value)
		}
	}
	return kept
}
