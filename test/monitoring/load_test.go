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

package monitoring

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

const (
	// invalidInterval is the number of Rays of which one is invalid.
	invalidInterval = 6
	// maxRays is the number of Rays that exist at the same time.
	maxRays = 30
)

// load creates, changes and deletes Rays.
type load struct {
	*testing.T
	client     versioned.Interface
	namespaces []string
	template   rayv1.Ray
	// created is the number of Rays created so far; rays are those not deleted.
	created int
	rays    []*rayv1.Ray
}

func newLoad(t *testing.T, namespaces ...string) *load {
	t.Helper()
	config, err := cluster.Config()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{T: t, namespaces: namespaces}
	if l.client, err = versioned.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	readYAML(t, "manifests/samples/sample-cluster.yaml", &l.template)
	for _, namespace := range namespaces {
		kubectl(t, "create", "namespace", namespace)
	}
	return l
}

// run changes Rays every 500 ms, or as fast as the API server allows. Every 20 s, it creates a burst
// of Rays.
func (l *load) run(duration time.Duration) {
	l.Helper()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for step, start := 0, time.Now(); time.Since(start) < duration; step++ {
		<-ticker.C
		l.create()
		if step%40 == 10 {
			for range maxRays / 3 {
				l.create()
			}
		}
		l.patch(l.rays[step%len(l.rays)], fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, 1+step%5))
		if step%5 == 0 {
			l.patch(l.rays[len(l.rays)/2], fmt.Sprintf(`{"spec":{"worker":{"template":{"metadata":{"annotations":{"step":"%d"}}}}}}`, step))
		}
		for len(l.rays) > maxRays {
			l.delete()
		}
	}
}

// create creates a Ray. An invalid one passes the validation of the CRD, but not that of Deployments.
func (l *load) create() {
	l.Helper()
	ray := l.template.DeepCopy()
	ray.Name = fmt.Sprintf("ray-%d", l.created)
	ray.Namespace = l.namespaces[l.created%len(l.namespaces)]
	if l.created%invalidInterval == 0 {
		container := &ray.Spec.Head.Template.Spec.Containers[0]
		container.VolumeMounts = []corev1.VolumeMount{{Name: "missing", MountPath: "/missing"}}
	}
	l.created++
	ray, err := l.client.RayV1().Rays(ray.Namespace).Create(l.Context(), ray, metav1.CreateOptions{})
	if err != nil {
		l.Fatal(err)
	}
	l.rays = append(l.rays, ray)
}

func (l *load) patch(ray *rayv1.Ray, patch string) {
	l.Helper()
	if _, err := l.client.RayV1().Rays(ray.Namespace).Patch(l.Context(), ray.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		l.Fatal(err)
	}
}

// delete deletes the oldest Ray.
func (l *load) delete() {
	l.Helper()
	ray := l.rays[0]
	if err := l.client.RayV1().Rays(ray.Namespace).Delete(l.Context(), ray.Name, metav1.DeleteOptions{}); err != nil {
		l.Fatal(err)
	}
	l.rays = l.rays[1:]
}

// invalid returns the number of Rays that cannot become healthy.
func (l *load) invalid() int {
	count := 0
	for _, ray := range l.rays {
		if ray.Spec.Head.Template.Spec.Containers[0].VolumeMounts != nil {
			count++
		}
	}
	return count
}
