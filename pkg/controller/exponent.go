package controller

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// To parse a quantity such as 1E-777777777777 takes for ever: resource.ParseQuantity writes it
// out. The CustomResourceDefinition allows exponents of two digits, and Kubernetes knows no
// larger ones, but a Ray may have been stored under another schema.

// hugeExponent matches what may be a quantity, and has an exponent of more digits.
var hugeExponent = regexp.MustCompile(`^[+-]?[0-9.]+[eE][+-]?[0-9]{3,}$`)

// noQuantity is no quantity, in place of one that must not be parsed.
const noQuantity = "an exponent of more than two digits"

// defuse returns JSON in which noQuantity is in place of everything that hugeExponent matches,
// or nil if there is nothing. If that can be decoded, what was matched are no quantities.
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

// hasHugeExponent tells whether there may be anything for hugeExponent to match. It looks at
// all that a watch brings, so it must be quick, and may be wrong: a UID can look like it.
func hasHugeExponent(data []byte) bool {
	digits := func(data []byte) bool {
		return len(data) > 2 && isDigit(data[0]) && isDigit(data[1]) && isDigit(data[2])
	}
	for i := 1; i < len(data); i++ {
		if data[i]|0x20 != 'e' || !isDigit(data[i-1]) && data[i-1] != '.' {
			continue
		}
		rest := data[i+1:]
		if digits(rest) || len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') && digits(rest[1:]) {
			return true
		}
	}
	return false
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

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
		if hugeExponent.MatchString(value) {
			return noQuantity
		}
	case json.Number:
		if hugeExponent.MatchString(value.String()) {
			return noQuantity
		}
	}
	return value
}
