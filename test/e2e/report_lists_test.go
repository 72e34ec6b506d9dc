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
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubeflow/ray-operator/test/audit"
)

// The operator lists the Pods of a group that has been incomplete for five seconds, then after 10, 20, 40
// and 60 seconds. All Rays share a limit.
const (
	listsObserved   = 40 * time.Second
	maxListsOfGroup = 4
	listsPerSecond  = 5
	listBurst       = 10
)

// unschedulable is the spec of a Pod that has no node, as items of a YAML flow mapping.
const unschedulable = "containers: [{name: ray-head, image: a, resources: {limits: {nvidia.com/gpu: 1}}}]"

// TestPodLists counts how often the operator lists Pods: never for a healthy Ray, rarely for an unhealthy
// one, and within the shared limit if 30 Rays become unhealthy at once.
func TestPodLists(t *testing.T) {
	t.Parallel()
	const count = 30
	healthy, unhealthy := newUser(t), newUser(t)
	mark := markAudit(t)
	started := time.Now()
	var manifests strings.Builder
	for i := range count {
		manifests.WriteString(smallRay(fmt.Sprintf("u%d", i), unschedulable, 0, "") + "\n---")
	}
	unhealthy.kubectlWith(manifests.String(), "create", "-f", "-")
	// It becomes healthy, is scaled and gets a new image.
	healthy.applySample("replicas: 3", "replicas: 1")
	healthy.kubectl("scale", "ray/sample-cluster", "--replicas=2")
	healthy.waitHealthy("sample-cluster")
	healthy.setImage("head", "rayproject/examples:2")
	healthy.waitHealthy("sample-cluster")
	for i := range count {
		unhealthy.waitHealth(fmt.Sprintf("u%d", i), corev1.ConditionFalse, "head: 0 of 1 available: unschedulable: 0/")
	}
	time.Sleep(time.Until(started.Add(listsObserved)))

	if lists := podLists(t, mark, healthy.namespace); len(lists) > 0 {
		t.Errorf("the Pods of a healthy Ray were listed %d times: %v", len(lists), lists)
	}
	lists := podLists(t, mark, unhealthy.namespace)
	perRay := map[string]int{}
	for _, list := range lists {
		perRay[listedRay(t, list)]++
	}
	for i := range count {
		if got := perRay[fmt.Sprintf("u%d", i)]; got < 1 || got > maxListsOfGroup {
			t.Errorf("in %s, the Pods of u%d were listed %d times, want 1 to %d", listsObserved, i, got, maxListsOfGroup)
		}
	}
	if len(perRay) != count {
		t.Errorf("Pods of the Rays %v were listed, want only those of the %d Rays", perRay, count)
	}
	// Rays of other tests share the limit.
	checkListRate(t, podLists(t, mark, ""))
}

// podLists returns the operator's lists of Pods since mark, in one namespace or, if it is empty, in all. It omits those of
// the autoscaler, which lists Pods to remove some.
func podLists(t *testing.T, mark audit.Mark, namespace string) []*audit.Request {
	t.Helper()
	var lists []*audit.Request
	for request, err := range audit.Since(*auditLog, mark, "ray-operator/") {
		if err != nil {
			t.Fatal(err)
		}
		if request.Resource() == "pods" && !strings.HasSuffix(request.UserAgent, "/autoscaler") && (namespace == "" || request.ObjectRef.Namespace == namespace) {
			lists = append(lists, request)
		}
	}
	return lists
}

// listedRay returns the name of the Ray with the Pods that a request lists. It checks that the request is
// cheap: it lists one group in one namespace, from the API server's cache.
func listedRay(t *testing.T, list *audit.Request) string {
	t.Helper()
	uri, err := url.Parse(list.URI)
	if err != nil {
		t.Fatal(err)
	}
	query := uri.Query()
	if list.Verb != "list" || query.Get("resourceVersion") != "0" || list.ObjectRef.Namespace == "" {
		t.Errorf("the request %s %s is not a list of one namespace from the cache", list.Verb, list.URI)
	}
	ray, role := "", ""
	for requirement := range strings.SplitSeq(query.Get("labelSelector"), ",") {
		switch key, value, _ := strings.Cut(requirement, "="); key {
		case "ray.kubeflow.org/name":
			ray = value
		case "ray.kubeflow.org/role":
			role = value
		}
	}
	if ray == "" || role == "" {
		t.Errorf("the request %s does not select one group", list.URI)
	}
	return ray
}

// checkListRate checks the shared limit in every interval. The audit log has the time of the response,
// which the API server may delay.
func checkListRate(t *testing.T, lists []*audit.Request) {
	t.Helper()
	const delay = time.Second
	for i := range lists {
		for j := i; j < len(lists); j++ {
			took := lists[j].Answered.Sub(lists[i].Answered) + delay
			if got, most := j-i+1, listBurst+int(took.Seconds()*listsPerSecond); got > most {
				t.Errorf("Pods were listed %d times in %s, want at most %d", got, took, most)
				return
			}
		}
	}
}
