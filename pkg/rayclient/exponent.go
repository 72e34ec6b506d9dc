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

package rayclient

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// This file is a workaround for resource.ParseQuantity, which does not bound the exponent
// (https://github.com/kubernetes/kubernetes/pull/141306): it needs time and memory in
// proportion to the value of the exponent, so 1E-777777777777 never ends. The
// CustomResourceDefinition limits exponents to two digits, but a Ray may have been stored under
// another schema. If ParseQuantity bounds the exponent, remove this file.

// hugeExponent matches text that may be a quantity and has an exponent of three or more digits.
var hugeExponent = regexp.MustCompile(`^[+-]?[0-9.]+[eE][+-]?[0-9]{3,}$`)

// noQuantity replaces a string that must not be parsed as a quantity. It is not a quantity itself.
const noQuantity = "an exponent of more than two digits"

// noNumber replaces a number that must not be parsed as a quantity. No field of a spec can hold it, as
// no field but a quantity can hold such a number.
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

// defuse returns the JSON with all matches of hugeExponent replaced, or nil if there are none. If the
// result can be decoded, the matches are not quantities.
func defuse(data []byte) []byte {
	if !hasHugeExponent(data) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if decoder.Decode(&tree) != nil {
		return nil // invalid JSON is an error anyway
	}
	defused, err := json.Marshal(withoutHugeExponents(tree))
	if err != nil {
		return nil
	}
	return defused
}

// hasHugeExponent returns whether the JSON may have a match of hugeExponent. It reads everything that a
// watch delivers, so it must be fast.
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

// endsValue returns whether a byte of JSON delimits a string or a number, or may be part of white
// space, which includes bytes above ASCII and escapes.
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
