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
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// TestPermissionsAreRequired runs operators that each lack one permission, and checks that the
// operation that requires it fails with the API server's denial. Each operator has a namespace and a
// ServiceAccount of its own.
func TestPermissionsAreRequired(t *testing.T) {
	rules := operatorRules(t, render(t, cluster.Path("manifests/default")))
	stopOperator(t)
	for _, missing := range permissionsOf(rules) {
		t.Run(missing.String(), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.grantAllBut(missing, rules)
			o := u.newLimitedOperator("limited", "--namespace", u.namespace, "--leader-elect", "--leader-elect-resource-namespace", u.namespace)
			for _, operation := range operations(u, o, u.namespace) {
				if operation.trigger != nil {
					if err := operation.trigger(); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Contains(operation.requires, missing.String()) {
					u.eventually("the operator can "+operation.name, operation.done)
					continue
				}
				u.eventually("the denial is reported", func() error { return wantText(operation.report(), missing.denial()) })
				if operation.done() == nil {
					t.Errorf("without the permission to %s, the operator can %s", missing, operation.name)
				}
				return
			}
			t.Errorf("no operation requires the permission to %s: remove it from the role", missing)
		})
	}
}

// grantAllBut creates a ServiceAccount "limited" with all permissions of some rules but one, in the
// user's namespace.
func (u *user) grantAllBut(missing permission, rules []rbacv1.PolicyRule) {
	u.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "limited"}}
	// Reviews are cluster-scoped.
	reviews := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: u.namespace}}
	var probe permission
	for _, rule := range rules {
		for _, p := range permissionsOf([]rbacv1.PolicyRule{rule}) {
			one := rbacv1.PolicyRule{APIGroups: []string{p.group}, Resources: []string{p.resource}, Verbs: []string{p.verb}, ResourceNames: rule.ResourceNames}
			switch {
			case p == missing:
			case p.isReview():
				reviews.Rules = append(reviews.Rules, one)
			default:
				probe = p
				role.Rules = append(role.Rules, one)
			}
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: role.Name}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: u.namespace}},
	}
	_, err := cluster.Kube.CoreV1().ServiceAccounts(u.namespace).Create(u.Context(), account, metav1.CreateOptions{})
	if err == nil {
		_, err = cluster.Kube.RbacV1().Roles(u.namespace).Create(u.Context(), role, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = cluster.Kube.RbacV1().RoleBindings(u.namespace).Create(u.Context(), binding, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = cluster.Kube.RbacV1().ClusterRoles().Create(u.Context(), reviews, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = cluster.Kube.RbacV1().ClusterRoleBindings().Create(u.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: reviews.ObjectMeta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: reviews.Name},
			Subjects:   binding.Subjects,
		}, metav1.CreateOptions{})
	}
	if err != nil {
		u.Fatal(err)
	}
	u.Cleanup(func() { u.delete("clusterrolebinding/"+reviews.Name, "clusterrole/"+reviews.Name) })
	u.waitAllowed(accountName(u.namespace, account.Name), probe)
}

// accountName returns the user name of a ServiceAccount.
func accountName(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// waitAllowed waits until a user has a permission in the user's namespace. Bindings become effective
// after some milliseconds.
func (u *user) waitAllowed(name string, p permission) {
	u.Helper()
	u.eventually(fmt.Sprintf("%s is allowed to %s", name, p), func() error {
		resource, subresource, _ := strings.Cut(p.resource, "/")
		review, err := cluster.Kube.AuthorizationV1().SubjectAccessReviews().Create(u.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: u.namespace, Verb: p.verb, Group: p.group, Resource: resource, Subresource: subresource, Name: "ray-operator",
			}},
		}, metav1.CreateOptions{})
		if err == nil && !review.Status.Allowed {
			err = errors.New("not allowed: " + review.Status.Reason)
		}
		return err
	})
}

// newLimitedOperator prepares an operator with the permissions of a ServiceAccount in the user's
// namespace. It is stopped when the test ends.
func (u *user) newLimitedOperator(account string, args ...string) *harness.Operator {
	u.Helper()
	token, err := cluster.Kube.CoreV1().ServiceAccounts(u.namespace).CreateToken(u.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		u.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(cluster.Kubeconfig)
	if err != nil {
		u.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	dir := u.TempDir()
	o := &harness.Operator{
		Binary:     cluster.Path("bin/ray-operator"),
		Kubeconfig: filepath.Join(dir, "kubeconfig"),
		Log:        filepath.Join(dir, "log"),
		Args:       args,
	}
	if err := clientcmd.WriteToFile(*config, o.Kubeconfig); err != nil {
		u.Fatal(err)
	}
	u.Cleanup(o.Stop)
	return o
}

// TestPermissionsAreUsed has the operator perform all its operations, and compares the requests in the
// audit log with the permissions that the roles grant.
func TestPermissionsAreUsed(t *testing.T) {
	objects := render(t, cluster.Path("manifests/default"))
	stopOperator(t)
	err := cluster.Kube.CoordinationV1().Leases("ray-system").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := newUser(t)
	mark := markAudit(t)
	o := newOperator(t, "installed", operatorArgs(t, objects)...)
	for _, operation := range operations(u, o, "ray-system") {
		if operation.trigger != nil {
			if err := operation.trigger(); err != nil {
				t.Fatal(err)
			}
		}
		u.eventually("the operator can "+operation.name, operation.done)
	}
	// The audit log has a watch only after it has ended.
	o.Stop()

	used := map[string]bool{
		// An admission plugin checks these permissions. There are no such requests.
		"update rays/finalizers": true,
		"delete services":        true,
	}
	for _, request := range operatorRequests(t, mark, u.namespace, "ray-system") {
		if request.User.Username != accountName("ray-system", "ray-operator") {
			t.Errorf("the operator has the username %s", request.User.Username)
		}
		if request.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("forbidden: %s", request)
		}
		used[request.Verb+" "+request.Resource()] = true
	}
	for _, granted := range permissionsOf(operatorRules(t, objects)) {
		if !used[granted.String()] {
			t.Errorf("the operator does not use its permission to %s", granted)
		}
		delete(used, granted.String())
	}
	for permission := range used {
		t.Errorf("the roles do not grant %s, which the operator used", permission)
	}
}
