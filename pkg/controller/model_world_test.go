package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// lane runs one schedule after the other. Clientsets are slow to make, so the schedules
// share them.
type lane struct {
	kube kubernetes.Interface
	ray  versioned.Interface
	// world is that of the schedule that runs.
	world *world
	// fresh has, per spec, what a Ray becomes if nothing goes wrong.
	fresh map[string]*state
	// unknown is a spec of which that is not known yet.
	unknown *rayv1.RaySpec
}

func newLane(t *testing.T) *lane {
	t.Helper()
	l := &lane{fresh: map[string]*state{}}
	config := &rest.Config{Host: "http://fake", Transport: l, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
	var err error
	if l.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if l.ray, err = versioned.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return l
}

// RoundTrip makes the world of the schedule that runs the transport of the clients.
func (l *lane) RoundTrip(r *http.Request) (*http.Response, error) { return l.world.roundTrip(r) }

// world is all that there is besides the operator: the server with its users, others who
// use it, time, and what goes wrong. One goroutine acts; the operator's run while it waits.
type world struct {
	// mu is held by who runs. Nobody ever has to wait for it: it is there to let the race
	// detector know that they take turns.
	mu       sync.Mutex
	lane     *lane
	schedule schedule
	server   *fakeServer
	start    time.Time
	operator *operator

	// faults are in store for the next requests, one each; nil is none.
	faults []*fault
	// late are writes of dead processes that the server has yet to see.
	late []*http.Request
	// rollouts has what the Deployment controller knows of each Deployment.
	rollouts map[types.UID]*rollout
	judge    *judge

	trace      []string
	violations []string
}

func newWorld(l *lane, s schedule) *world {
	w := &world{lane: l, schedule: s, server: newFakeServer(), start: time.Now(), rollouts: map[types.UID]*rollout{}}
	w.mu.Lock()
	l.world = w
	w.judge = newJudge(w)
	w.server.onWrite = w.judge.judgeWrite
	if s.injects {
		w.server.admit = injectContainer
	}
	w.startOperator(nil)
	return w
}

// tell adds a line to the trace.
func (w *world) tell(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%12s  ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

// violate notes that something is not as it must be.
func (w *world) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
	w.tell("VIOLATION: "+format, args...)
}

// pass lets time pass, until no goroutine has anything to do. The world is never on the
// same nanosecond as the timers of the operator, so that nothing hangs on which is first.
func (w *world) pass(d time.Duration) {
	w.operator.queue.flush()
	w.mu.Unlock()
	defer w.mu.Lock()
	synctest.Wait()
	time.Sleep(d + time.Nanosecond)
	synctest.Wait()
}

// The names of a Ray and of its children. There is one Ray at a time.
var (
	rayID      = objectID{rayResource, namespace, rayName}
	serviceID  = objectID{serviceResource, namespace, serviceKey}
	headID     = objectID{deploymentResource, namespace, deploymentName(rayv1.RoleHead)}
	workerID   = objectID{deploymentResource, namespace, deploymentName(rayv1.RoleWorker)}
	childIDs   = []objectID{serviceID, headID, workerID}
	deployIDs  = map[rayv1.Role]objectID{rayv1.RoleHead: headID, rayv1.RoleWorker: workerID}
	roles      = []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker}
	modelKinds = []string{rayResource, serviceResource, deploymentResource}
)

// stored returns a copy of what the server has, or nil.
func stored[T object](w *world, id objectID) T {
	found, ok := w.server.objects[id].(T)
	if !ok {
		return found
	}
	return clone(found)
}

func (w *world) ray() *rayv1.Ray { return stored[*rayv1.Ray](w, rayID) }

// change changes an object that exists.
func change[T object](w *world, id objectID, subresource string, how func(T)) {
	next := stored[T](w, id)
	how(next)
	if _, err := w.server.update(id, next, subresource); err != nil {
		w.violate("the model itself could not change %v: %v", id, err)
	}
	w.judge.know()
}

func (w *world) create(o object) {
	if _, err := w.server.create(idOf(o), o); err != nil {
		w.violate("the model itself could not create %v: %v", idOf(o), err)
	}
	w.judge.know()
}

// remove deletes an object that exists in one of the three ways.
func (w *world) remove(id objectID, policy metav1.DeletionPropagation) {
	if _, err := w.server.delete(id, &metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		w.violate("the model itself could not delete %v: %v", id, err)
	}
}

// modelSpec returns the spec of a Ray. Of the sample it has what matters.
func modelSpec() rayv1.RaySpec {
	template := func(ports ...int32) corev1.PodTemplateSpec {
		container := corev1.Container{Name: "ray", Image: "ray:1", Env: []corev1.EnvVar{{Name: "GREETING", Value: "hello"}}}
		for _, port := range ports {
			container.Ports = append(container.Ports, corev1.ContainerPort{ContainerPort: port})
		}
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
	}
	return rayv1.RaySpec{
		Head:   rayv1.HeadSpec{Replicas: new(int32(1)), Template: template(6379, 8265)},
		Worker: &rayv1.WorkerSpec{Replicas: new(int32(2)), Template: template()},
	}
}

const foreignName = "foreign"

// injectContainer is what a webhook does that adds a container to every Pod.
func injectContainer(o object) {
	deployment, ok := o.(*appsv1.Deployment)
	if !ok {
		return
	}
	spec := &deployment.Spec.Template.Spec
	spec.Containers = withForeignContainer(spec.Containers)
}

func withForeignContainer(containers []corev1.Container) []corev1.Container {
	if slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == foreignName }) {
		return containers
	}
	foreign := corev1.Container{Name: foreignName, Image: "sidecar"}
	setContainerDefaults(&foreign)
	return append(containers, foreign)
}

// toText returns a value as text, for a key.
func toText(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // an API type
	}
	return string(data)
}
