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
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// sampleManifest has one head and three workers.
const sampleManifest = "manifests/samples/sample-cluster.yaml"

// user is a test with a namespace of its own, in which it runs kubectl.
type user struct {
	*testing.T
	namespace string
}

// newUser returns a user with a new namespace, which is deleted when the test ends.
func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{T: t, namespace: cluster.NewNamespace(t)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", cluster.Kubectl(context.Background(), "", "--namespace", u.namespace, "get", "rays,deployments,services,events", "-o", "wide").Stdout)
			t.Logf("%s", cluster.Kubectl(context.Background(), "", "--namespace", u.namespace, "get", "rays", "-o", "jsonpath={.items[*].status}").Stdout)
		}
	})
	return u
}

// try runs kubectl in the user's namespace. It may fail.
func (u *user) try(stdin string, args ...string) harness.Output {
	return cluster.Kubectl(u.Context(), stdin, append([]string{"--namespace", u.namespace}, args...)...)
}

// kubectl runs kubectl in the user's namespace, and fails the test if it fails.
func (u *user) kubectl(args ...string) harness.Output {
	u.Helper()
	return u.kubectlWith("", args...)
}

// kubectlWith is kubectl with a manifest on standard input.
func (u *user) kubectlWith(stdin string, args ...string) harness.Output {
	u.Helper()
	out := u.try(stdin, args...)
	if out.Err != nil {
		u.Fatal(out.Err)
	}
	return out
}

// delete deletes objects in a cleanup, when the context of the test is done.
func (u *user) delete(args ...string) {
	u.Helper()
	out := cluster.Kubectl(context.Background(), "", append([]string{"--namespace", u.namespace, "delete"}, args...)...)
	if out.Err != nil {
		u.Error(out.Err)
	}
}

// sample returns the sample with texts replaced, given in pairs.
func (u *user) sample(replacements ...string) string {
	u.Helper()
	data, err := os.ReadFile(cluster.Path(sampleManifest))
	if err != nil {
		u.Fatal(err)
	}
	manifest := string(data)
	for pair := range slices.Chunk(replacements, 2) {
		if !strings.Contains(manifest, pair[0]) {
			u.Fatalf("the sample does not contain %q", pair[0])
		}
		manifest = strings.ReplaceAll(manifest, pair[0], pair[1])
	}
	return manifest
}

// applySample applies the sample with texts replaced, and waits until the Ray is healthy.
func (u *user) applySample(replacements ...string) {
	u.Helper()
	u.kubectlWith(u.sample(replacements...), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
}

// eventually waits until a condition returns nil.
func (u *user) eventually(what string, condition func() error) {
	u.Helper()
	harness.Eventually(u, what, condition)
}

func (u *user) ray(name string) *rayv1.Ray {
	u.Helper()
	ray, err := cluster.Rays.RayV1().Rays(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return ray
}

func (u *user) deployment(name string) *appsv1.Deployment {
	u.Helper()
	deployment, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	return deployment
}

// waitHealth waits until the status is of the Ray's newest generation and Health has a status and
// a message that contains a text. Ready always equals Health.
func (u *user) waitHealth(name string, want corev1.ConditionStatus, text string) rayv1.RayCondition {
	u.Helper()
	var health rayv1.RayCondition
	u.eventually(fmt.Sprintf("Health of %s is %s, %q", name, want, text), func() error {
		ray, err := cluster.Rays.RayV1().Rays(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ray.Status.ObservedGeneration != ray.Generation {
			return fmt.Errorf("the status is of generation %d, the Ray has generation %d", ray.Status.ObservedGeneration, ray.Generation)
		}
		health = *condition(ray, rayv1.RayHealth)
		if health.Status != want || !strings.Contains(health.Message, text) {
			return fmt.Errorf("Health is %s, %s, %q", health.Status, health.Reason, health.Message)
		}
		ready := condition(ray, rayv1.RayReady)
		if ready.Status != health.Status || ready.Reason != health.Reason || ready.Message != health.Message || ready.ObservedGeneration != health.ObservedGeneration {
			u.Errorf("Ready is %v, but Health is %v", ready, health)
		}
		return nil
	})
	return health
}

func (u *user) waitHealthy(name string) { u.Helper(); u.waitHealth(name, corev1.ConditionTrue, "") }

// waitSuspended waits until a Ray is suspended and has no Pods.
func (u *user) waitSuspended(name string) {
	u.Helper()
	u.kubectl("wait", "--for=condition=Suspended", "--timeout=60s", "ray/"+name)
}

// condition returns a condition of a Ray. It is Unknown if the Ray does not have it.
func condition(ray *rayv1.Ray, kind rayv1.RayConditionType) *rayv1.RayCondition {
	for i := range ray.Status.Conditions {
		if ray.Status.Conditions[i].Type == kind {
			return &ray.Status.Conditions[i]
		}
	}
	return &rayv1.RayCondition{Type: kind, Status: corev1.ConditionUnknown, Message: "the condition is missing"}
}

// waitGone waits until an object is deleted.
func (u *user) waitGone(what string, get func() error) {
	u.Helper()
	u.eventually(what+" is deleted", func() error {
		err := get()
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			return errors.New("it exists")
		}
		return err
	})
}

func (u *user) waitDeploymentGone(name string) {
	u.Helper()
	u.waitGone("deployment "+name, func() error {
		_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		return err
	})
}

func (u *user) waitServiceGone(name string) {
	u.Helper()
	u.waitGone("service "+name, func() error {
		_, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), name, metav1.GetOptions{})
		return err
	})
}

// waitEvent waits for an event of a Ray.
func (u *user) waitEvent(ray, kind, reason, message string) {
	u.Helper()
	u.eventually(fmt.Sprintf("there is an event %s %s %q", kind, reason, message), func() error {
		events, err := cluster.Kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray,involvedObject.name=" + ray})
		if err != nil {
			return err
		}
		var seen []string
		for _, event := range events.Items {
			if event.Type == kind && event.Reason == reason && strings.Contains(event.Message, message) && event.Source.Component == "ray-operator" {
				return nil
			}
			seen = append(seen, fmt.Sprintf("%s %s %q", event.Type, event.Reason, event.Message))
		}
		return fmt.Errorf("the events are %v", seen)
	})
}

// pods returns the Pods of a group.
func (u *user) pods(role rayv1.Role) []corev1.Pod {
	u.Helper()
	list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)})
	if err != nil {
		u.Fatal(err)
	}
	return list.Items
}

// podUIDs returns the sorted UIDs of a group's Pods. They change if Pods are replaced.
func (u *user) podUIDs(role rayv1.Role) []string {
	u.Helper()
	var uids []string
	for _, pod := range u.pods(role) {
		uids = append(uids, string(pod.UID))
	}
	slices.Sort(uids)
	return uids
}
