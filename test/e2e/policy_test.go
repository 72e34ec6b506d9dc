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
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

const policyName = "ray-pod-rights.ray.kubeflow.org"

// outcome is the outcome of a request.
type outcome string

const (
	allowed outcome = "allowed"
	// forbidden means that the user lacks a permission for Rays.
	forbidden outcome = "forbidden by RBAC"
	// denied means that the user lacks a permission for Deployments.
	denied outcome = "denied by the policy"
)

// requests are dry runs: they pass authorization and admission, and change nothing.
var requests = []struct {
	name string
	// denial is the permission that the policy requires, as in its message.
	denial string
	do     func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error
}{
	{"create", `cannot create resource "deployments"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		other := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: ray.Spec}
		_, err := as.RayV1().Rays(ray.Namespace).Create(ctx, other, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"change the template", `cannot create resource "deployments"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		ray.Spec.Head.Template.Spec.Containers[0].Image = "another"
		_, err := as.RayV1().Rays(ray.Namespace).Update(ctx, ray, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"scale", `cannot update resource "deployments/scale"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		scale := &autoscalingv1.Scale{
			TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
			ObjectMeta: metav1.ObjectMeta{Name: ray.Name, Namespace: ray.Namespace},
			Spec:       autoscalingv1.ScaleSpec{Replicas: 5},
		}
		return as.RayV1().RESTClient().Put().Namespace(ray.Namespace).Resource("rays").Name(ray.Name).SubResource("scale").
			Param("dryRun", metav1.DryRunAll).Body(scale).Do(ctx).Error()
	}},
	{"label", "", func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		patch := []byte(`{"metadata":{"labels":{"team":"a"},"finalizers":["example.com/hold"]}}`)
		_, err := as.RayV1().Rays(ray.Namespace).Patch(ctx, ray.Name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"delete", "", func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		return as.RayV1().Rays(ray.Namespace).Delete(ctx, ray.Name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}},
}

// TestPodPermissionPolicy checks that users can run Pods through a Ray only if they may do so through
// a Deployment, in their own namespace and in another one.
func TestPodPermissionPolicy(t *testing.T) {
	t.Parallel()
	own, other := newUser(t), newUser(t)
	all := [5]outcome{allowed, allowed, allowed, allowed, allowed}
	nothing := [5]outcome{forbidden, forbidden, forbidden, forbidden, forbidden}
	raysOnly := [5]outcome{denied, denied, denied, allowed, allowed}
	for _, u := range []*user{own, other} {
		u.createRole("deployments", permission{"apps", "deployments", "create"})
		u.createRole("deployments-update", permission{"apps", "deployments", "update"})
		u.createRole("deployments-scale", permission{"apps", "deployments/scale", "update"})
		u.createRole("rays-scale", permission{rayv1.SchemeGroupVersion.Group, "rays/scale", "update"})
		if err := u.createRay("existing"); err != nil {
			t.Fatal(err)
		}
		u.waitHealthy("existing")
	}
	own.bind("probe", []string{"ray-editor"})
	own.eventually("the policy is enforced", func() error {
		err := requests[0].do(t.Context(), impersonate(t, "probe"), own.ray("existing"))
		if err == nil {
			return errors.New("the request was allowed")
		}
		return wantText(err.Error(), policyName)
	})
	for _, test := range []struct {
		user       string
		own, other []string // roles of the user in both namespaces
		// Outcomes of: create, change the template, scale, label, delete.
		wantOwn, wantOther [5]outcome
	}{
		{"nobody", nil, nil, nothing, nothing},
		{"viewer", []string{"view"}, nil, nothing, nothing},
		{"editor", []string{"edit"}, nil, all, nothing},
		{"administrator", []string{"admin"}, nil, all, nothing},
		{"rays", []string{"ray-editor"}, nil, raysOnly, nothing},
		{"deployments", []string{"deployments", "deployments-scale"}, nil, nothing, nothing},
		{"rays-and-deployments", []string{"ray-editor", "deployments"}, nil, [5]outcome{allowed, allowed, denied, allowed, allowed}, nothing},
		{"rays-and-updates", []string{"ray-editor", "deployments-update"}, nil, raysOnly, nothing},
		{"rays-here-editor-there", []string{"ray-editor"}, []string{"edit"}, raysOnly, all},
		{"rays-here-deployments-there", []string{"ray-editor"}, []string{"deployments", "deployments-scale"}, raysOnly, nothing},
		{"scaler", []string{"rays-scale"}, nil, [5]outcome{forbidden, forbidden, denied, forbidden, forbidden}, nothing},
		{"scaler-of-both", []string{"rays-scale", "deployments-scale"}, nil, [5]outcome{forbidden, forbidden, allowed, forbidden, forbidden}, nothing},
		// The identity of HorizontalPodAutoscalers.
		{
			accountName("kube-system", "horizontal-pod-autoscaler"), nil, nil,
			[5]outcome{forbidden, forbidden, allowed, forbidden, forbidden},
			[5]outcome{forbidden, forbidden, allowed, forbidden, forbidden},
		},
	} {
		t.Run(test.user, func(t *testing.T) {
			own.bind(test.user, test.own)
			other.bind(test.user, test.other)
			as := impersonate(t, test.user)
			for i := range requests {
				own.checkOutcome(t, as, test.user, i, test.wantOwn[i])
				other.checkOutcome(t, as, test.user, i, test.wantOther[i])
			}
		})
	}
}

// checkOutcome checks the outcome of a request in the user's namespace.
func (u *user) checkOutcome(t *testing.T, as versioned.Interface, name string, index int, want outcome) {
	t.Helper()
	request := requests[index]
	err := request.do(t.Context(), as, u.ray("existing"))
	got := allowed
	switch {
	case err == nil:
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), policyName):
		got = denied
		missing := fmt.Sprintf(`user %q %s in API group "apps" in the namespace %q`, name, request.denial, u.namespace)
		if request.denial == "" || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: the message is %q, want %q", request.name, err, missing)
		}
	case apierrors.IsForbidden(err):
		got = forbidden
	default:
		t.Errorf("%s: %v", request.name, err)
	}
	if got != want {
		t.Errorf("%s in namespace %s is %s, want %s: %v", request.name, u.namespace, got, want, err)
	}
}

// createRole creates a Role in the user's namespace.
func (u *user) createRole(name string, permissions ...permission) {
	u.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, p := range permissions {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{p.group}, Resources: []string{p.resource}, Verbs: []string{p.verb}})
	}
	if _, err := cluster.Kube.RbacV1().Roles(u.namespace).Create(u.Context(), role, metav1.CreateOptions{}); err != nil {
		u.Fatal(err)
	}
}

// impersonate returns a client that impersonates a user.
func impersonate(t *testing.T, name string) versioned.Interface {
	t.Helper()
	config, err := cluster.Config()
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
