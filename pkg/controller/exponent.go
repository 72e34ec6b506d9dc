package controller

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// To parse a quantity such as 1E-777777777777 takes for ever: resource.ParseQuantity writes it
// out. The CustomResourceDefinition allows exponents of two digits, and Kubernetes knows no
// larger ones, but a Ray may have been stored under another schema.

// hugeExponent matches what may be a quantity, and has an exponent of more digits.
var hugeExponent = regexp.MustCompile(`^[+-]?[0-9.]+[eE][+-]?[0-9]{3,}$`)

// noQuantity is a string that is no quantity, in place of one that must not be parsed.
const noQuantity = "an exponent of more than two digits"

// noNumber is in place of a number that must not be parsed as a quantity. Nothing in a spec can
// hold it, as nothing but a quantity can hold such a number.
var noNumber = []any{[]any{}}

// unmarshalSpec decodes the spec of a Ray. A huge exponent in a quantity is an error.
func unmarshalSpec(data []byte, spec *rayv1.RaySpec) error {
	if defused := defuse(data); defused != nil {
		if err := utiljson.Unmarshal(defused, &rayv1.RaySpec{}); err != nil {
			return err
		}
	}
	return utiljson.Unmarshal(data, spec)
}

// defuse returns JSON in which there is something else in place of everything that hugeExponent
// matches, or nil if there is nothing. If that can be decoded, what was matched are no quantities.
func defuse(data []byte) []byte {
	if !hasHugeExponent(data) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if decoder.Decode(&tree) != nil {
		return nil // nobody parses that
	}
	defused, err := json.Marshal(withoutHugeExponents(tree))
	if err != nil {
		return nil
	}
	return defused
}

// hasHugeExponent tells whether there may be anything for hugeExponent to match. It looks at all
// that a watch brings, so it must be quick.
func hasHugeExponent(data []byte) bool {
	for i := 1; i < len(data)-3; i++ {
		if data[i]|0x20 != 'e' || !isDecimal(data[i-1]) {
			continue
		}
		start, end := i-1, i+1
		for start > 0 && isDecimal(data[start-1]) {
			start--
		}
		if start > 0 && (data[start-1] == '-' || data[start-1] == '+') {
			start--
		}
		for end < len(data) && !endsValue(data[end]) {
			end++
		}
		if (start == 0 || endsValue(data[start-1])) && hugeExponent.Match(data[start:end]) {
			return true
		}
	}
	return false
}

func isDecimal(b byte) bool { return '0' <= b && b <= '9' || b == '.' }

// endsValue tells whether a byte of JSON is beside a string or a number, or may be white space,
// which has bytes above ASCII, too, and escapes.
func endsValue(b byte) bool {
	return b >= utf8.RuneSelf || strings.IndexByte("\":,[]{} \t\r\n\\", b) >= 0
}

func withoutHugeExponents(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key := range value {
			value[key] = withoutHugeExponents(value[key])
		}
	case []any:
		for i := range value {
			value[i] = withoutHugeExponents(value[i])
		}
	case string:
		if hugeExponent.MatchString(strings.TrimSpace(value)) { // as a quantity is parsed
			return noQuantity
		}
	case json.Number:
		if hugeExponent.MatchString(value.String()) {
			return noNumber
		}
	}
	return value
}
