package schema

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const crd = "../../../manifests/crd/ray.kubeflow.org_rays.yaml"

// small is a schema with one of everything.
func small() *Schema {
	text := &Schema{Type: "string"}
	return &Schema{Properties: map[string]*Schema{
		"replicas": {Type: "integer", Format: "int32"},
		"template": {Properties: map[string]*Schema{"spec": {Properties: map[string]*Schema{
			"nodeSelector": {AdditionalProperties: text},
			"subdomain":    text,
			"volumes": {Items: &Schema{Required: []string{"name"}, Properties: map[string]*Schema{
				"name": text,
				"fc":   {Properties: map[string]*Schema{"wwids": {Items: text}}},
			}}},
		}}}},
	}}
}

// find returns the leaf of a name.
func find(t *testing.T, schema *Schema, name string) Leaf {
	t.Helper()
	all := Leaves(schema)
	i := slices.IndexFunc(all, func(l Leaf) bool { return l.Name() == name })
	if i < 0 {
		t.Fatalf("there is no leaf %s", name)
	}
	return all[i]
}

func TestLeaves(t *testing.T) {
	var fields []string
	for _, leaf := range Leaves(small()) {
		field, parent := leaf.Field()
		fields = append(fields, parent+" "+field)
	}
	want := []string{
		" replicas",
		"template.spec template.spec.nodeSelector.key",
		"template.spec template.spec.subdomain",
		"template.spec.volumes[0].fc template.spec.volumes[0].fc.wwids[0]",
		"template.spec.volumes[0] template.spec.volumes[0].name",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

func TestGroup(t *testing.T) {
	for _, test := range []struct {
		name  string
		leaf  string
		value Value
		want  string // below template.spec, beside what the base has
	}{
		{"a field", "template/spec/subdomain", Value{JSON: "b"}, `{"subdomain": "b"}`},
		{"an entry of a map", "template/spec/nodeSelector", Value{JSON: "b"}, `{"nodeSelector": {"key": "b"}}`},
		{"an element of a list, with what is required around it", "template/spec/volumes/fc/wwids", Value{JSON: "b"}, `{"volumes": [{"name": "a", "fc": {"wwids": ["b"]}}]}`},
		{"what a rule adds", "template/spec/volumes/name", Value{JSON: "b"}, `{"volumes": [{"name": "b", "emptyDir": {}}]}`},
		{"left out, but not what is around it", "template/spec/volumes/name", Value{Unset: true}, `{"volumes": [{"emptyDir": {}}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaf := find(t, small(), test.leaf)
			group := leaf.Group(test.value)
			got := mustObject(mustObject(group["template"])["spec"])
			for name := range mustObject(mustObject(Base()["template"])["spec"]) {
				delete(got, name)
			}
			if diff := cmp.Diff(parse(test.want), got); diff != "" {
				t.Error(diff)
			}
			mustObject(group["template"])["spec"] = got
			if value, found := leaf.In(group); found == test.value.Unset || found && value != test.value.JSON {
				t.Errorf("the leaf is %v (found: %t), want %s", value, found, test.value)
			}
		})
	}
}

func TestValues(t *testing.T) {
	least, most := int64(0), int64(10)
	for _, test := range []struct {
		name   string
		schema Schema
		want   string // those that are refused have a ! before
	}{
		{"a string", Schema{Type: "string"}, `"a" "" !1`},
		{"a string that must not be empty", Schema{Type: "string", MinLength: &most}, `"a" !1 !""`},
		{"a boolean with a default", Schema{Type: "boolean", Default: false}, `false true !"true"`},
		{"an integer", Schema{Type: "integer", Format: "int32"}, `1 0 -2147483648 2147483647 !"1" !1.5 !2147483648 !-2147483649`},
		{"a long integer", Schema{Type: "integer", Format: "int64"}, `1 0 -9223372036854775808 9223372036854775807 !"1" !1.5 !9223372036854775808`},
		{"an integer with limits", Schema{Type: "integer", Minimum: &least, Maximum: &most}, `1 0 10 !"1" !1.5 !11 !-1`},
		{"a quantity", Schema{IntOrString: true, Pattern: "…"}, `"2" 1 "0" "3e3" !true !"much" !"1e1.5"`},
		{"a port", Schema{IntOrString: true, Minimum: &least, Maximum: &most}, `80 "a" 0 10 !true !11 !-1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaf := Leaf{steps: []step{{name: "x", parent: &Schema{Properties: map[string]*Schema{"x": &test.schema}}, schema: &test.schema}}}
			var got []string
			for _, value := range leaf.Values() {
				if value.Name == "long" {
					continue
				}
				data, err := json.Marshal(value.JSON)
				if err != nil {
					t.Fatal(err)
				}
				text := string(data)
				if value.Refused {
					text = "!" + text
				}
				got = append(got, text)
			}
			if got := strings.Join(got, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestRequiredLeafIsLeftOut(t *testing.T) {
	want := Value{Name: "unset", Unset: true, Refused: true}
	if values := find(t, small(), "template/spec/volumes/name").Values(); !slices.Contains(values, want) {
		t.Errorf("%v has no %v", values, want)
	}
	if values := find(t, small(), "template/spec/subdomain").Values(); slices.Contains(values, want) {
		t.Errorf("%v has %v, and the leaf is optional", values, want)
	}
}

// TestWholeSchema checks that every leaf of the shipped schema is found, with values of both
// kinds, and that each value gets to its leaf.
func TestWholeSchema(t *testing.T) {
	spec, err := Load(crd)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"head", "worker"} {
		all := Leaves(spec.Properties[group])
		if len(all) < 800 {
			t.Errorf("%s has %d leaves, want all of a Pod template", group, len(all))
		}
		for _, leaf := range all {
			valid, refused := 0, 0
			for _, value := range leaf.Values() {
				if value.Refused {
					refused++
				} else {
					valid++
				}
				if got, found := leaf.In(leaf.Group(value)); found == value.Unset || found && got != value.JSON {
					t.Errorf("%s: %s comes out as %v", leaf.Name(), value, got)
				}
			}
			if valid == 0 || refused == 0 {
				t.Errorf("%s has %d values that may be valid, and %d that the schema refuses, want some of both", leaf.Name(), valid, refused)
			}
		}
	}
}

// TestRulesAreOfUse wants that no rule is about a place that does not exist.
func TestRulesAreOfUse(t *testing.T) {
	spec, err := Load(crd)
	if err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(rules))
	for _, leaf := range Leaves(spec.Properties["head"]) {
		for steps := 1; steps <= len(leaf.steps); steps++ {
			name := Leaf{steps: leaf.steps[:steps]}.Name()
			for i := range rules {
				used[i] = used[i] || expressions[i].MatchString(name)
			}
		}
	}
	for i := range rules {
		if !used[i] {
			t.Errorf("the rule at %s is about nothing", rules[i].at)
		}
	}
}
