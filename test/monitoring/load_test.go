package monitoring

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// Of the Rays that come, one in so many is broken; so many are there at a time.
const (
	brokenOneIn = 6
	mostRays    = 30
)

// load has Rays come, change and go.
type load struct {
	*testing.T
	client     versioned.Interface
	namespaces []string
	template   rayv1.Ray
	// made counts all, rays are those that are there.
	made int
	rays []*rayv1.Ray
}

func newLoad(t *testing.T, namespaces ...string) *load {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
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

// run does a step every half second, or as quickly as the API server lets it. Now and then many
// Rays come at once.
func (l *load) run(duration time.Duration) {
	l.Helper()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for step, began := 0, time.Now(); time.Since(began) < duration; step++ {
		<-ticker.C
		l.create()
		if step%40 == 10 {
			for range mostRays / 3 {
				l.create()
			}
		}
		l.patch(l.rays[step%len(l.rays)], fmt.Sprintf(`{"spec":{"worker":{"replicas":%d}}}`, 1+step%5))
		if step%5 == 0 {
			l.patch(l.rays[len(l.rays)/2], fmt.Sprintf(`{"spec":{"worker":{"template":{"metadata":{"annotations":{"step":"%d"}}}}}}`, step))
		}
		for len(l.rays) > mostRays {
			l.delete()
		}
	}
}

// create makes a Ray. What is broken about it only the Deployment's validation finds.
func (l *load) create() {
	l.Helper()
	ray := l.template.DeepCopy()
	ray.Name = fmt.Sprintf("ray-%d", l.made)
	ray.Namespace = l.namespaces[l.made%len(l.namespaces)]
	if l.made%brokenOneIn == 0 {
		container := &ray.Spec.Head.Template.Spec.Containers[0]
		container.VolumeMounts = []corev1.VolumeMount{{Name: "nowhere", MountPath: "/nowhere"}}
	}
	l.made++
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

// broken counts the Rays that can never be healthy.
func (l *load) broken() int {
	count := 0
	for _, ray := range l.rays {
		if ray.Spec.Head.Template.Spec.Containers[0].VolumeMounts != nil {
			count++
		}
	}
	return count
}
