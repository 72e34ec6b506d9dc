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
)

// TestRightsAreNeeded takes one right of the operator's away at a time. Something then is not
// done, and it is said which right is missing. Each operator has a namespace of its own, with
// a ServiceAccount that has all but that right there.
func TestRightsAreNeeded(t *testing.T) {
	rules := shippedRules(t, render(t, path("manifests/default")))
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	for _, right := range rightsOf(rules) {
		t.Run(right.String(), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.grantAllBut(right, rules)
			o := u.newProcess("limited", "--namespace", u.namespace, "--leader-elect", "--leader-elect-resource-namespace", u.namespace)
			t.Cleanup(o.stop)
			for _, use := range uses(u, o, u.namespace) {
				if use.do != nil {
					if err := use.do(); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Contains(use.needs, right.String()) {
					u.eventually(use.what, use.done)
					continue
				}
				u.eventually("it is said that a right is missing", func() error { return wantText(use.told(), right.denied()) })
				if use.done() == nil {
					t.Errorf("without the right to %s, %s all the same", right, use.what)
				}
				return
			}
			t.Errorf("nothing takes the right to %s: remove it from the role", right)
		})
	}
}

// grantAllBut makes a ServiceAccount "limited" that has all rights of some rules in the user's
// namespace but one.
func (u *user) grantAllBut(missing right, rules []rbacv1.PolicyRule) {
	u.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "limited"}}
	// Reviews are not in a namespace.
	reviews := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: u.namespace}}
	var probe right
	for _, rule := range rules {
		for _, right := range rightsOf([]rbacv1.PolicyRule{rule}) {
			one := rbacv1.PolicyRule{APIGroups: []string{right.group}, Resources: []string{right.resource}, Verbs: []string{right.verb}, ResourceNames: rule.ResourceNames}
			switch {
			case right == missing:
			case right.isReview():
				reviews.Rules = append(reviews.Rules, one)
			default:
				probe = right
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
	_, err := kube.CoreV1().ServiceAccounts(u.namespace).Create(u.Context(), account, metav1.CreateOptions{})
	if err == nil {
		_, err = kube.RbacV1().Roles(u.namespace).Create(u.Context(), role, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = kube.RbacV1().RoleBindings(u.namespace).Create(u.Context(), binding, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = kube.RbacV1().ClusterRoles().Create(u.Context(), reviews, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = kube.RbacV1().ClusterRoleBindings().Create(u.Context(), &rbacv1.ClusterRoleBinding{
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

// waitAllowed waits until somebody has a right in the user's namespace: what grants it takes
// some milliseconds to be in force.
func (u *user) waitAllowed(name string, right right) {
	u.Helper()
	u.eventually(fmt.Sprintf("%s may %s", name, right), func() error {
		resource, subresource, _ := strings.Cut(right.resource, "/")
		review, err := kube.AuthorizationV1().SubjectAccessReviews().Create(u.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: u.namespace, Verb: right.verb, Group: right.group, Resource: resource, Subresource: subresource, Name: "ray-operator",
			}},
		}, metav1.CreateOptions{})
		if err == nil && !review.Status.Allowed {
			err = errors.New(review.Status.Reason + " it is not allowed")
		}
		return err
	})
}

// newProcess prepares an operator with the rights of a ServiceAccount of the user's namespace.
func (u *user) newProcess(account string, args ...string) *process {
	u.Helper()
	token, err := kube.CoreV1().ServiceAccounts(u.namespace).CreateToken(u.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		u.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(*kubeconfig)
	if err != nil {
		u.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	dir := u.TempDir()
	p := &process{kubeconfig: filepath.Join(dir, "kubeconfig"), log: filepath.Join(dir, "log"), args: args}
	if err := clientcmd.WriteToFile(*config, p.kubeconfig); err != nil {
		u.Fatal(err)
	}
	return p
}

// TestRightsAreUsed has the operator do all that it is there for, and reads in the audit log
// which rights that took: neither more nor fewer than it has.
func TestRightsAreUsed(t *testing.T) {
	objects := render(t, path("manifests/default"))
	operator.stop()
	t.Cleanup(func() { operator.restart(t) })
	err := kube.CoordinationV1().Leases("ray-system").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := newUser(t)
	mark := markAudit(t)
	o, err := newProcess("shipped", shippedArgs(t, objects)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range uses(u, o, "ray-system") {
		if use.do != nil {
			if err := use.do(); err != nil {
				t.Fatal(err)
			}
		}
		u.eventually(use.what, use.done)
	}
	// A watch is in the audit log once it has ended.
	o.stop()

	used := map[string]bool{
		// An admission plugin asks for it, which is no request.
		"update rays/finalizers": true,
	}
	for _, request := range operatorRequests(t, mark, u.namespace, "ray-system") {
		if request.User.Username != accountName("ray-system", "ray-operator") {
			t.Errorf("the operator is %s", request.User.Username)
		}
		if request.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("refused: %s", request)
		}
		used[request.Verb+" "+request.Resource()] = true
	}
	for _, right := range rightsOf(shippedRules(t, objects)) {
		if !used[right.String()] {
			t.Errorf("the operator does not use its right to %s", right)
		}
		delete(used, right.String())
	}
	for right := range used {
		t.Errorf("the operator does %s, which the roles do not grant", right)
	}
}
