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
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// minCorpus is the number of Pod templates that the corpus has at least.
const minCorpus = 100

// TestSameAsDeployment gives Pod templates that were written for other purposes to a Deployment and to
// a Ray. If the API server accepts the Deployment, it accepts the Ray, and both groups have the same
// Pod template as the Deployment, except for what the operator adds. If the API server rejects the
// Deployment, it rejects the Ray, or the Ray reports the same error.
func TestSameAsDeployment(t *testing.T) {
	corpus := readCorpus(t)
	if len(corpus) < minCorpus {
		t.Fatalf("the corpus has %d Pod templates, want at least %d", len(corpus), minCorpus)
	}
	corpus = append(corpus, readHandwritten(t)...)
	u := newUser(t)
	comparisons := make([]comparison, len(corpus))
	var group errgroup.Group
	group.SetLimit(16)
	for i := range corpus {
		group.Go(func() error {
			var err error
			if comparisons[i], err = u.createBoth(fmt.Sprintf("t%d", i), corpus[i].template); err != nil {
				return fmt.Errorf("%s: %w", corpus[i].source, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	rays, deployments := u.waitStatuses()

	counts := map[string]int{}
	for i := range comparisons {
		outcome, differences := comparisons[i].compare(rays, deployments)
		counts[outcome]++
		for _, difference := range differences {
			t.Errorf("%s: %s", corpus[i].source, difference)
		}
		if want := corpus[i].outcome; want != "" && outcome != want {
			t.Errorf("%s: %s, want: %s (Deployment: %v, Ray: %v)", corpus[i].source, outcome, want, comparisons[i].deploymentErr, comparisons[i].rayErr)
		}
	}
	t.Logf("%d Pod templates: %v", len(corpus), counts)
}

// comparison compares a Deployment and a Ray with the same Pod template.
type comparison struct {
	// name is the name of the Ray.
	name string
	// deployment is the Deployment as the API server would store it, unless it was rejected.
	deployment            appsv1.Deployment
	deploymentErr, rayErr error
}

// createBoth creates a Deployment, as a dry run, and a Ray with the same Pod template.
func (u *user) createBoth(name string, template map[string]any) (comparison, error) {
	template = preparedTemplate(template, name)
	c := comparison{name: name}
	c.deploymentErr = u.create(cluster.Kube.AppsV1().RESTClient(), "apis/apps/v1", "deployments", map[string]any{
		"kind": "Deployment", "apiVersion": "apps/v1",
		"metadata": map[string]any{"name": name + "-head"},
		"spec": map[string]any{
			"replicas": 0,
			"selector": map[string]any{"matchLabels": map[string]any{"corpus": name}},
			"template": template,
		},
	}, &c.deployment, metav1.DryRunAll)
	groupSpec := map[string]any{"replicas": 0, "template": template}
	c.rayErr = u.create(cluster.Rays.RayV1().RESTClient(), "apis/ray.kubeflow.org/v1", "rays", map[string]any{
		"kind": "Ray", "apiVersion": "ray.kubeflow.org/v1",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"head": groupSpec, "worker": groupSpec},
	}, &rayv1.Ray{})
	for _, err := range []error{c.deploymentErr, c.rayErr} {
		if err != nil && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			return c, err
		}
	}
	return c, nil
}

// waitStatuses waits until all Rays have a status, and returns the Rays and the Deployments by name.
func (u *user) waitStatuses() (map[string]*rayv1.Ray, map[string]*appsv1.Deployment) {
	u.Helper()
	rays, deployments := map[string]*rayv1.Ray{}, map[string]*appsv1.Deployment{}
	ctx, cancel := context.WithTimeout(u.Context(), 3*time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, time.Second, false, func(ctx context.Context) (bool, error) {
		list, err := cluster.Rays.RayV1().Rays(u.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for i := range list.Items {
			if list.Items[i].Status.ObservedGeneration < 1 {
				return false, nil
			}
			rays[list.Items[i].Name] = &list.Items[i]
		}
		return true, nil
	})
	if err != nil {
		u.Fatalf("waiting for the status of all Rays: %v", err)
	}
	list, err := cluster.Kube.AppsV1().Deployments(u.namespace).List(u.Context(), metav1.ListOptions{})
	if err != nil {
		u.Fatal(err)
	}
	for i := range list.Items {
		deployments[list.Items[i].Name] = &list.Items[i]
	}
	return rays, deployments
}

// Outcomes of a comparison.
const (
	accepted     = "accepted"
	rejected     = "rejected"
	failedCreate = "rejected when the operator creates the Deployment"
	different    = "different"
)

// compare returns the outcome for both, and the differences if they do not agree.
func (c *comparison) compare(rays map[string]*rayv1.Ray, deployments map[string]*appsv1.Deployment) (outcome string, differences []string) {
	switch {
	case c.deploymentErr != nil && c.rayErr != nil:
		return rejected, nil
	case c.rayErr != nil:
		return different, []string{"rejected: " + c.rayErr.Error()}
	}
	health := condition(rays[c.name], rayv1.RayHealth)
	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		child := deployments[c.name+"-"+string(role)]
		switch {
		case c.deploymentErr == nil && child != nil:
			removeAdded(&child.Spec.Template, &c.deployment.Spec.Template)
			differences = append(differences, differencesOf(string(role), c.deployment.Spec.Template, child.Spec.Template)...)
		case c.deploymentErr == nil:
			differences = append(differences, fmt.Sprintf("%s: not created: %s, %q", role, health.Reason, health.Message))
		case child != nil:
			differences = append(differences, fmt.Sprintf("%s: created, but the Deployment is rejected: %v", role, c.deploymentErr))
		case health.Reason != "FailedCreate" || !strings.Contains(health.Message, firstCause(c.deploymentErr)):
			differences = append(differences, fmt.Sprintf("%s: the Ray reports %s, %q, but the error is %v", role, health.Reason, health.Message, c.deploymentErr))
		}
	}
	switch {
	case len(differences) > 0:
		return different, differences
	case c.deploymentErr != nil:
		return failedCreate, nil
	default:
		return accepted, nil
	}
}

// preparedTemplate returns a Pod template for a Deployment. It has a label to select. Metadata that the
// schema of Rays does not declare are removed. Any restart policy is removed, since a Deployment only has
// Always. Without a command, the first container gets one, since the operator would generate it.
func preparedTemplate(template map[string]any, label string) map[string]any {
	metadata, labels, spec := map[string]any{}, map[string]any{}, map[string]any{}
	if original, ok := template["metadata"].(map[string]any); ok {
		maps.Copy(metadata, original)
		if original, ok := original["labels"].(map[string]any); ok {
			maps.Copy(labels, original)
		}
	}
	delete(metadata, "managedFields")
	labels["corpus"] = label
	metadata["labels"] = labels
	if original, ok := template["spec"].(map[string]any); ok {
		maps.Copy(spec, original)
	}
	delete(spec, "restartPolicy")
	if containers, ok := spec["containers"].([]any); ok && len(containers) > 0 {
		spec["containers"] = append([]any{withCommand(containers[0])}, containers[1:]...)
	}
	return map[string]any{"metadata": metadata, "spec": spec}
}

// withCommand returns a container that has a command, as JSON value.
func withCommand(value any) any {
	container, ok := value.(map[string]any)
	if !ok {
		return value
	}
	for _, field := range []string{"command", "args"} {
		if list, ok := container[field].([]any); container[field] != nil && (!ok || len(list) > 0) {
			return value
		}
	}
	container = maps.Clone(container)
	container["command"] = []any{"ray"}
	return container
}

// create creates an object of any content, with strict validation like kubectl.
func (u *user) create(client rest.Interface, api, resource string, object, created any, dryRun ...string) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	result := client.Post().AbsPath(api, "namespaces", u.namespace, resource).
		VersionedParams(&metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict}, metav1.ParameterCodec).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(data).Do(u.Context())
	if err := result.Error(); err != nil {
		return err
	}
	if data, err = result.Raw(); err != nil {
		return err
	}
	return json.Unmarshal(data, created)
}

// firstCause returns the field and the message of an error of validation.
func firstCause(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil && len(status.Status().Details.Causes) > 0 {
		cause := status.Status().Details.Causes[0]
		return cause.Field + ": " + cause.Message
	}
	return err.Error()
}

// removeAdded removes what the operator adds to a Pod template: labels, three variables, a readiness
// probe and the policy for termination messages.
func removeAdded(template, original *corev1.PodTemplateSpec) {
	maps.DeleteFunc(template.Labels, func(label, _ string) bool {
		_, found := original.Labels[label]
		return !found && (strings.HasPrefix(label, "ray.kubeflow.org/") || strings.HasPrefix(label, "app.kubernetes.io/"))
	})
	added := []string{"RAY_HEAD_SERVICE", "RAY_NODE_IP", "MY_POD_IP"}
	for _, containers := range [][2][]corev1.Container{
		{template.Spec.InitContainers, original.Spec.InitContainers}, {template.Spec.Containers, original.Spec.Containers},
	} {
		for i := range min(len(containers[0]), len(containers[1])) {
			container, original := &containers[0][i], &containers[1][i]
			for _, name := range added {
				if env := container.Env; len(env) > 0 && env[0].Name == name {
					container.Env = env[1:]
				}
			}
			if original.ReadinessProbe == nil {
				container.ReadinessProbe = nil
			}
			if original.TerminationMessagePolicy == corev1.TerminationMessageReadFile {
				container.TerminationMessagePolicy = original.TerminationMessagePolicy
			}
		}
	}
}

// differencesOf returns the differences of two Pod templates, as JSON has them.
func differencesOf(path string, want, got corev1.PodTemplateSpec) []string {
	var decoded [2]any
	for i, template := range []corev1.PodTemplateSpec{want, got} {
		data, err := json.Marshal(template)
		if err == nil {
			err = json.Unmarshal(data, &decoded[i])
		}
		if err != nil {
			return []string{err.Error()}
		}
	}
	return compareValues(path, decoded[0], decoded[1])
}

func compareValues(path string, want, got any) []string {
	var differences []string
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			keys := maps.Clone(want)
			maps.Copy(keys, got)
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				differences = append(differences, compareValues(path+"."+key, want[key], got[key])...)
			}
			return differences
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			for i := range want {
				differences = append(differences, compareValues(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])...)
			}
			return differences
		}
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
}
