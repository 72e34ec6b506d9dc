package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// render returns the objects of a kustomization, which is a directory.
func render(t *testing.T, dir string) []unstructured.Unstructured {
	t.Helper()
	out := runKubectl(t.Context(), "", "kustomize", dir)
	if out.err != nil {
		t.Fatalf("kubectl kustomize %s: %v\n%s", dir, out.err, out.stderr)
	}
	var objects []unstructured.Unstructured
	for document := range strings.SplitSeq(out.stdout, "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("kubectl kustomize %s: %v", dir, err)
		}
		objects = append(objects, object)
	}
	return objects
}

// decode returns those of the objects that are of a kind, in its type.
func decode[T any](t *testing.T, objects []unstructured.Unstructured, kind string) []T {
	t.Helper()
	var all []T
	for _, object := range objects {
		if object.GetKind() != kind {
			continue
		}
		var decoded T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &decoded, true); err != nil {
			t.Fatalf("%s %s: %v", kind, object.GetName(), err)
		}
		all = append(all, decoded)
	}
	return all
}

// right is the right to one verb on one resource.
type right struct {
	group, resource, verb string
}

func (r right) String() string { return r.verb + " " + r.resource }

// isReview tells whether the right is to ask the API server about others.
func (r right) isReview() bool { return strings.HasSuffix(r.resource, "reviews") }

// denied returns what the API server says to whoever does not have the right.
func (r right) denied() string {
	if r.resource == "rays/finalizers" {
		// No request is about it: an admission plugin asks for it.
		return "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
	}
	return fmt.Sprintf("cannot %s resource %q in API group %q", r.verb, r.resource, r.group)
}

// rightsOf returns what rules grant, sorted.
func rightsOf(rules []rbacv1.PolicyRule) []right {
	var rights []right
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, right{group, resource, verb})
				}
			}
		}
	}
	slices.SortFunc(rights, func(a, b right) int {
		return strings.Compare(a.group+a.resource+a.verb, b.group+b.resource+b.verb)
	})
	return rights
}

// shippedRules returns the rules of all roles that are bound to the operator's ServiceAccount.
func shippedRules(t *testing.T, objects []unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	var rules []rbacv1.PolicyRule
	for _, binding := range slices.Concat(
		decode[rbacv1.RoleBinding](t, objects, "RoleBinding"),
		asRoleBindings(decode[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding")),
	) {
		if !slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return s.Kind == "ServiceAccount" && s.Name == "ray-operator" }) {
			continue
		}
		found := false
		for _, object := range objects {
			if object.GetKind() == binding.RoleRef.Kind && object.GetName() == binding.RoleRef.Name && object.GetNamespace() == roleNamespace(&binding) {
				rules = append(rules, decode[rbacv1.Role](t, []unstructured.Unstructured{object}, object.GetKind())[0].Rules...)
				found = true
			}
		}
		if !found {
			t.Errorf("%s, to which the operator is bound, is not among the manifests", binding.RoleRef.Name)
		}
	}
	if len(rules) == 0 {
		t.Fatal("no role is bound to the operator")
	}
	return rules
}

// asRoleBindings lets bindings be handled alike: those without a namespace bind in all.
func asRoleBindings(bindings []rbacv1.ClusterRoleBinding) []rbacv1.RoleBinding {
	var all []rbacv1.RoleBinding
	for _, binding := range bindings {
		all = append(all, rbacv1.RoleBinding{ObjectMeta: binding.ObjectMeta, RoleRef: binding.RoleRef, Subjects: binding.Subjects})
	}
	return all
}

func roleNamespace(binding *rbacv1.RoleBinding) string {
	if binding.RoleRef.Kind == "Role" {
		return binding.Namespace
	}
	return ""
}

// shippedArgs returns the arguments that the operator is run with in the cluster.
func shippedArgs(t *testing.T, objects []unstructured.Unstructured) []string {
	t.Helper()
	deployment := decode[appsv1.Deployment](t, objects, "Deployment")[0]
	var args []string
	for _, arg := range deployment.Spec.Template.Spec.Containers[0].Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", deployment.Namespace))
	}
	return args
}

// TestRoles looks for rights that no role may have, the operator's or a user's.
func TestRoles(t *testing.T) {
	t.Parallel()
	secret := regexp.MustCompile(`^(secrets|serviceaccounts/token|pods/(exec|attach|portforward|ephemeralcontainers)|nodes/.*)$`)
	for _, dir := range []string{"manifests/default", "manifests/overlays/namespaced", "manifests/overlays/namespaced/cluster"} {
		objects := render(t, path(dir))
		roles := decode[rbacv1.Role](t, objects, "Role")
		for _, role := range decode[rbacv1.ClusterRole](t, objects, "ClusterRole") {
			roles = append(roles, rbacv1.Role{ObjectMeta: role.ObjectMeta, Rules: role.Rules})
		}
		if len(roles) < 2 {
			t.Errorf("%s has %d roles", dir, len(roles))
		}
		for _, role := range roles {
			for _, right := range rightsOf(role.Rules) {
				if strings.Contains(right.group+right.resource+right.verb, "*") {
					t.Errorf("%s: %s has a wildcard: %q", dir, role.Name, right)
				}
				if secret.MatchString(right.resource) || slices.Contains([]string{"escalate", "bind", "impersonate"}, right.verb) {
					t.Errorf("%s: %s may %s", dir, role.Name, right)
				}
			}
		}
	}
}

// TestRightsAreExplained compares the table of docs/security.md with the operator's roles.
func TestRightsAreExplained(t *testing.T) {
	t.Parallel()
	_, section, found := strings.Cut(readFile(t, path("docs/security.md")), "\n## The operator's rights\n")
	if !found {
		t.Fatal("docs/security.md has no section about the operator's rights")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := regexp.MustCompile("`([a-z/]+)`")
	var explained []string
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for _, resource := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for _, verb := range quoted.FindAllStringSubmatch(cells[2], -1) {
				explained = append(explained, right{resource: resource[1], verb: verb[1]}.String())
			}
		}
	}
	var granted []string
	for _, right := range rightsOf(shippedRules(t, render(t, path("manifests/default")))) {
		granted = append(granted, right.String())
	}
	slices.Sort(granted)
	slices.Sort(explained)
	if !slices.Equal(granted, explained) {
		t.Errorf("docs/security.md explains\n%q\nbut granted are\n%q", explained, granted)
	}
}
