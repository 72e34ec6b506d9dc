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
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// checkEnd ends a schedule: without further faults, all clients and controllers finish. Then the state must
// equal that of a fresh deployment of the spec, and stay so.
func (e *environment) checkEnd() {
	e.faults = nil
	for e.deliverDelayedWrite() != "" {
	}
	if e.operator.killed {
		e.stopOperator()
		e.startOperator(nil)
	}
	e.operator.deliverAll() // a Ray that was suspended has no recommendation
	e.recommendLast()
	e.logf("end: no more faults; all watch events are delivered; the head is rolled out, which workers wait for, and those that are replaced with it")
	e.repeat(45*time.Second, func() {
		e.operator.deliverAll()
		for _, role := range roles {
			deployment := stored[*appsv1.Deployment](e, deploymentIDs[role])
			if deployment == nil || role != rayv1.RoleHead && !readLastApplied(deployment).WithHead {
				continue
			}
			if done := e.rollOut(role, 0, true); done != "" {
				e.logf("%s", done)
			}
		}
	})
	ray := e.ray()
	if ray != nil && ray.DeletionTimestamp == nil && !e.isBlocked(ray) {
		e.checkChildren("when all watch events are delivered")
	}

	e.logf("end: conflicting objects are deleted; the garbage collector finishes")
	e.repeat(45*time.Second, func() {
		e.operator.deliverAll()
		for e.collectNext() {
		}
		for _, id := range childIDs {
			e.deleteConflicting(id)
		}
		e.finish()
	})
	e.checkChildren("when no other object is in conflict")

	e.logf("end: the Deployment controller finishes")
	e.repeat(45*time.Second, e.finish)
	e.checkState()
	e.checkSteadyState()
}

// repeat calls a function each second for some time.
func (e *environment) repeat(d time.Duration, do func()) {
	for range d / time.Second {
		do()
		e.advance(time.Second)
	}
}

// isBlocked returns whether the Ray waits for another client to delete an object.
func (e *environment) isBlocked(ray *rayv1.Ray) bool {
	return slices.ContainsFunc(childIDs, func(id objectID) bool {
		o := e.server.objects[id]
		return o != nil && (!metav1.IsControlledBy(o, ray) || o.GetDeletionTimestamp() != nil)
	})
}

// state is the final state, without what differs between runs.
type state struct {
	Status   *rayv1.RayStatus
	Children map[objectID]object
}

func (e *environment) state() *state {
	s := &state{Children: map[objectID]object{}}
	ray := e.ray()
	if ray != nil {
		s.Status = &ray.Status
		ray.Status.ObservedGeneration, ray.Status.StartTime, ray.Status.LastReconcileTime = 0, nil, nil
		// A Ray that was suspended before differs from a fresh one.
		ray.Status.Conditions = slices.DeleteFunc(ray.Status.Conditions, func(c rayv1.RayCondition) bool { return c.Reason == reasonResumed })
		for i := range ray.Status.Conditions {
			condition := &ray.Status.Conditions[i]
			condition.ObservedGeneration, condition.LastUpdateTime, condition.LastTransitionTime = 0, metav1.Time{}, metav1.Time{}
		}
	}
	for _, id := range childIDs {
		child := stored[object](e, id)
		if child == nil {
			continue
		}
		if ray == nil || !metav1.IsControlledBy(child, ray) {
			e.violationf("%s exists, but is not controlled by the Ray", id)
		}
		removeVariable(child)
		s.Children[id] = child
	}
	return s
}

// removeVariable removes from a child what differs between runs, and what other clients may add.
func removeVariable(child object) {
	child.SetUID("")
	child.SetResourceVersion("")
	child.SetGeneration(0)
	for i := range child.GetOwnerReferences() {
		child.GetOwnerReferences()[i].UID = ""
	}
	annotations := maps.Clone(child.GetAnnotations())
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return isExternal(key) || key == "deployment.kubernetes.io/revision"
	})
	child.SetAnnotations(annotations)
	if _, found := annotations[rayv1.AnnotationLastApplied]; found {
		editLastApplied(child, func(r *lastApplied) {
			r.RayGeneration, r.Generation, r.TemplateGeneration, r.NewWorkers = 0, 0, 0, nil
		})
	}
	switch child := child.(type) {
	case *appsv1.Deployment:
		child.Status = appsv1.DeploymentStatus{}
		child.Spec.Template.Spec.Containers = slices.DeleteFunc(child.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return isExternal(c.Name) })
	case *corev1.Service:
	}
}

// freshState returns the final state of a run of the Ray's spec without faults. If it is not known yet,
// freshState returns the current state, and the schedule has to run once more.
func (e *environment) freshState() *state {
	ray := e.ray()
	if ray == nil {
		return &state{}
	}
	if fresh := e.runner.fresh[toText(ray.Spec)]; fresh != nil {
		return fresh
	}
	e.runner.unknown = &ray.Spec
	return e.state()
}

// deployFresh runs a spec without faults, and stores its final state.
func (r *runner) deployFresh(spec *rayv1.RaySpec) {
	e := newEnvironment(r, schedule{})
	e.create(&rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName}, Spec: *spec})
	e.recommendLast()
	e.repeat(45*time.Second, e.finish)
	e.stopOperator()
	r.fresh[toText(spec)] = e.state()
}

func (e *environment) checkChildren(when string) {
	if got, want := e.state().Children, e.freshState().Children; !equality.Semantic.DeepEqual(got, want) {
		e.violationf("%s, the children differ from a fresh deployment (-fresh +this):\n%s", when, cmp.Diff(want, got))
	}
}

// checkState checks the final children and status.
func (e *environment) checkState() {
	if got, want := e.state(), e.freshState(); !equality.Semantic.DeepEqual(got.Status, want.Status) || !equality.Semantic.DeepEqual(got.Children, want.Children) {
		e.violationf("the final state differs from a fresh deployment (-fresh +this):\n%s", cmp.Diff(want, got))
	}
	ray := e.ray()
	if ray == nil {
		return
	}
	if ray.Status.ObservedGeneration != ray.Generation {
		e.violationf("the final observedGeneration is %d, but the Ray has generation %d", ray.Status.ObservedGeneration, ray.Generation)
	}
	want := rayv1.RayHealth
	if resources.IsSuspended(ray) {
		want = rayv1.RaySuspended
	}
	if condition := findCondition(ray.Status.Conditions, want); condition == nil || condition.Status != corev1.ConditionTrue {
		e.violationf("%s is not True in the final state: %v", want, ray.Status.Conditions)
	}
}

// checkSteadyState checks that the operator sends no more requests, and that the number of its writes was
// in proportion to the number of steps.
func (e *environment) checkSteadyState() {
	e.server.writes, e.server.reads = nil, nil
	e.repeat(10*time.Second, e.operator.deliverAll)
	e.advance(10 * time.Minute)
	if len(e.server.writes)+len(e.server.reads) > 0 {
		e.violationf("in steady state, the operator sent the writes %v and the reads %v", e.server.writes, e.server.reads)
	}
	if limit := 10 + 4*len(e.schedule.steps); e.checker.writes > limit {
		e.violationf("%d writes in %d steps, want at most %d", e.checker.writes, len(e.schedule.steps), limit)
	}
}
