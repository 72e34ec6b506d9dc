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

// otherRay is the name of a second Ray, which controls the conflicting object in some cases.
const otherRay = "other"

// child is an object that every Ray has, and the number of the write that creates it in an
// undisturbed run.
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

// conflicts are the kinds of objects that have the name of a child but are not the Ray's.
var conflicts = []struct {
	name string
	// reason is the expected reason of Health.
	reason string
	// prepare sets the metadata of the object.
	prepare func(ctx context.Context, namespace string, child child, meta *metav1.ObjectMeta) error
	// resolve removes the object.
	resolve func(ctx context.Context, namespace string, child child) error
}{
	{
		name: "no-owner", reason: "AlreadyExists", resolve: deleteConflict,
		prepare: func(context.Context, string, child, *metav1.ObjectMeta) error { return nil },
	},
	{
		name: "same-labels", reason: "AlreadyExists", resolve: deleteConflict,
		prepare: func(_ context.Context, _ string, child child, meta *metav1.ObjectMeta) error {
			maps.Copy(meta.Labels, map[string]string{rayv1.LabelName: rayName, rayv1.LabelRole: string(child.role)})
			return nil
		},
	},
	{
		name: "other-ray", reason: "AlreadyExists",
		prepare: func(ctx context.Context, namespace string, _ child, meta *metav1.ObjectMeta) error {
			owner, err := rays.RayV1().Rays(namespace).Get(ctx, otherRay, metav1.GetOptions{})
			if err == nil {
				meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, rayv1.SchemeGroupVersionKind)}
			}
			return err
		},
		resolve: func(ctx context.Context, namespace string, _ child) error { return deleteOtherRay(ctx, namespace) },
	},
	{
		// The garbage collector deletes the object, since its Ray does not exist. The finalizer delays
		// that.
		name: "old-uid", reason: "ChildTerminating", resolve: removeFinalizer,
		prepare: func(_ context.Context, _ string, _ child, meta *metav1.ObjectMeta) error {
			gone := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: rayName, UID: types.UID("00000000-0000-4000-8000-000000000000")}}
			meta.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(gone, rayv1.SchemeGroupVersionKind)}
			meta.Finalizers = []string{"example.com/hold"}
			return nil
		},
	},
}

// alreadyExistsCases create an object with the name of a child that the Ray does not control: before
// the Ray is created, and while the operator creates the child.
func alreadyExistsCases() []faultCase {
	create := &workloads[0]
	var cases []faultCase
	for _, child := range children {
		for _, conflict := range conflicts {
			if conflict.name == "same-labels" && child.resource == history.Services {
				continue // the Ray adopts it, unlike a Deployment with another selector
			}
			collide := func(ctx context.Context, s *setup) error {
				return createConflict(ctx, s.namespace, child, conflict.prepare)
			}
			resolve := func(ctx context.Context, s *setup, _ goal) error {
				return s.resolveConflict(ctx, child, conflict.reason, conflict.resolve)
			}
			name := fmt.Sprintf("already-exists/%s-%s/%s/", child.role, child.resource, conflict.name)
			allowance := oracle.Allowance{ProblemStatuses: 1, Rejected: 1}
			if conflict.reason == "AlreadyExists" {
				allowance.WarningEvents = 1
			} else {
				allowance.NormalEvents = 1
			}
			cases = append(cases,
				faultCase{
					name: name + "before-create", workload: create, allowance: allowance, then: resolve,
					prepare: func(t *testing.T, s *setup) {
						s.addOtherRay(t)
						if err := collide(t.Context(), s); err != nil {
							t.Fatal(err)
						}
					},
				},
				faultCase{
					name: name + "during-create", workload: create, allowance: allowance,
					faults: []proxy.Fault{{Write: child.write, Kind: proxy.Stall, Phase: proxy.BeforeCommit}},
					prepare: func(t *testing.T, s *setup) {
						s.addOtherRay(t)
						s.operator.stalled = func() {}
					},
					then: func(ctx context.Context, s *setup, goal goal) error {
						if err := s.awaitHeldAndIdle(ctx); err != nil {
							return err
						}
						if err := collide(ctx, s); err != nil {
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

// addOtherRay adds a second Ray to a setup, and waits for its steady state.
func (s *setup) addOtherRay(t *testing.T) {
	t.Helper()
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: otherRay}, Spec: *newSpec(noWorker)}
	if _, err := rays.RayV1().Rays(s.namespace).Create(t.Context(), ray, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *stepTimeout)
	defer cancel()
	if err := s.await(ctx, healthy); err != nil {
		t.Fatalf("second Ray: %v", err)
	}
	if err := s.awaitSteadyState(ctx); err != nil {
		t.Fatalf("second Ray: %v", err)
	}
}

// resolveConflict waits until Health reports the conflicting object, checks that the object is
// unchanged, and removes it.
func (s *setup) resolveConflict(ctx context.Context, child child, reason string, resolve func(context.Context, string, child) error) error {
	before, err := getConflict(ctx, s.namespace, child)
	if err != nil {
		return err
	}
	if err := s.awaitReason(ctx, *stepTimeout, reason, child.name()); err != nil {
		return err
	}
	if err := s.awaitIdle(ctx, idleWindow); err != nil {
		return err
	}
	after, err := getConflict(ctx, s.namespace, child)
	if err != nil {
		return err
	}
	// The Deployment controller may write its status, and the garbage collector may delete it.
	if after.GetUID() != before.GetUID() || !maps.Equal(after.GetLabels(), before.GetLabels()) || len(after.GetOwnerReferences()) != len(before.GetOwnerReferences()) {
		return fmt.Errorf("the object %q, which the Ray does not control, was changed", child.name())
	}
	if err := resolve(ctx, s.namespace, child); err != nil {
		return err
	}
	return deleteOtherRay(ctx, s.namespace)
}

// deleteOtherRay deletes the second Ray, with its children, unless it is gone.
func deleteOtherRay(ctx context.Context, namespace string) error {
	err := rays.RayV1().Rays(namespace).Delete(ctx, otherRay, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func createConflict(ctx context.Context, namespace string, child child, prepare func(context.Context, string, child, *metav1.ObjectMeta) error) error {
	const app = "unrelated"
	meta := metav1.ObjectMeta{Name: child.name(), Labels: map[string]string{"app": app}}
	if err := prepare(ctx, namespace, child, &meta); err != nil {
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

// newDeployment returns a Deployment of an unrelated app, without Pods.
func newDeployment(app string, meta metav1.ObjectMeta) *appsv1.Deployment {
	labels := map[string]string{"app": app}
	return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(0)),
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}},
		},
	}}
}

func getConflict(ctx context.Context, namespace string, child child) (metav1.Object, error) {
	if child.resource == history.Services {
		return kube.CoreV1().Services(namespace).Get(ctx, child.name(), metav1.GetOptions{})
	}
	return kube.AppsV1().Deployments(namespace).Get(ctx, child.name(), metav1.GetOptions{})
}

func deleteConflict(ctx context.Context, namespace string, child child) error {
	if child.resource == history.Services {
		return kube.CoreV1().Services(namespace).Delete(ctx, child.name(), metav1.DeleteOptions{})
	}
	return kube.AppsV1().Deployments(namespace).Delete(ctx, child.name(), metav1.DeleteOptions{})
}

// removeFinalizer lets the deletion of an object finish.
func removeFinalizer(ctx context.Context, namespace string, child child) error {
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	var err error
	if child.resource == history.Services {
		_, err = kube.CoreV1().Services(namespace).Patch(ctx, child.name(), types.MergePatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = kube.AppsV1().Deployments(namespace).Patch(ctx, child.name(), types.MergePatchType, patch, metav1.PatchOptions{})
	}
	return err
}

// awaitReason waits until the Ray's Health is not True, with a reason and a text in its message.
func (s *setup) awaitReason(ctx context.Context, within time.Duration, reason, text string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("Health does not have reason %s and message %q within %v", reason, text, within))
	defer cancel()
	err := s.await(ctx, func(state *history.State) error {
		for i := range state.Rays {
			if state.Rays[i].Name == rayName && oracle.ReportsProblem(&state.Rays[i], reason, text) {
				return nil
			}
		}
		return errors.New("the problem is not reported")
	})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}
