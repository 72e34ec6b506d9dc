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

// render returns the objects of a kustomization.
func render(t *testing.T, dir string) []unstructured.Unstructured {
	t.Helper()
	out := cluster.Kubectl(t.Context(), "", "kustomize", dir)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	var objects []unstructured.Unstructured
	for document := range strings.SplitSeq(out.Stdout, "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("kubectl kustomize %s: %v", dir, err)
		}
		objects = append(objects, object)
	}
	return objects
}

// decode returns the objects of a kind, as a Go type.
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

// permission is the permission for one verb on one resource.
type permission struct {
	group, resource, verb string
}

func (p permission) String() string { return p.verb + " " + p.resource }

// isReview returns whether the permission is for reviews of other users, which are cluster-scoped.
func (p permission) isReview() bool { return strings.HasSuffix(p.resource, "reviews") }

// denial returns the API server's error for a client without the permission.
func (p permission) denial() string {
	// There are no such requests. An admission plugin checks these permissions.
	switch p.String() {
	case "update rays/finalizers":
		return "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
	case "delete services":
		return "cannot set an ownerRef on a resource you can't delete"
	}
	return fmt.Sprintf("cannot %s resource %q in API group %q", p.verb, p.resource, p.group)
}

// permissionsOf returns what rules grant, sorted.
func permissionsOf(rules []rbacv1.PolicyRule) []permission {
	var permissions []permission
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					permissions = append(permissions, permission{group, resource, verb})
				}
			}
		}
	}
	slices.SortFunc(permissions, func(a, b permission) int {
		return strings.Compare(a.group+a.resource+a.verb, b.group+b.resource+b.verb)
	})
	return permissions
}

// operatorRules returns the rules of all roles that are bound to the operator's ServiceAccount.
func operatorRules(t *testing.T, objects []unstructured.Unstructured) []rbacv1.PolicyRule {
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
			t.Errorf("%s, which is bound to the operator, is not in the manifests", binding.RoleRef.Name)
		}
	}
	if len(rules) == 0 {
		t.Fatal("no role is bound to the operator")
	}
	return rules
}

// asRoleBindings converts ClusterRoleBindings to RoleBindings without a namespace.
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

// operatorArgs returns the arguments of the operator's container.
func operatorArgs(t *testing.T, objects []unstructured.Unstructured) []string {
	t.Helper()
	deployment := decode[appsv1.Deployment](t, objects, "Deployment")[0]
	var args []string
	for _, arg := range deployment.Spec.Template.Spec.Containers[0].Args {
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", deployment.Namespace))
	}
	return args
}

// TestRoles checks that no role, of the operator or of users, grants excessive permissions.
func TestRoles(t *testing.T) {
	t.Parallel()
	excessive := regexp.MustCompile(`^(secrets|serviceaccounts/token|pods/(exec|attach|portforward|ephemeralcontainers)|nodes/.*)$`)
	for _, dir := range []string{"manifests/default", "manifests/overlays/namespaced", "manifests/overlays/namespaced/cluster"} {
		objects := render(t, cluster.Path(dir))
		roles := decode[rbacv1.Role](t, objects, "Role")
		for _, role := range decode[rbacv1.ClusterRole](t, objects, "ClusterRole") {
			roles = append(roles, rbacv1.Role{ObjectMeta: role.ObjectMeta, Rules: role.Rules})
		}
		if len(roles) < 2 {
			t.Errorf("%s has %d roles", dir, len(roles))
		}
		for _, role := range roles {
			for _, permission := range permissionsOf(role.Rules) {
				if strings.Contains(permission.group+permission.resource+permission.verb, "*") {
					t.Errorf("%s: role %s has a wildcard: %q", dir, role.Name, permission)
				}
				if excessive.MatchString(permission.resource) || slices.Contains([]string{"escalate", "bind", "impersonate"}, permission.verb) {
					t.Errorf("%s: role %s grants %s", dir, role.Name, permission)
				}
			}
		}
	}
}

// TestPermissionsAreDocumented compares the table in docs/security.md with the operator's roles.
func TestPermissionsAreDocumented(t *testing.T) {
	t.Parallel()
	_, section, found := strings.Cut(readFile(t, cluster.Path("docs/security.md")), "\n## The operator's rights\n")
	if !found {
		t.Fatal("docs/security.md has no section about the operator's rights")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	quoted := regexp.MustCompile("`([a-z/]+)`")
	var documented []string
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for _, resource := range quoted.FindAllStringSubmatch(cells[1], -1) {
			for _, verb := range quoted.FindAllStringSubmatch(cells[2], -1) {
				documented = append(documented, permission{resource: resource[1], verb: verb[1]}.String())
			}
		}
	}
	var granted []string
	for _, permission := range permissionsOf(operatorRules(t, render(t, cluster.Path("manifests/default")))) {
		granted = append(granted, permission.String())
	}
	slices.Sort(granted)
	slices.Sort(documented)
	if !slices.Equal(granted, documented) {
		t.Errorf("docs/security.md documents\n%q\nbut the roles grant\n%q", documented, granted)
	}
}
