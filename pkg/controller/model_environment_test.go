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

// runner runs schedules one after another. They share clientsets, since creating these is slow.
type runner struct {
	kube kubernetes.Interface
	ray  versioned.Interface
	// environment is that of the running schedule.
	environment *environment
	// fresh has, by spec, the final state of a run without faults.
	fresh map[string]*state
	// unknown is a spec that is not in fresh yet.
	unknown *rayv1.RaySpec
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{fresh: map[string]*state{}}
	config := &rest.Config{Host: "http://fake", Transport: r, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}}
	var err error
	if r.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if r.ray, err = versioned.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return r
}

// RoundTrip implements http.RoundTripper.
func (r *runner) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.environment.roundTrip(request)
}

// environment is everything but the operator: the API server, its clients, time and faults. One
// goroutine runs the steps; those of the operator run while it waits.
type environment struct {
	// mu is held by the goroutine that runs. There is no contention: it shows the race detector that
	// goroutines do not run at the same time.
	mu       sync.Mutex
	runner   *runner
	schedule schedule
	server   *fakeServer
	start    time.Time
	operator *operator

	// faults are those of the next requests, one each; nil is none.
	faults []*fault
	// delayed are writes of killed processes that have not arrived at the API server yet.
	delayed []*http.Request
	// rollouts has the Pods of each Deployment.
	rollouts map[types.UID]*rollout
	checker  *checker

	trace      []string
	violations []string
}

func newEnvironment(r *runner, s schedule) *environment {
	e := &environment{runner: r, schedule: s, server: newFakeServer(), start: time.Now(), rollouts: map[types.UID]*rollout{}}
	e.mu.Lock()
	r.environment = e
	e.checker = newChecker(e)
	e.server.onWrite = e.checker.checkWrite
	if s.injectsSidecars {
		e.server.admit = injectSidecar
	}
	e.startOperator(nil)
	return e
}

// logf adds a line to the trace.
func (e *environment) logf(format string, args ...any) {
	e.trace = append(e.trace, fmt.Sprintf("%12s  ", time.Since(e.start))+fmt.Sprintf(format, args...))
}

// violationf records a violation.
func (e *environment) violationf(format string, args ...any) {
	e.violations = append(e.violations, fmt.Sprintf(format, args...))
	e.logf("VIOLATION: "+format, args...)
}

// advance advances the time until all goroutines are idle. The extra nanosecond separates steps from the
// operator's timers, so that their order is deterministic.
func (e *environment) advance(d time.Duration) {
	e.operator.queue.flush()
	e.mu.Unlock()
	defer e.mu.Lock()
	synctest.Wait()
	time.Sleep(d + time.Nanosecond)
	synctest.Wait()
}

// The Ray and its children. There is one Ray at a time.
var (
	rayID          = objectID{rayResource, namespace, rayName}
	serviceID      = objectID{serviceResource, namespace, serviceKey}
	headID         = objectID{deploymentResource, namespace, deploymentName(rayv1.RoleHead)}
	workerID       = objectID{deploymentResource, namespace, deploymentName(rayv1.RoleWorker)}
	childIDs       = []objectID{serviceID, headID, workerID}
	deploymentIDs  = map[rayv1.Role]objectID{rayv1.RoleHead: headID, rayv1.RoleWorker: workerID}
	roles          = []rayv1.Role{rayv1.RoleHead, rayv1.RoleWorker}
	modelResources = []string{rayResource, serviceResource, deploymentResource}
)

// stored returns a copy of a stored object, or nil.
func stored[T object](e *environment, id objectID) T {
	found, ok := e.server.objects[id].(T)
	if !ok {
		return found
	}
	return clone(found)
}

func (e *environment) ray() *rayv1.Ray { return stored[*rayv1.Ray](e, rayID) }

// update updates an object, which must exist.
func update[T object](e *environment, id objectID, subresource string, change func(T)) {
	next := stored[T](e, id)
	change(next)
	if _, err := e.server.update(id, next, subresource); err != nil {
		e.violationf("bug in the model: updating %s: %v", id, err)
	}
	e.checker.recordSpec()
}

func (e *environment) create(o object) {
	if _, err := e.server.create(idOf(o), o); err != nil {
		e.violationf("bug in the model: creating %s: %v", idOf(o), err)
	}
	e.checker.recordSpec()
}

// delete deletes an object, which must exist.
func (e *environment) delete(id objectID, policy metav1.DeletionPropagation) {
	if _, err := e.server.delete(id, &metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
		e.violationf("bug in the model: deleting %s: %v", id, err)
	}
}

// modelSpec returns the spec of a new Ray, which is smaller than that of the sample.
func modelSpec() rayv1.RaySpec {
	template := func(ports ...int32) corev1.PodTemplateSpec {
		container := corev1.Container{Name: "ray", Image: "ray:1", Env: []corev1.EnvVar{{Name: "GREETING", Value: "hello"}}}
		for _, port := range ports {
			container.Ports = append(container.Ports, corev1.ContainerPort{ContainerPort: port})
		}
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
	}
	return rayv1.RaySpec{
		Head:   rayv1.HeadSpec{Replicas: new(int32(1)), Template: template(6379, 8267)},
		Worker: &rayv1.WorkerSpec{Replicas: new(int32(2)), Template: template()},
	}
}

// externalName is the name of containers, and the value of fields, that another client sets.
const externalName = "external"

// injectSidecar adds a container to every Pod template, as a mutating webhook may do.
func injectSidecar(o object) {
	deployment, ok := o.(*appsv1.Deployment)
	if !ok {
		return
	}
	spec := &deployment.Spec.Template.Spec
	spec.Containers = withSidecar(spec.Containers)
}

func withSidecar(containers []corev1.Container) []corev1.Container {
	if slices.ContainsFunc(containers, func(c corev1.Container) bool { return c.Name == externalName }) {
		return containers
	}
	sidecar := corev1.Container{Name: externalName, Image: "sidecar"}
	setContainerDefaults(&sidecar)
	return append(containers, sidecar)
}

// toText returns the JSON encoding of a value, as the key of a map or for comparison.
func toText(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // values are of API types
	}
	return string(data)
}
