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
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

// operation is something that the operator does, and the permissions that it requires.
type operation struct {
	name     string
	requires []string
	// trigger makes the operator do it. It is nil if nothing has to.
	trigger func() error
	// done returns nil once the operator has done it.
	done func() error
	// report returns the text that contains the denial if a permission is missing.
	report func() string
}

// operations returns what an operator does for one Ray, in order. Together, the operations require
// all permissions of the operator.
func operations(u *user, o *harness.Operator, leaseNamespace string) []operation {
	const ray = "sample-cluster"
	var token string
	log := func() string { return strings.ReplaceAll(readFile(u.T, o.Log), `\"`, `"`) }
	health := func() string { return condition(u.ray(ray), rayv1.RayHealth).Message }
	return []operation{
		{
			name:     "start",
			requires: []string{"list rays", "watch rays", "list services", "watch services", "list deployments", "watch deployments", "get leases", "create leases"},
			trigger:  func() error { return o.Launch(u.Context()) },
			done:     func() error { return o.Ready(u.Context()) },
			report:   log,
		},
		{
			name: "acquire the lease", report: log,
			done: func() error { return wantText(log(), "Starting workers") },
		},
		{
			name: "renew the lease", requires: []string{"update leases"}, report: log,
			done: func() error {
				lease, err := cluster.Kube.CoordinationV1().Leases(leaseNamespace).Get(u.Context(), "ray-operator", metav1.GetOptions{})
				if err == nil && !lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Time) {
					return errors.New("the lease has not been renewed")
				}
				return err
			},
		},
		{
			name: "authorize requests for metrics", requires: []string{"create tokenreviews", "create subjectaccessreviews"},
			trigger: func() error {
				var err error
				token, err = u.newToken("unauthorized")
				return err
			},
			report: func() string {
				scrape(u.T, metricsURL(u.T, o, "https", "/metrics"), token)
				return log()
			},
			done: func() error {
				code, page := scrape(u.T, metricsURL(u.T, o, "https", "/metrics"), token)
				if code != http.StatusForbidden {
					return fmt.Errorf("%d %s", code, page)
				}
				return nil
			},
		},
		{
			name: "write the status", requires: []string{"update rays/status"}, report: log,
			trigger: func() error { return u.createRay(ray) },
			done: func() error {
				if u.ray(ray).Status.StartTime == nil {
					return errors.New("the status is empty")
				}
				return nil
			},
		},
		{
			name: "create the Service", requires: []string{"create services", "update rays/finalizers"}, report: health,
			done: func() error {
				_, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				return err
			},
		},
		{
			name: "create the Deployments", requires: []string{"create deployments"}, report: health,
			done: func() error { return wantText(condition(u.ray(ray), rayv1.RayHealth).Reason, "AllReplicasAvailable") },
		},
		{
			name: "record an event", requires: []string{"create events"}, report: log,
			done: func() error { return u.wantEventCount(ray, "Successfully create the service", 1) },
		},
		{
			name: "recreate a deleted Service", requires: []string{"get rays", "get services"}, report: health,
			trigger: func() error {
				return cluster.Kube.CoreV1().Services(u.namespace).Delete(u.Context(), ray+"-head", metav1.DeleteOptions{})
			},
			done: func() error {
				_, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				return err
			},
		},
		{
			name: "increment the count of an event", requires: []string{"patch events"}, report: log,
			done: func() error { return u.wantEventCount(ray, "Successfully create the service", 2) },
		},
		{
			name: "recreate a deleted Deployment", requires: []string{"get deployments"}, report: health,
			trigger: func() error {
				return cluster.Kube.AppsV1().Deployments(u.namespace).Delete(u.Context(), ray+"-worker", metav1.DeleteOptions{})
			},
			done: func() error {
				_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(u.Context(), ray+"-worker", metav1.GetOptions{})
				return err
			},
		},
		{
			name: "scale the workers", requires: []string{"update deployments"}, report: health,
			trigger: func() error { return u.patchRay(ray, `[{"op":"replace","path":"/spec/worker/replicas","value":2}]`) },
			done:    func() error { return wantCount(2, int(*u.deployment(ray + "-worker").Spec.Replicas)) },
		},
		{
			name: "read the Pods of an incomplete group", requires: []string{"list pods"},
			trigger: func() error {
				return u.patchRay(ray, `[{"op":"add","path":"/spec/worker/template/spec/nodeSelector","value":{"example.com/no":"node"}}]`)
			},
			done:   func() error { return wantText(condition(u.ray(ray), rayv1.RayHealth).Reason, "PodFailure") },
			report: func() string { return health() + log() },
		},
		{
			name: "update the Service", requires: []string{"update services"}, report: health,
			trigger: func() error {
				return u.patchRay(ray, `[{"op":"replace","path":"/spec/head/template/spec/containers/0/ports","value":[{"containerPort":8265}]}]`)
			},
			done: func() error {
				service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				if err != nil {
					return err
				}
				return wantCount(8265, int(service.Spec.Ports[0].Port))
			},
		},
		{
			name: "delete the workers", requires: []string{"delete deployments"}, report: health,
			trigger: func() error { return u.patchRay(ray, `[{"op":"remove","path":"/spec/worker"}]`) },
			done: func() error {
				_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Get(u.Context(), ray+"-worker", metav1.GetOptions{})
				switch {
				case err == nil:
					return errors.New("the Deployment exists")
				case apierrors.IsNotFound(err):
					return nil
				default:
					return err
				}
			},
		},
		{
			// The children of the deleted Ray are those of the new one.
			name: "adopt children", requires: []string{"delete services", "delete deployments"}, report: health,
			trigger: func() error { return u.recreateRay(ray) },
			done: func() error {
				service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				if err != nil {
					return err
				}
				for _, child := range []metav1.Object{service, u.deployment(ray + "-head")} {
					if !metav1.IsControlledBy(child, u.ray(ray)) {
						return fmt.Errorf("%s has the owner references %v", child.GetName(), child.GetOwnerReferences())
					}
				}
				return nil
			},
		},
		{
			name: "remove an idle worker", requires: []string{"patch pods"}, report: log,
			trigger: func() error {
				u.newNamedRay("autoscaled", 1, "{maxReplicas: 1, idleTimeoutSeconds: 1}")
				return nil
			},
			done: func() error { return wantCount(0, int(*u.deployment("autoscaled-worker").Spec.Replicas)) },
		},
	}
}

func wantText(text, want string) error {
	if !strings.Contains(text, want) {
		return fmt.Errorf("got %q, want it to contain %q", text[max(0, len(text)-1000):], want)
	}
	return nil
}

// createRay creates a Ray like the sample, with one worker.
func (u *user) createRay(name string) error {
	ray := &rayv1.Ray{}
	if err := yaml.Unmarshal([]byte(u.sample("replicas: 3", "replicas: 1")), ray); err != nil {
		return err
	}
	ray.Name = name
	_, err := cluster.Rays.RayV1().Rays(u.namespace).Create(u.Context(), ray, metav1.CreateOptions{})
	return err
}

// recreateRay deletes a Ray without its children, and creates it again.
func (u *user) recreateRay(name string) error {
	rays := cluster.Rays.RayV1().Rays(u.namespace)
	if err := rays.Delete(u.Context(), name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationOrphan)}); err != nil {
		return err
	}
	u.waitGone("the Ray", func() error {
		_, err := rays.Get(u.Context(), name, metav1.GetOptions{})
		return err
	})
	return u.createRay(name)
}

func (u *user) patchRay(name, patch string) error {
	_, err := cluster.Rays.RayV1().Rays(u.namespace).Patch(u.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// wantEventCount returns an error unless there is an event with a message and a count.
func (u *user) wantEventCount(ray, message string, count int32) error {
	events, err := cluster.Kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray,involvedObject.name=" + ray})
	if err != nil {
		return err
	}
	for _, event := range events.Items {
		if strings.Contains(event.Message, message) && event.Count == count {
			return nil
		}
	}
	return fmt.Errorf("no event has the message %q and the count %d", message, count)
}
