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
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// TestAdoptOrphans deletes a Ray but not its children, and creates it again. The new Ray adopts them.
func TestAdoptOrphans(t *testing.T) {
	t.Parallel()
	t.Run("same spec", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample("replicas: 3", "replicas: 1")
		before := u.podState()
		u.kubectl("delete", "ray", "sample-cluster", "--cascade=orphan")
		mark := markAudit(t)
		u.applySample("replicas: 3", "replicas: 1")
		u.checkAdopted(mark, 1)
		u.checkUnchanged(before, "the adoption")
	})

	t.Run("other number of workers", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample("replicas: 3", "replicas: 1")
		before := u.podState()
		u.kubectl("delete", "ray", "sample-cluster", "--cascade=orphan")
		mark := markAudit(t)
		u.applySample("replicas: 3", "replicas: 2")
		u.checkAdopted(mark, 1)
		u.checkUnchanged(before, "the adoption")
		if pods := u.pods(rayv1.RoleWorker); len(pods) != 2 {
			t.Errorf("there are %d workers, want those of the Ray", len(pods))
		}
	})

	t.Run("other image", func(t *testing.T) {
		t.Parallel()
		u := newUser(t)
		u.applySample("replicas: 3", "replicas: 1")
		old := slices.Concat(u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker))
		u.kubectl("delete", "ray", "sample-cluster", "--cascade=orphan")
		mark := markAudit(t)
		changes := u.watchOrder("rayproject/examples:2")
		u.applySample("replicas: 3", "replicas: 1", "examples:1", "examples:2")
		changes()
		u.checkAdopted(mark, 3) // The workers get their template later, and then the default strategy again.
		for _, uid := range slices.Concat(u.podUIDs(rayv1.RoleHead), u.podUIDs(rayv1.RoleWorker)) {
			if slices.Contains(old, uid) {
				t.Errorf("the Ray is healthy, but the old Pod %s exists", uid)
			}
		}
	})
}

// checkAdopted checks that the Ray has adopted its three children. Each was written at least once, and at
// most a number of times.
func (u *user) checkAdopted(mark audit.Mark, most int) {
	u.Helper()
	for _, child := range []string{"service sample-cluster-head", "deployment sample-cluster-head", "deployment sample-cluster-worker"} {
		u.waitEvent("sample-cluster", "Normal", "SuccessfullyAdopt", "Successfully adopt the "+child)
	}
	ray := u.ray("sample-cluster")
	service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(u.Context(), "sample-cluster-head", metav1.GetOptions{})
	if err != nil {
		u.Fatal(err)
	}
	for _, child := range []metav1.Object{service, u.deployment("sample-cluster-head"), u.deployment("sample-cluster-worker")} {
		if !metav1.IsControlledBy(child, ray) {
			u.Errorf("the Ray is healthy, but does not control %s", child.GetName())
		}
	}
	counts := map[string]int{}
	for _, request := range u.requestsSince(mark) {
		switch {
		case request.Resource() != "services" && request.Resource() != "deployments" || !request.Committed() || !request.IsWrite():
		case request.Verb == "update":
			counts[request.Resource()+" "+request.ObjectRef.Name]++
		default:
			u.Errorf("during the adoption, the operator made a write: %v", request)
		}
	}
	for child, count := range counts {
		if count > most {
			u.Errorf("during the adoption, %s was written %d times, want at most %d", child, count, most)
		}
	}
	if len(counts) != 3 {
		u.Errorf("during the adoption, %v were written, want three children", counts)
	}
}

// TestAdoptRestored restores a Ray and its children from a backup that has no owner references.
func TestAdoptRestored(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample("replicas: 3", "replicas: 1")
	ray, head, worker := u.ray("sample-cluster"), u.deployment("sample-cluster-head"), u.deployment("sample-cluster-worker")
	service, err := cluster.Kube.CoreV1().Services(u.namespace).Get(t.Context(), "sample-cluster-head", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.kubectl("delete", "ray", "sample-cluster", "--cascade=foreground")

	for _, deployment := range []*appsv1.Deployment{head, worker} {
		restored := &appsv1.Deployment{ObjectMeta: backup(deployment), Spec: deployment.Spec}
		if _, err := cluster.Kube.AppsV1().Deployments(u.namespace).Create(t.Context(), restored, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	spec := service.Spec
	spec.ClusterIP, spec.ClusterIPs = "", nil
	if _, err := cluster.Kube.CoreV1().Services(u.namespace).Create(t.Context(), &corev1.Service{ObjectMeta: backup(service), Spec: spec}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	u.kubectl("rollout", "status", "deployment", "--timeout=60s")
	before := u.podState()

	mark := markAudit(t)
	if _, err := cluster.Rays.RayV1().Rays(u.namespace).Create(t.Context(), &rayv1.Ray{ObjectMeta: backup(ray), Spec: ray.Spec}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	u.waitHealthy("sample-cluster")
	u.checkAdopted(mark, 1)
	u.checkUnchanged(before, "the restore")
}

// backup returns the metadata of an object that a backup restores.
func backup(object metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
}

// TestDoNotAdopt creates a Ray while an object has the name of a child, but is not an orphan of this Ray.
// It is not changed.
func TestDoNotAdopt(t *testing.T) {
	t.Parallel()
	const unowned = `worker: Deployment "sample-cluster-worker" already exists and is not controlled by this Ray; delete it or rename the Ray`
	for _, test := range []struct {
		name string
		// change changes the Deployment of the orphaned workers. The ConfigMap is unrelated.
		change func(*appsv1.Deployment, *corev1.ConfigMap)
		want   string
	}{
		{
			"label of another Ray",
			func(worker *appsv1.Deployment, _ *corev1.ConfigMap) { worker.Labels[rayv1.LabelName] = "other" }, unowned,
		},
		{
			"no label with the name of the Ray",
			func(worker *appsv1.Deployment, _ *corev1.ConfigMap) { delete(worker.Labels, rayv1.LabelName) }, unowned,
		},
		{
			"label of another role",
			func(worker *appsv1.Deployment, _ *corev1.ConfigMap) { worker.Labels[rayv1.LabelRole] = "head" }, unowned,
		},
		{
			"another controller",
			func(worker *appsv1.Deployment, config *corev1.ConfigMap) {
				worker.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(config, corev1.SchemeGroupVersion.WithKind("ConfigMap"))}
			},
			`worker: Deployment "sample-cluster-worker" already exists and is controlled by ConfigMap "mine"; delete it or rename the Ray`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			// The Ray that one of the labels names. It has no reason to change an object with another name.
			u.kubectlWith(smallRay("other", "containers: [{name: ray-head, image: a}]", 1, "containers: [{name: ray-worker, image: a}]"), "create", "-f", "-")
			u.applySample("replicas: 3", "replicas: 1")
			u.waitHealthy("other")
			u.kubectl("delete", "ray", "sample-cluster", "--cascade=orphan")
			config, err := cluster.Kube.CoreV1().ConfigMaps(u.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			u.eventually("the orphan is changed", func() error {
				worker := u.deployment("sample-cluster-worker")
				test.change(worker, config)
				_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Update(t.Context(), worker, metav1.UpdateOptions{})
				return err
			})
			mark := markAudit(t)
			u.kubectlWith(u.sample("replicas: 3", "replicas: 1", "examples:1", "examples:2"), "apply", "-f", "-")
			u.waitMatch("sample-cluster", "AlreadyExists", "(^|; )"+regexp.QuoteMeta(test.want)+"$")
			u.waitEvent("sample-cluster", "Warning", "AlreadyExists", strings.TrimPrefix(test.want, "worker: "))
			u.waitEvent("sample-cluster", "Normal", "SuccessfullyAdopt", "Successfully adopt the deployment sample-cluster-head")
			// The workers of a new Ray may be created without a look at the API server, which rejects it.
			for _, write := range operatorWrites(t, mark, u.namespace) {
				if write.Resource() == "deployments" && write.ObjectRef.Name == "sample-cluster-worker" && write.Committed() {
					t.Errorf("the operator wrote an object that is not its own: %v", write)
				}
			}
			if other := u.ray("other"); condition(other, rayv1.RayHealth).Status != corev1.ConditionTrue {
				t.Errorf("the status of the other Ray is %v", other.Status)
			}

			u.kubectl("delete", "deployment", "sample-cluster-worker")
			u.waitHealthy("sample-cluster")
		})
	}
}
