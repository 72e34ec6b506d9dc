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

// TestUserRoles asks what those may do with Rays who have the roles that every cluster has.
func TestUserRoles(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	read := []string{"get rays", "list rays", "watch rays", "get rays/status", "get rays/scale"}
	write := slices.Concat(read, []string{
		"create rays", "update rays", "patch rays", "delete rays", "deletecollection rays", "update rays/scale", "patch rays/scale",
	})
	// These are for the operator alone, and nobody may use them on a user's behalf.
	operators := []string{"update rays/status", "patch rays/status", "update rays/finalizers"}
	for name, want := range map[string][]string{"view": read, "edit": write, "admin": write} {
		u.bind("a-"+name, []string{name})
		for _, what := range slices.Concat(write, operators) {
			verb, resource, _ := strings.Cut(what, " ")
			resource, subresource, _ := strings.Cut(resource, "/")
			review, err := kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: "a-" + name, ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: u.namespace, Verb: verb, Group: rayv1.SchemeGroupVersion.Group, Resource: resource, Subresource: subresource,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := review.Status.Allowed; got != slices.Contains(want, what) {
				t.Errorf("whoever has the role %s may %s: %t", name, what, got)
			}
		}
	}

	// And with kubectl, as users do it.
	u.kubectl("apply", "--as=a-edit", "-f", path(seedManifest))
	u.waitHealthy("sample-cluster")
	u.kubectl("scale", "--as=a-edit", "ray/sample-cluster", "--replicas=1")
	if out := u.kubectl("get", "--as=a-view", "rays"); !strings.Contains(out.stdout, "sample-cluster") {
		t.Errorf("a viewer sees %s", out.stdout)
	}
	if out := u.try("", "delete", "--as=a-view", "ray/sample-cluster"); !strings.Contains(out.stderr, `"a-view" cannot delete resource "rays"`) {
		t.Errorf("a viewer who deletes a Ray is told %q", out.stderr)
	}
	u.kubectl("delete", "--as=a-edit", "ray/sample-cluster")
}

// bound are the roles that tests give to users, each with one right by which it is seen that
// it is in force. Those which no test makes are ClusterRoles.
var bound = map[string]struct {
	kind  string
	probe right
}{
	"view":               {"ClusterRole", right{rayv1.SchemeGroupVersion.Group, "rays", "list"}},
	"edit":               {"ClusterRole", right{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"admin":              {"ClusterRole", right{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"ray-editor":         {"ClusterRole", right{rayv1.SchemeGroupVersion.Group, "rays", "create"}},
	"deployments":        {"Role", right{"apps", "deployments", "create"}},
	"deployments-update": {"Role", right{"apps", "deployments", "update"}},
	"deployments-scale":  {"Role", right{"apps", "deployments/scale", "update"}},
	"rays-scale":         {"Role", right{rayv1.SchemeGroupVersion.Group, "rays/scale", "update"}},
}

// bind gives somebody roles in the user's namespace.
func (u *user) bind(name string, roles []string) {
	u.Helper()
	for _, role := range roles {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: bound[role].kind, Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		if _, err := kube.RbacV1().RoleBindings(u.namespace).Create(u.Context(), binding, metav1.CreateOptions{}); err != nil {
			u.Fatal(err)
		}
		u.waitAllowed(name, bound[role].probe)
	}
}
