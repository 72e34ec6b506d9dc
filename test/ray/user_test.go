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

package ray

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/internal/harness"
)

const (
	shortSample    = "manifests/samples/ray-cluster.yaml"          // generated start
	commandsSample = "manifests/samples/ray-cluster-commands.yaml" // commands for today's Ray
	seedSample     = "manifests/samples/sample-cluster.yaml"       // commands for the Ray of 2019

	// startTimeout is for how long a cluster may take to start while other tests run.
	startTimeout = 3 * time.Minute
)

// user is a test with a namespace of its own, in which it runs kubectl.
type user struct {
	*testing.T
	namespace string
	// token is what Ray requires, or empty.
	token string
}

// newUser returns a user with a new namespace, which is deleted when the test ends.
func newUser(t *testing.T) *user {
	t.Helper()
	return userOf(t, cluster.NewNamespace(t))
}

// userOf returns a user of a namespace. If the test fails, it logs the state of the namespace.
func userOf(t *testing.T, namespace string) *user {
	u := &user{T: t, namespace: namespace}
	t.Cleanup(func() {
		if t.Failed() {
			u.logState()
		}
	})
	return u
}

// logState logs objects and the ends of the containers' logs.
func (u *user) logState() {
	show := func(args ...string) {
		u.Log(cluster.Kubectl(context.Background(), "", append([]string{"--namespace", u.namespace}, args...)...).Stdout)
	}
	show("get", "rays,deployments,pods,services,events", "-o", "wide")
	show("logs", "--selector", rayv1.LabelRole, "--tail", "20", "--prefix", "--ignore-errors")
	show("logs", "--selector", rayv1.LabelRole, "--tail", "20", "--prefix", "--ignore-errors", "--previous")
}

// try runs kubectl in the user's namespace. It may fail.
func (u *user) try(stdin string, args ...string) harness.Output {
	return cluster.Kubectl(u.Context(), stdin, append([]string{"--namespace", u.namespace}, args...)...)
}

// kubectl runs kubectl in the user's namespace, and fails the test if it fails.
func (u *user) kubectl(args ...string) harness.Output {
	u.Helper()
	out := u.try("", args...)
	if out.Err != nil {
		u.Fatal(out.Err)
	}
	return out
}

// python runs a program in the head's container, and returns what it prints.
func (u *user) python(ray, program string, args ...string) string {
	u.Helper()
	out := u.try(program, append([]string{"exec", "--stdin", "deployment/" + ray + "-head", "--", "python3", "-"}, args...)...)
	if out.Err != nil {
		u.Fatal(out.Err)
	}
	return out.Stdout
}

// sample returns a sample with texts replaced, given in pairs.
func (u *user) sample(file string, replacements ...string) string {
	u.Helper()
	data, err := os.ReadFile(cluster.Path(file))
	if err != nil {
		u.Fatal(err)
	}
	manifest := string(data)
	for pair := range slices.Chunk(replacements, 2) {
		if !strings.Contains(manifest, pair[0]) {
			u.Fatalf("%s does not contain %q", file, pair[0])
		}
		manifest = strings.ReplaceAll(manifest, pair[0], pair[1])
	}
	return manifest
}

// image returns the name of the image with a version of Ray.
func image(version string) string { return "rayproject/ray:" + version }

// apply applies a manifest of a Ray, and observes it.
func (u *user) apply(name, manifest string) *observer {
	u.Helper()
	o := observe(u, u.namespace, name, u.token)
	u.change(manifest)
	return o
}

// change applies a manifest.
func (u *user) change(manifest string) {
	u.Helper()
	if out := u.try(manifest, "apply", "-f", "-"); out.Err != nil {
		u.Fatal(out.Err)
	}
}

// patch changes the spec of a Ray by a merge patch.
func (u *user) patch(name, patch string) {
	u.Helper()
	u.kubectl("patch", "ray", name, "--type=merge", "--patch", patch)
}

// pods returns the Pods of a role.
func (u *user) pods(role rayv1.Role) []corev1.Pod {
	u.Helper()
	list, err := cluster.Kube.CoreV1().Pods(u.namespace).List(u.Context(), metav1.ListOptions{LabelSelector: rayv1.LabelRole + "=" + string(role)})
	if err != nil {
		u.Fatal(err)
	}
	return list.Items
}

// restarts returns how often the Ray containers of Pods have restarted, by the Pods' names.
func restarts(pods []corev1.Pod) map[string]int32 {
	counts := map[string]int32{}
	for _, pod := range pods {
		for _, status := range pod.Status.ContainerStatuses {
			counts[pod.Name] += status.RestartCount
		}
	}
	return counts
}
