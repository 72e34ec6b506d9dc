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
	"k8s.io/client-go/tools/clientcmd"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

const policyName = "ray-pod-rights.ray.kubeflow.org"

// verdict is what becomes of a request.
type verdict string

const (
	allowed verdict = "allowed"
	// noRight says that the user does not have the right on Rays.
	noRight verdict = "refused for want of a right on Rays"
	// deputy says that the policy refused the request: the user does not have the right on
	// Deployments.
	deputy verdict = "refused by the policy"
)

// attempts are what users try with a Ray that exists, or with one that they make. All are
// dry runs: they pass authorization and admission, and change nothing.
var attempts = []struct {
	name string
	// right is what the policy asks for.
	right string
	try   func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error
}{
	{"create a Ray", `cannot create resource "deployments"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		other := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: ray.Spec}
		_, err := as.RayV1().Rays(ray.Namespace).Create(ctx, other, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"change its template", `cannot create resource "deployments"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		ray.Spec.Head.Template.Spec.Containers[0].Image = "another"
		_, err := as.RayV1().Rays(ray.Namespace).Update(ctx, ray, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"scale it", `cannot update resource "deployments/scale"`, func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		scale := &autoscalingv1.Scale{
			TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
			ObjectMeta: metav1.ObjectMeta{Name: ray.Name, Namespace: ray.Namespace},
			Spec:       autoscalingv1.ScaleSpec{Replicas: 5},
		}
		return as.RayV1().RESTClient().Put().Namespace(ray.Namespace).Resource("rays").Name(ray.Name).SubResource("scale").
			Param("dryRun", metav1.DryRunAll).Body(scale).Do(ctx).Error()
	}},
	{"label it", "", func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		patch := []byte(`{"metadata":{"labels":{"team":"a"},"finalizers":["example.com/hold"]}}`)
		_, err := as.RayV1().Rays(ray.Namespace).Patch(ctx, ray.Name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}},
	{"delete it", "", func(ctx context.Context, as versioned.Interface, ray *rayv1.Ray) error {
		return as.RayV1().Rays(ray.Namespace).Delete(ctx, ray.Name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}},
}

// TestConfusedDeputy has users with all kinds of rights try to gain Pods through a Ray, in
// their own namespace and in another one.
func TestConfusedDeputy(t *testing.T) {
	t.Parallel()
	home, away := newUser(t), newUser(t)
	all := [5]verdict{allowed, allowed, allowed, allowed, allowed}
	nothing := [5]verdict{noRight, noRight, noRight, noRight, noRight}
	raysOnly := [5]verdict{deputy, deputy, deputy, allowed, allowed}
	for _, u := range []*user{home, away} {
		u.createRole("deployments", right{"apps", "deployments", "create"})
		u.createRole("deployments-update", right{"apps", "deployments", "update"})
		u.createRole("deployments-scale", right{"apps", "deployments/scale", "update"})
		u.createRole("rays-scale", right{rayv1.SchemeGroupVersion.Group, "rays/scale", "update"})
		if err := u.createRay("victim"); err != nil {
			t.Fatal(err)
		}
		u.waitHealthy("victim")
	}
	home.bind("probe", []string{"ray-editor"})
	home.eventually("the policy is in force", func() error {
		err := attempts[0].try(t.Context(), impersonate(t, "probe"), home.ray("victim"))
		if err == nil {
			return errors.New("it refuses nothing")
		}
		return wantText(err.Error(), policyName)
	})
	for _, test := range []struct {
		user       string
		home, away []string // roles that the user has there
		// What becomes of the attempts: create a Ray, change its template, scale it, label it, delete it.
		wantHome, wantAway [5]verdict
	}{
		{"nobody", nil, nil, nothing, nothing},
		{"viewer", []string{"view"}, nil, nothing, nothing},
		{"editor", []string{"edit"}, nil, all, nothing},
		{"administrator", []string{"admin"}, nil, all, nothing},
		{"rays", []string{"ray-editor"}, nil, raysOnly, nothing},
		{"deployments", []string{"deployments", "deployments-scale"}, nil, nothing, nothing},
		{"rays-and-deployments", []string{"ray-editor", "deployments"}, nil, [5]verdict{allowed, allowed, deputy, allowed, allowed}, nothing},
		{"rays-and-updates", []string{"ray-editor", "deployments-update"}, nil, raysOnly, nothing},
		{"rays-here-editor-there", []string{"ray-editor"}, []string{"edit"}, raysOnly, all},
		{"rays-here-deployments-there", []string{"ray-editor"}, []string{"deployments", "deployments-scale"}, raysOnly, nothing},
		{"scaler", []string{"rays-scale"}, nil, [5]verdict{noRight, noRight, deputy, noRight, noRight}, nothing},
		{"scaler-of-both", []string{"rays-scale", "deployments-scale"}, nil, [5]verdict{noRight, noRight, allowed, noRight, noRight}, nothing},
		// What HorizontalPodAutoscalers scale with.
		{
			accountName("kube-system", "horizontal-pod-autoscaler"), nil, nil,
			[5]verdict{noRight, noRight, allowed, noRight, noRight},
			[5]verdict{noRight, noRight, allowed, noRight, noRight},
		},
	} {
		t.Run(test.user, func(t *testing.T) {
			home.bind(test.user, test.home)
			away.bind(test.user, test.away)
			as := impersonate(t, test.user)
			for i := range attempts {
				home.tries(t, as, test.user, i, test.wantHome[i])
				away.tries(t, as, test.user, i, test.wantAway[i])
			}
		})
	}
}

// tries checks what becomes of an attempt in the user's namespace.
func (u *user) tries(t *testing.T, as versioned.Interface, name string, attempt int, want verdict) {
	t.Helper()
	this := attempts[attempt]
	err := this.try(t.Context(), as, u.ray("victim"))
	got := allowed
	switch {
	case err == nil:
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), policyName):
		got = deputy
		missing := fmt.Sprintf(`%s %s in API group "apps" in the namespace %q`, name, this.right, u.namespace)
		if this.right == "" || !strings.Contains(err.Error(), missing) {
			t.Errorf("to %s: the message is %q, which does not say %q", this.name, err, missing)
		}
	case apierrors.IsForbidden(err):
		got = noRight
	default:
		t.Errorf("to %s: %v", this.name, err)
	}
	if got != want {
		t.Errorf("to %s in %s is %s, want it %s: %v", this.name, u.namespace, got, want, err)
	}
}

// createRole creates a Role in the user's namespace.
func (u *user) createRole(name string, rights ...right) {
	u.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, right := range rights {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{right.group}, Resources: []string{right.resource}, Verbs: []string{right.verb}})
	}
	if _, err := kube.RbacV1().Roles(u.namespace).Create(u.Context(), role, metav1.CreateOptions{}); err != nil {
		u.Fatal(err)
	}
}

// impersonate returns a client for Rays that acts as somebody.
func impersonate(t *testing.T, name string) versioned.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
