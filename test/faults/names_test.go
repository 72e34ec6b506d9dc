package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// otherRay is the name of a Ray that has nothing to do with a case's own, but to be the
// owner of what stands in its way.
const otherRay = "other"

// child is an object that every Ray has, and the write that makes it in an undisturbed run.
type child struct {
	resource string
	role     rayv1.Role
	write    int
}

func (c child) name() string { return rayName + "-" + string(c.role) }

var children = []child{
	{history.Services, rayv1.RoleHead, 1},
	{history.Deployments, rayv1.RoleHead, 2},
	{history.Deployments, rayv1.RoleWorker, 3},
}

// squatters are objects that have the name of a child, and are not the Ray's.
var squatters = []struct {
	name string
	// reason is what Health has to say.
	reason string
	// claim makes the metadata of the object what the name says.
	claim func(ctx context.Context, namespace string, child child, meta *metav1.ObjectMeta) error
	// leave makes the object go.
	leave func(ctx context.Context, namespace string, child child) error
}{
	{
		name: "no-owner", reason: "NameTaken", leave: deleteSquatter,
		claim: func(context.Context, string, child, *metav1.ObjectMeta) error { return nil },
	},
	{
		name: "same-labels", reason: "NameTaken", leave: deleteSquatter,
		claim: func(_ context.Context, _ string, child child, meta *metav1.ObjectMeta) error {
			maps.Copy(meta.Labels, map[string]string{rayv1.LabelName: rayName, rayv1.LabelRole: string(child.role)})
			return nil
		},
	},
	{
		name: "other-ray", reason: "NameTaken",
		claim: func(ctx context.Context, namespace string, _ child, meta *metav1.ObjectMeta) error {
			owner, err := rays.RayV1().Rays(namespace).Get(ctx, otherRay, metav1.GetOptions{})
			if err == nil {
				meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, rayv1.SchemeGroupVersionKind)}
			}
			return err
		},
		leave: func(ctx context.Context, namespace string, _ child) error { return deleteOtherRay(ctx, namespace) },
	},
	{
		// The garbage collector deletes what belongs to a Ray that is gone, but for the
		// finalizer.
		name: "old-uid", reason: "ChildTerminating", leave: releaseSquatter,
		claim: func(_ context.Context, _ string, _ child, meta *metav1.ObjectMeta) error {
			gone := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: rayName, UID: types.UID("00000000-0000-4000-8000-000000000000")}}
			meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(gone, rayv1.SchemeGroupVersionKind)}
			meta.Finalizers = []string{"example.com/hold"}
			return nil
		},
	},
}

// takenNameCases put somebody else's object where a child would be: before there is a Ray,
// and when the operator is about to create the child.
func takenNameCases() []faultCase {
	create := &workloads[0]
	var cases []faultCase
	for _, child := range children {
		for _, squatter := range squatters {
			settle := func(ctx context.Context, s *scene) error {
				return createSquatter(ctx, s.namespace, child, squatter.claim)
			}
			resolve := func(ctx context.Context, s *scene, _ goal) error {
				return s.resolveName(ctx, child, squatter.reason, squatter.leave)
			}
			name := fmt.Sprintf("name-taken/%s-%s/%s/", child.role, child.resource, squatter.name)
			allowance := oracle.Allowance{Problems: 1, Refused: 1}
			if squatter.reason == "NameTaken" {
				allowance.Warnings = 1
			} else {
				allowance.Waits = 1
			}
			cases = append(cases,
				faultCase{
					name: name + "before", workload: create, allowance: allowance, then: resolve,
					prepare: func(t *testing.T, s *scene) {
						s.addOtherRay(t)
						if err := settle(t.Context(), s); err != nil {
							t.Fatal(err)
						}
					},
				},
				faultCase{
					name: name + "in-the-middle", workload: create, allowance: allowance,
					faults: []proxy.Fault{{Write: child.write, Kind: proxy.Stall, Phase: proxy.BeforeCommit}},
					prepare: func(t *testing.T, s *scene) {
						s.addOtherRay(t)
						s.operator.stalled = func() {}
					},
					then: func(ctx context.Context, s *scene, goal goal) error {
						if err := s.awaitHold(ctx); err != nil {
							return err
						}
						if err := settle(ctx, s); err != nil {
							return err
						}
						s.operator.proxy.Resume()
						return resolve(ctx, s, goal)
					},
				},
			)
		}
	}
	return cases
}

// addOtherRay adds a Ray to a scene, and waits until nothing is left to do for it.
func (s *scene) addOtherRay(t *testing.T) {
	t.Helper()
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: otherRay}, Spec: *newSpec(noWorker)}
	if _, err := rays.RayV1().Rays(s.namespace).Create(t.Context(), ray, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	if err := s.await(ctx, healthy); err != nil {
		t.Fatalf("the other Ray: %v", err)
	}
	if err := s.rest(ctx); err != nil {
		t.Fatalf("the other Ray: %v", err)
	}
}

// resolveName waits until Health names what stands in the way, checks that this is as it
// was, and makes it go.
func (s *scene) resolveName(ctx context.Context, child child, reason string, leave func(context.Context, string, child) error) error {
	before, err := getSquatter(ctx, s.namespace, child)
	if err != nil {
		return err
	}
	if err := s.awaitReason(ctx, *patience, reason, child.name()); err != nil {
		return err
	}
	if err := s.quiet(ctx, quietWindow); err != nil {
		return err
	}
	after, err := getSquatter(ctx, s.namespace, child)
	if err != nil {
		return err
	}
	// The Deployment controller writes its status, and the garbage collector may delete it.
	if after.GetUID() != before.GetUID() || !maps.Equal(after.GetLabels(), before.GetLabels()) || len(after.GetOwnerReferences()) != len(before.GetOwnerReferences()) {
		return fmt.Errorf("what has the name %s was changed", child.name())
	}
	if err := leave(ctx, s.namespace, child); err != nil {
		return err
	}
	return deleteOtherRay(ctx, s.namespace)
}

// deleteOtherRay deletes the other Ray, if it is still there, and with it what it owns.
func deleteOtherRay(ctx context.Context, namespace string) error {
	err := rays.RayV1().Rays(namespace).Delete(ctx, otherRay, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func createSquatter(ctx context.Context, namespace string, child child, claim func(context.Context, string, child, *metav1.ObjectMeta) error) error {
	const app = "somebody-elses"
	meta := metav1.ObjectMeta{Name: child.name(), Labels: map[string]string{"app": app}}
	if err := claim(ctx, namespace, child, &meta); err != nil {
		return err
	}
	var err error
	if child.resource == history.Services {
		service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}}}}
		_, err = kube.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{})
	} else {
		_, err = kube.AppsV1().Deployments(namespace).Create(ctx, newDeployment(app, meta), metav1.CreateOptions{})
	}
	return err
}

// newDeployment returns a Deployment of an app that has nothing to do with Rays, without Pods.
func newDeployment(app string, meta metav1.ObjectMeta) *appsv1.Deployment {
	own := map[string]string{"app": app}
	return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(0)),
		Selector: &metav1.LabelSelector{MatchLabels: own},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: own},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}},
		},
	}}
}

func getSquatter(ctx context.Context, namespace string, child child) (metav1.Object, error) {
	if child.resource == history.Services {
		return kube.CoreV1().Services(namespace).Get(ctx, child.name(), metav1.GetOptions{})
	}
	return kube.AppsV1().Deployments(namespace).Get(ctx, child.name(), metav1.GetOptions{})
}

func deleteSquatter(ctx context.Context, namespace string, child child) error {
	if child.resource == history.Services {
		return kube.CoreV1().Services(namespace).Delete(ctx, child.name(), metav1.DeleteOptions{})
	}
	return kube.AppsV1().Deployments(namespace).Delete(ctx, child.name(), metav1.DeleteOptions{})
}

// releaseSquatter lets an object go whose deletion has begun.
func releaseSquatter(ctx context.Context, namespace string, child child) error {
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	var err error
	if child.resource == history.Services {
		_, err = kube.CoreV1().Services(namespace).Patch(ctx, child.name(), types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = kube.AppsV1().Deployments(namespace).Patch(ctx, child.name(), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	return err
}

// awaitReason waits until the Ray's Health is not True for a reason, and its message has a text.
func (s *scene) awaitReason(ctx context.Context, within time.Duration, reason, text string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("for %v Health does not say %s about %q", within, reason, text))
	defer cancel()
	err := s.await(ctx, func(state *history.State) error {
		for i := range state.Rays {
			if state.Rays[i].Name == rayName && oracle.Explains(&state.Rays[i], reason, text) {
				return nil
			}
		}
		return errors.New("the reason is not told yet")
	})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}
