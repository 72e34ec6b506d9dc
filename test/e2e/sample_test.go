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
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestSample applies the sample and checks the warnings and the output of kubectl describe.
func TestSample(t *testing.T) {
	t.Parallel()
	u := newUser(t)

	applied := u.kubectl("apply", "-f", cluster.Path(sampleManifest))
	if want := "resources.limit of a container is ignored, since the key is limits"; !strings.Contains(applied.Stderr, want) {
		t.Errorf("kubectl apply prints the warnings %q, want %q", applied.Stderr, want)
	}
	u.kubectl("wait", "--for=condition=Health", "--timeout=60s", "ray/sample-cluster")
	u.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "ray/sample-cluster")
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyCreate", "deployment sample-cluster-worker")

	described := u.kubectl("describe", "ray", "sample-cluster").Stdout
	for _, want := range []string{
		`(?m)^Status:$`,
		`(?m)^  Conditions:$`,
		`Last Transition Time: +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n +Last Update Time: +\d{4}-`,
		`Status: +Unknown\n +Type: +RayWorkerDeploymentReplicaFailure\n`,
		`Status: +Unknown\n +Type: +RayHeadDeploymentReplicaFailure\n`,
		`Status: +True\n +Type: +Health\n`,
		`Status: +True\n +Type: +Ready\n`,
		`Message: +ReplicaSet "sample-cluster-head-[a-z0-9]+" has successfully progressed.\n +Observed Generation: +1\n +Reason: +NewReplicaSetAvailable\n +Status: +True\n +Type: +RayHeadDeploymentProgressing\n`,
		`Message: +ReplicaSet "sample-cluster-worker-[a-z0-9]+" has successfully progressed.\n +Observed Generation: +1\n +Reason: +NewReplicaSetAvailable\n +Status: +True\n +Type: +RayWorkerDeploymentProgressing\n`,
		`Status: +True\n +Type: +RayHeadDeploymentAvailable\n`,
		`Status: +True\n +Type: +RayWorkerDeploymentAvailable\n`,
		`  Head:\n    Available Replicas: +1\n    Ready Replicas: +1\n    Replicas: +1\n    Updated Replicas: +1\n`,
		`  Last Reconcile Time: +\d{4}-`,
		`  Observed Generation: +1\n`,
		`  Start Time: +\d{4}-`,
		`  Worker:\n    Available Replicas: +3\n    Ready Replicas: +3\n    Replicas: +3\n(    Selector: .*\n)?    Updated Replicas: +3\n`,
		`(?m)^  Normal +SuccessfullyCreate +\S+ +ray-operator +Successfully create the service sample-cluster-head$`,
		`(?m)^  Normal +SuccessfullyCreate +\S+ +ray-operator +Successfully create the deployment sample-cluster-head$`,
		`(?m)^  Normal +SuccessfullyCreate +\S+ +ray-operator +Successfully create the deployment sample-cluster-worker$`,
	} {
		if !regexp.MustCompile(want).MatchString(described) {
			t.Errorf("kubectl describe does not print %s", want)
		}
	}
	if t.Failed() {
		t.Log(described)
	}
}

// TestSampleIsUnchanged checks that the sample is not edited: users have copies of it, with "limit:"
// instead of "limits:".
func TestSampleIsUnchanged(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(cluster.Path(sampleManifest))
	if err != nil {
		t.Fatal(err)
	}
	const want = "6636d2a529a15629b41a06388b46841191612b81b7ee0066432ef721bbbdeaa4"
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("%s has the SHA-256 %s, want %s", sampleManifest, got, want)
	}
}

// TestPrinterColumns checks the output of kubectl get.
func TestPrinterColumns(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()

	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "rays"}, `(?m)^NAME +HEAD +WORKERS +DESIRED +HEALTH +AGE\nsample-cluster +1 +3 +3 +True +\S+$`},
		{[]string{"get", "rays", "-o", "wide"}, `(?m)^NAME .* UPDATED +AVAILABLE +REASON +MESSAGE *\nsample-cluster .* 3 +3 +AllReplicasAvailable *$`},
		{[]string{"get", "all"}, `ray.ray.kubeflow.org/sample-cluster`},
		{[]string{"get", "ry"}, `(?m)^sample-cluster `},
	} {
		if out := u.kubectl(test.args...).Stdout; !regexp.MustCompile(test.want).MatchString(out) {
			t.Errorf("kubectl %v prints\n%s\nwant %s", test.args, out, test.want)
		}
	}
}

// TestShortName checks that no resource of Kubernetes has the short name of Rays.
func TestShortName(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	out := u.kubectl("api-resources", "--no-headers").Stdout
	if found := regexp.MustCompile(`(?m)^\S+ +(\S+,)?ry(,\S+)? .*$`).FindAllString(out, -1); len(found) != 1 || !strings.HasPrefix(found[0], "rays ") {
		t.Errorf("the resources with the short name ry are %q", found)
	}
}

// TestPodEnvironment checks the variables of the Pods, and that the Service has the head's address.
func TestPodEnvironment(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample()

	for _, role := range []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker} {
		env := u.pods(role)[0].Spec.Containers[0].Env
		if len(env) != 3 || env[0].Name != "RAY_HEAD_SERVICE" || env[0].Value != "sample-cluster-head" ||
			env[1].Name != "RAY_NODE_IP" || env[1].ValueFrom.FieldRef.FieldPath != "status.podIP" ||
			env[2].Name != "MY_POD_IP" || env[2].ValueFrom.FieldRef.FieldPath != "status.podIP" {
			t.Errorf("the %s has the environment %v", role, env)
		}
	}
	head := u.pods(rayv1.RoleHead)[0]
	u.eventually("the Service has the head's address", func() error {
		return containsAddress(u, "sample-cluster-head", head.Status.PodIP)
	})
}
