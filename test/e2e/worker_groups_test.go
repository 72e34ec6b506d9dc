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
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// withGroups returns the sample with worker groups, which run an image and have two workers each.
func (u *user) withGroups(image string, names ...string) string {
	u.Helper()
	return u.sample() + groupsManifest(image, 2, names...)
}

// groupsManifest returns worker groups at the end of a manifest.
func groupsManifest(image string, replicas int, names ...string) string {
	var manifest strings.Builder
	manifest.WriteString("  workerGroups:\n")
	for _, name := range names {
		fmt.Fprintf(&manifest, "    - {name: %q, replicas: %d, template: {spec: {containers: [{name: ray-worker, image: %q, command: [ray]}]}}}\n", name, replicas, image)
	}
	return manifest.String()
}

// TestWorkerGroups adds, scales, renames and removes worker groups. The Pods of other groups stay.
func TestWorkerGroups(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const roleGPU, roleSpot, roleA100 = "worker-gpu", "worker-spot", "worker-a100"
	u.applySample()
	head, workers := u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker)

	u.kubectlWith(u.withGroups("a", "gpu", "spot"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	gpu := u.podUIDs(roleGPU)
	if len(gpu) != 2 || len(u.podUIDs(roleSpot)) != 2 {
		t.Errorf("the groups have %d and %d Pods, want 2 each", len(gpu), len(u.podUIDs(roleSpot)))
	}
	u.checkColumns(7)
	if out := u.kubectlWith(u.withGroups("a", "gpu", "spot"), "apply", "-f", "-").Stdout; !strings.Contains(out, "unchanged") {
		t.Errorf("the second kubectl apply prints %s", out)
	}
	status := u.ray("sample-cluster").Status
	if len(status.WorkerGroups) != 2 || status.WorkerGroups[0].Name != "gpu" || status.WorkerGroups[0].AvailableReplicas != 2 {
		t.Errorf("status.workerGroups is %v", status.WorkerGroups)
	}

	u.kubectl("scale", "ray/sample-cluster", "--replicas=4")
	u.waitHealthy("sample-cluster")
	u.checkColumns(8)
	if !containsAll(u.podUIDs(rayv1.RoleWorker), workers) || len(u.podUIDs(roleGPU)) != 2 {
		t.Error("kubectl scale must add a worker to spec.worker only")
	}

	u.kubectlWith(u.withGroups("a", "gpu", "a100"), "apply", "-f", "-")
	u.waitDeploymentGone("sample-cluster-worker-spot")
	u.waitHealthy("sample-cluster")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyDelete", "Successfully delete the deployment sample-cluster-worker-spot")
	if got := u.podUIDs(roleGPU); !slices.Equal(got, gpu) || len(u.podUIDs(roleA100)) != 2 {
		t.Errorf("renaming a group replaced the Pods %v of another one with %v", gpu, got)
	}

	u.kubectlWith(u.sample(), "apply", "-f", "-")
	for _, name := range []string{"gpu", "a100"} {
		u.waitDeploymentGone("sample-cluster-worker-" + name)
	}
	u.waitHealthy("sample-cluster")
	u.checkColumns(3)
	if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
		t.Errorf("the head %v was replaced with %v", head, got)
	}
	if groups := u.ray("sample-cluster").Status.WorkerGroups; groups != nil {
		t.Errorf("status.workerGroups is %v", groups)
	}
}

// checkColumns checks the columns of kubectl get for a healthy Ray with a number of workers.
func (u *user) checkColumns(workers int) {
	u.Helper()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "rays"}, fmt.Sprintf(`(?m)^sample-cluster +1 +%d +%d +True +\S+$`, workers, workers)},
		{[]string{"get", "rays", "-o", "wide"}, fmt.Sprintf(`(?m)^sample-cluster .* %d +%d +AllReplicasAvailable *$`, workers, workers)},
	} {
		if out := u.kubectl(test.args...).Stdout; !regexp.MustCompile(test.want).MatchString(out) {
			u.Errorf("kubectl %v prints\n%s\nwant %s", test.args, out, test.want)
		}
	}
}

// TestWorkerGroupsRollout changes the images of the head and of a group, first to one that the API server
// rejects in the group.
func TestWorkerGroupsRollout(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(u.withGroups("a", "gpu"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	head := u.podUIDs(rayv1.RoleHead)

	update := u.sample("rayproject/examples:1", "rayproject/examples:2")
	u.kubectlWith(update+groupsManifest("", 2, "gpu"), "apply", "-f", "-")
	u.waitHealth("sample-cluster", "False", `gpu: Deployment "sample-cluster-worker-gpu" could not be updated`)
	if got := u.podUIDs(rayv1.RoleHead); !slices.Equal(got, head) {
		t.Error("the head was updated, although the API server rejects a group")
	}
	u.kubectlWith(update+groupsManifest("b", 2, "gpu"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	if got := u.deployment("sample-cluster-worker-gpu").Spec.Template.Spec.Containers[0].Image; got != "b" {
		t.Errorf("the image of the group is %q", got)
	}
}

// TestFiftyWorkerGroups counts the requests for a Ray with as many groups as the schema accepts.
func TestFiftyWorkerGroups(t *testing.T) {
	u := newUser(t)
	const count = 50
	var names []string
	for i := range count {
		names = append(names, fmt.Sprintf("g%d", i))
	}
	mark := markAudit(t)
	u.kubectlWith(u.sample()+groupsManifest("a", 1, names...), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	u.waitSteady()
	requests := u.requestsSince(mark)
	u.checkStatusUpdates("creation", requests, 1, statusUpdatesOfCreation)
	isEvent := func(request *audit.Request) bool { return request.Resource() == "events" }
	u.checkRequests("creation", slices.DeleteFunc(slices.Clone(requests), isEvent), map[string]int{
		"create services": 1, "create deployments": 2 + count,
	})
	// Of many similar events, client-go counts all after the first ones in one event, as it does for Pods.
	events := slices.DeleteFunc(requests, func(request *audit.Request) bool { return !isEvent(request) })
	if got, want := len(events), 3+count; got != want {
		t.Errorf("creation: %d requests for events, want %d", got, want)
	}

	mark = markAudit(t)
	u.kubectlWith(u.sample()+"  workerGroups: []\n", "apply", "-f", "-")
	for _, name := range names {
		u.waitDeploymentGone("sample-cluster-worker-" + name)
	}
	u.waitHealthy("sample-cluster")
	deletions := 0
	for _, request := range u.requestsSince(mark) {
		if request.Verb == "delete" {
			deletions++
		}
	}
	if deletions != count {
		t.Errorf("%d deletions, want one for each of %d groups", deletions, count)
	}
}

// TestWorkerGroupsOfOthers has Deployments with the names of worker groups that no Ray controls.
func TestWorkerGroupsOfOthers(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(newDeployment("sample-cluster-worker-gpu", "labels: {ray.kubeflow.org/name: other}"), "apply", "-f", "-")
	u.kubectlWith(newDeployment("sample-cluster-worker-free", "labels: {ray.kubeflow.org/name: sample-cluster, ray.kubeflow.org/role: worker-free}"), "apply", "-f", "-")
	u.kubectlWith(u.withGroups("a", "gpu"), "apply", "-f", "-")
	u.waitHealth("sample-cluster", "False", `gpu: Deployment "sample-cluster-worker-gpu" already exists and is not controlled by this Ray`)
	u.kubectlWith(u.sample(), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	for _, name := range []string{"gpu", "free"} {
		u.deployment("sample-cluster-worker-" + name) // still exists
	}
}

// TestWorkerGroupValidation creates Rays with invalid worker groups.
func TestWorkerGroupValidation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprintf("g%d", i))
	}
	const template = "template: {spec: {containers: [{name: w, image: w}]}}"
	for _, test := range []struct {
		name, groups string
		want         []string
	}{
		{"a name with upper case", groupsManifest("a", 1, "Gpu"), []string{"spec.workerGroups[0].name: Invalid value", "must be a DNS-1123 label"}},
		{"a name that ends with a dash", groupsManifest("a", 1, "gpu-"), []string{"spec.workerGroups[0].name: Invalid value", "must be a DNS-1123 label"}},
		{"an empty name", groupsManifest("a", 1, ""), []string{"must be a DNS-1123 label"}},
		{"a name of 21 characters", groupsManifest("a", 1, strings.Repeat("g", 21)), []string{"spec.workerGroups[0].name: Too long"}},
		{"the name of another group", groupsManifest("a", 1, "worker"), []string{"must not be head or worker"}},
		{"two groups with a name", groupsManifest("a", 1, "gpu", "gpu"), []string{"spec.workerGroups[1]: Duplicate value"}},
		{"51 groups", groupsManifest("a", 1, many...), []string{"spec.workerGroups: Too many: 51: must have at most 50 items"}},
		{"a negative number of workers", groupsManifest("a", -1, "gpu"), []string{"spec.workerGroups[0].replicas: Invalid value: -1: must not be negative"}},
		{"no name", "  workerGroups: [{" + template + "}]\n", []string{"spec.workerGroups[0].name: Required value"}},
		{"no template", "  workerGroups: [{name: gpu}]\n", []string{"spec.workerGroups[0].template: Required value"}},
		{"start beside a command", "  workerGroups: [{name: gpu, start: {labels: {a: b}}, template: {spec: {containers: [{name: w, image: w, command: [ray]}]}}}]\n", []string{
			"spec.workerGroups[0].start: Forbidden: must be omitted if the first container has command or args",
		}},
		{"a flag twice", "  workerGroups: [{name: gpu, start: {args: [--a=1, --a=2]}, " + template + "}]\n", []string{"must not contain a flag twice"}},
		{"21 arguments", "  workerGroups: [{name: gpu, start: {args: [" + strings.Repeat("--x,", 21) + "]}, " + template + "}]\n", []string{"Too many: 21: must have at most 20 items"}},
		{"an unknown field", "  workerGroups: [{name: gpu, imagee: x, " + template + "}]\n", []string{`unknown field "spec.workerGroups[0].imagee"`}},
		{"too little memory", "  workerGroups: [{name: gpu, template: {spec: {containers: [{name: w, image: w, resources: {limits: {memory: 100Mi}}}]}}}]\n", []string{
			"a worker of group gpu has 100Mi of memory and needs at least 512Mi; raise resources.limits.memory of container w",
		}},
		{"an object store that does not fit", "  workerGroups: [{name: gpu, start: {resources: {object_store_memory: 50Mi}}, " + template + "}]\n", []string{
			"the object store of a worker of group gpu has 50Mi and needs at least 75Mi",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.checkRejected(t, u.sample()+test.groups, test.want...)
		})
	}
	misspelled := u.sample("limit:", "limits:") + "  workerGroups: [{name: gpu, template: {spec: {containers: [{name: w, image: w, resources: {limit: {cpu: 1}}}]}}}]\n"
	if out := u.kubectlWith(misspelled, "apply", "--dry-run=server", "-f", "-"); !strings.Contains(out.Stderr, "resources.limit of a container is ignored") {
		t.Errorf("the warning is %q", out.Stderr)
	}
}

// TestWorkerGroupPermissions has a user who may write Rays and not create Deployments. Each change of the spec
// is denied, since it may run Pods.
func TestWorkerGroupPermissions(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.kubectlWith(u.withGroups("a", "gpu"), "apply", "-f", "-")
	u.waitHealthy("sample-cluster")
	u.bind("group-editor", []string{"ray-editor"})
	as := impersonate(t, "group-editor").RayV1().Rays(u.namespace)
	for name, change := range map[string]func(*rayv1.RaySpec){
		"add a group": func(spec *rayv1.RaySpec) {
			spec.WorkerGroups = append(spec.WorkerGroups, rayv1.WorkerGroup{Name: "x", WorkerSpec: *spec.Worker})
		},
		"scale a group":            func(spec *rayv1.RaySpec) { spec.WorkerGroups[0].Replicas = new(int32(9)) },
		"change a group's image":   func(spec *rayv1.RaySpec) { spec.WorkerGroups[0].Template.Spec.Containers[0].Image = "x" },
		"suspend, and then resume": func(spec *rayv1.RaySpec) { spec.Suspend = new(true) },
	} {
		u.eventually(name+" is denied", func() error {
			ray := u.ray("sample-cluster")
			change(&ray.Spec)
			_, err := as.Update(context.Background(), ray, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			if apierrors.IsForbidden(err) && strings.Contains(err.Error(), policyName) {
				return nil
			}
			return fmt.Errorf("the request returned %w", err)
		})
	}
}
