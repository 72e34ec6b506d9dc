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
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestUserRoles checks what the ClusterRoles view, edit and admin allow users to do with Rays.
func TestUserRoles(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	read := []string{"get rays", "list rays", "watch rays", "get rays/status", "get rays/scale"}
	write := slices.Concat(read, []string{
		"create rays", "update rays", "patch rays", "delete rays", "deletecollection rays", "update rays/scale", "patch rays/scale",
	})
	// Only the operator may do these.
	operatorOnly := []string{"update rays/status", "patch rays/status", "update rays/finalizers"}
	for name, want := range map[string][]string{"view": read, "edit": write, "admin": write} {
		u.bind("a-"+name, []string{name})
		for _, what := range slices.Concat(write, operatorOnly) {
			verb, resource, _ := strings.Cut(what, " ")
			resource, subresource, _ := strings.Cut(resource, "/")
			review, err := cluster.Kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "a-" + name, ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: u.namespace, Verb: verb, Group: rayv1.SchemeGroupVersion.Group, Resource: resource, Subresource: subresource,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := review.Status.Allowed; got != slices.Contains(want, what) {
				t.Errorf("role %s: %s is allowed: %t", name, what, got)
			}
		}
	}

	u.kubectl("apply", "--as=a-edit", "-f", cluster.Path(sampleManifest))
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "--as=a-edit", "ray/sample-cluster", "--replicas=1")
	if out := u.kubectl("get", "--as=a-view", "rays"); !strings.Contains(out.Stdout, "sample-cluster") {
		t.Errorf("a viewer lists %s", out.Stdout)
	}
	if out := u.try("", "delete", "--as=a-view", "ray/sample-cluster"); !strings.Contains(out.Stderr, `"a-view" cannot delete resource "rays"`) {
		t.Errorf("deleting a Ray as a viewer: got %q", out.Stderr)
	}
	u.kubectl("delete", "--as=a-edit", "ray/sample-cluster")
}

// bound has the roles that tests bind to users: the kind, and a permission that shows whether the
// binding is effective. Roles are created by the tests.
var bound = map[string]struct {
	kind  string
	probe permission
}{
	"view":               {"ClusterRole", permission{rayv1.SchemeGroupVersion.Group, "rays", "list"}},
	"edit":               {"ClusterRole", permission{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"admin":              {"ClusterRole", permission{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"ray-editor":         {"ClusterRole", permission{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"deployments":        {"Role", permission{"apps", "deployments", "create"}},
	"deployments-update": {"Role", permission{"apps", "deployments", "update"}},
	"deployments-scale":  {"Role", permission{"apps", "deployments/scale", "update"}},
	"services":           {"Role", permission{"", "services", "create"}},
	"rays-scale":         {"Role", permission{rayv1.SchemeGroupVersion.Group, "rays/scale", "update"}},
}

// bind binds roles in the user's namespace to a subject.
func (u *user) bind(name string, roles []string) {
	u.Helper()
	for _, role := range roles {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: bound[role].kind, Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		if _, err := cluster.Kube.RbacV1().RoleBindings(u.namespace).Create(u.Context(), binding, metav1.CreateOptions{}); err != nil {
			u.Fatal(err)
		}
		u.waitAllowed(name, bound[role].probe)
	}
}
