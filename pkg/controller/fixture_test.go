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

package controller

import (
	"context"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
	"github.com/kubeflow/ray-operator/pkg/internal/testclock"
	"github.com/kubeflow/ray-operator/pkg/rayclient"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// fixture is a controller with a fake server. Its informers do not run: a test delivers watch events to
// the caches, which are stale until then.
type fixture struct {
	t      testing.TB
	server *fakeServer
	clock  *testclock.Clock
	events *record.FakeRecorder
	// recommender has the recommendation of each Ray.
	recommender fakeRecommender

	kubeClient kubernetes.Interface
	rayClient  versioned.Interface
	controller *Controller
	queue      *fakeQueue
	caches     map[string]cache.Indexer
	// seen is, by resource, the number of watch events in the history that were processed.
	seen map[string]int
}

const (
	namespace  = "default"
	rayName    = "sample-cluster"
	serviceKey = "sample-cluster-head"
)

var sampleKey = cache.ObjectName{Namespace: namespace, Name: rayName}

// newFixture returns a controller that has not synced the sample Ray yet.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		t:      t,
		server: newFakeServer(),
		// As on a real machine, this is not a whole second and not UTC.
		clock:  testclock.New(time.Date(2026, time.March, 4, 5, 6, 7, 890, time.FixedZone("elsewhere", 3600))),
		events: record.NewFakeRecorder(1000),

		recommender: fakeRecommender{},
	}
	f.kubeClient, f.rayClient = f.server.clients(t)
	f.put(readSample(t))
	f.restart()
	f.controller.reconciler.memory.sawCreation(f.ray())
	t.Cleanup(func() { f.queue.ShutDown() })
	return f
}

// newHealthyFixture returns a controller in steady state, with the sample Ray healthy.
func newHealthyFixture(t testing.TB) *fixture {
	t.Helper()
	f := newFixture(t)
	f.makeHealthy()
	return f
}

// restart replaces the controller by a new one with current caches.
func (f *fixture) restart() {
	f.t.Helper()
	if f.queue != nil {
		f.queue.ShutDown()
	}
	informers := NewInformers(f.kubeClient, f.rayClient, []string{metav1.NamespaceAll})
	controller, err := New(f.kubeClient, f.rayClient, informers, f.recommender, f.events, f.clock)
	if err != nil {
		f.t.Fatal(err)
	}
	f.queue = &fakeQueue{TypedRateLimitingInterface: controller.queue}
	controller.queue = f.queue
	f.controller = controller
	f.caches = controller.reconciler.caches[metav1.NamespaceAll].stores
	f.seen = map[string]int{}
	f.deliver()
	for _, indexer := range f.caches {
		// Even an empty list has a resourceVersion.
		indexer.Bookmark(strconv.FormatInt(f.server.revision, 10))
	}
}

// deliver brings the caches of some resources up to date, or all if none is given.
func (f *fixture) deliver(of ...string) {
	f.t.Helper()
	for resource := range f.caches {
		if len(of) > 0 && !slices.Contains(of, resource) {
			continue
		}
		for f.deliverNext(resource) {
		}
	}
}

// deliverNext delivers the next watch event of a resource. It returns false if there is none.
func (f *fixture) deliverNext(resource string) bool {
	f.t.Helper()
	for f.seen[resource] < len(f.server.history) {
		event := f.server.history[f.seen[resource]]
		f.seen[resource]++
		if event.resource == resource {
			f.apply(event)
			return true
		}
	}
	return false
}

// apply updates a cache as an informer does for a watch event.
func (f *fixture) apply(event watchEvent) {
	f.t.Helper()
	object := clone(event.object)
	if event.resource == rayResource {
		object = mustDecodeRay(f.t, f.server.encode(object))
	}
	stripped, err := strip(object)
	if err != nil {
		f.t.Fatal(err)
	}
	// To a watch with a label selector, an object that loses the label is deleted.
	_, selected := event.object.GetLabels()[rayv1.LabelName]
	if event.deleted || !selected && event.resource != rayResource {
		err = f.caches[event.resource].Delete(stripped)
	} else {
		err = f.caches[event.resource].Update(stripped)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// restartWithStaleCaches restarts the controller. The caches of some resources then have only the first
// events of the history.
func (f *fixture) restartWithStaleCaches(events int, of ...string) {
	f.t.Helper()
	f.restart()
	for _, resource := range of {
		if err := f.caches[resource].Replace(nil, "0"); err != nil {
			f.t.Fatal(err)
		}
		for _, event := range f.server.history[:events] {
			if event.resource == resource {
				f.apply(event)
			}
		}
		f.seen[resource] = events
	}
}

// sync syncs the Ray once, and fails the test if the sync changes a cached object.
func (f *fixture) sync() error {
	f.t.Helper()
	var cached, before []object
	for _, indexer := range f.caches {
		for _, item := range indexer.List() {
			cached = append(cached, item.(object)) //nolint:errcheck,forcetypeassert // deliverNext put it there
			before = append(before, clone(cached[len(cached)-1]))
		}
	}
	after, err := f.controller.reconciler.sync(f.context(), sampleKey)
	if after > 0 {
		f.queue.AddAfter(sampleKey, after)
	}
	if !reflect.DeepEqual(before, cached) {
		f.t.Errorf("the sync changed cached objects (-before +after):\n%s", cmp.Diff(before, cached))
	}
	return err
}

// context returns a context with a logger that discards everything.
func (f *fixture) context() context.Context { return klog.NewContext(f.t.Context(), klog.New(nil)) }

// converge syncs the Ray until a sync writes nothing.
func (f *fixture) converge() {
	f.t.Helper()
	for range 10 {
		f.clock.Step(time.Minute)
		f.deliver()
		before := f.server.revision
		if err := f.sync(); err != nil {
			f.t.Fatalf("sync: %v", err)
		}
		if f.server.revision == before {
			return
		}
	}
	f.t.Fatalf("the Ray does not converge; writes:\n%v", f.server.writes)
}

// makeHealthy brings the Ray to a steady state with all Pods running, and drops the recorded writes and
// events.
func (f *fixture) makeHealthy() {
	f.t.Helper()
	for range 2 { // workers that are replaced with their head get a strategy, and then the default again
		f.converge()
		f.rollOut()
	}
	f.converge()
	if health := f.health(); health != healthy {
		f.t.Fatalf("Health is %q", health)
	}
	f.takeWrites()
	f.takeEvents()
	f.clock.Step(time.Minute)
}

// rollOut sets the status of the Deployments as the Deployment controller does when all Pods run.
func (f *fixture) rollOut() {
	roles := []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker}
	for _, group := range f.ray().Spec.WorkerGroups {
		roles = append(roles, groupRole(group.Name))
	}
	for _, role := range roles {
		if deployment := f.deployment(role); deployment != nil {
			f.editDeploymentStatus(role, func(d *appsv1.Deployment) {
				replicas := *d.Spec.Replicas
				metav1.SetMetaDataAnnotation(&d.ObjectMeta, "deployment.kubernetes.io/revision", "1")
				d.Status = appsv1.DeploymentStatus{
					ObservedGeneration: d.Generation,
					Replicas:           replicas, UpdatedReplicas: replicas, ReadyReplicas: replicas, AvailableReplicas: replicas,
					Conditions: []appsv1.DeploymentCondition{
						{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."},
						{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable", Message: "ReplicaSet has successfully progressed."},
					},
				}
			})
		}
	}
}

// takeWrites returns the writes since the last call.
func (f *fixture) takeWrites() []string {
	writes := f.server.writes
	f.server.writes, f.server.reads = nil, nil
	return writes
}

// takeEvents returns the events since the last call.
func (f *fixture) takeEvents() []string {
	var events []string
	for len(f.events.Events) > 0 {
		events = append(events, <-f.events.Events)
	}
	return events
}

const healthy = "True AllReplicasAvailable"

// health returns the stored condition Health as "STATUS REASON: MESSAGE".
func (f *fixture) health() string {
	condition := findCondition(f.ray().Status.Conditions, rayv1.RayHealth)
	switch {
	case condition == nil:
		return ""
	case condition.Message == "":
		return string(condition.Status) + " " + condition.Reason
	default:
		return string(condition.Status) + " " + condition.Reason + ": " + condition.Message
	}
}

// fakeRecommender recommends what a test has set.
type fakeRecommender map[cache.ObjectName]*autoscaler.Recommendation

func (r fakeRecommender) Recommend(ray *rayv1.Ray) *autoscaler.Recommendation {
	return r[cache.MetaObjectToName(ray)]
}

// fakeQueue records when the controller requeues a Ray.
type fakeQueue struct {
	workqueue.TypedRateLimitingInterface[cache.ObjectName]
	// asked has the requeues.
	asked []string
}

func (q *fakeQueue) AddAfter(key cache.ObjectName, delay time.Duration) {
	q.asked = append(q.asked, key.String()+" after "+delay.String())
}

func (q *fakeQueue) AddRateLimited(key cache.ObjectName) {
	q.asked = append(q.asked, key.String()+" rate limited")
}

// readSample returns the Ray of the sample manifest in the test's namespace.
func readSample(t testing.TB) *rayv1.Ray {
	t.Helper()
	data, err := os.ReadFile("../../manifests/samples/sample-cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ray := &rayv1.Ray{}
	if err := yaml.Unmarshal(data, ray); err != nil {
		t.Fatalf("reading the sample: %v", err)
	}
	ray.TypeMeta = metav1.TypeMeta{}
	ray.Namespace = namespace
	return ray
}

// groupRole returns the role of the worker group with a name.
func groupRole(name string) rayv1.Role { return rayv1.RoleWorker + "-" + rayv1.Role(name) }

// deploymentName returns the name of the Deployment of one of the sample's groups.
func deploymentName(role rayv1.Role) string {
	return resources.DeploymentName(&rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: rayName}}, role)
}

// decodeRay decodes a Ray, or a list of Rays, as the client does.
func decodeRay(data []byte) (runtime.Object, error) {
	info, _ := runtime.SerializerInfoForMediaType(rayclient.Codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	object, _, err := rayclient.Codecs.DecoderToVersion(info.Serializer, rayv1.SchemeGroupVersion).Decode(data, &rayv1.SchemeGroupVersionKind, nil)
	return object, err
}

func mustDecodeRay(t testing.TB, data []byte) *rayv1.Ray {
	t.Helper()
	object, err := decodeRay(data)
	ray, ok := object.(*rayv1.Ray)
	if err != nil || !ok {
		t.Fatalf("decoding %s: got %T, %v", data, object, err)
	}
	return ray
}
