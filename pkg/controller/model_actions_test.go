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
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// action is something that can happen in a schedule. It returns a line for the trace, or "" if it does
// not apply to the current state.
type action struct {
	weight int
	do     func(e *environment, n, m int) string
}

var actions = []action{
	// Users.
	{4, func(e *environment, _, m int) string { return e.createRay(m) }},
	{12, func(e *environment, n, m int) string { return e.editRay(n, m) }},
	{3, func(e *environment, n, _ int) string { return e.deleteRay(n) }},
	{2, func(e *environment, _, m int) string {
		if done := e.deleteRay(0); done != "" {
			e.logf("%s", done)
		}
		return e.createRay(m)
	}},
	// Other clients.
	{3, func(e *environment, n, m int) string { return e.deleteChild(n, m) }},
	{6, func(e *environment, n, m int) string { return e.editChild(n, m) }},
	{2, func(e *environment, n, m int) string { return e.rollBackChild(n, m) }},
	{2, func(e *environment, n, m int) string { return e.createConflicting(n, m) }},
	{2, func(e *environment, n, _ int) string { return e.deleteConflicting(childIDs[n%len(childIDs)]) }},
	// The cluster.
	{10, func(e *environment, n, m int) string { return e.rollOut(roles[n%len(roles)], m%4, false) }},
	{5, func(e *environment, n, _ int) string { return e.rollOut(roles[n%len(roles)], 0, true) }},
	{3, func(e *environment, n, m int) string { return e.failPods(n, m) }},
	{8, func(e *environment, n, _ int) string { return e.collectGarbage(n) }},
	// The caches.
	{20, func(e *environment, n, m int) string { return e.deliver(modelResources[n%3], 1+m%4) }},
	{8, func(e *environment, n, _ int) string { return e.deliver(modelResources[n%3], 1<<16) }},
	{8, func(e *environment, _, _ int) string {
		e.operator.deliverAll()
		return "watch: all events delivered"
	}},
	{3, func(e *environment, n, _ int) string { return e.relist(modelResources[n%3]) }},
	{8, func(e *environment, n, m int) string { return e.recommend(n, m) }},
	// Faults.
	{8, func(e *environment, n, m int) string { return e.addFault(n, m) }},
	{2, func(e *environment, _, _ int) string { return e.killOperator() }},
	{6, func(e *environment, n, m int) string { return e.replaceOperator(n, m) }},
	{3, func(e *environment, _, _ int) string { return e.deliverDelayedWrite() }},
	// A time without changes.
	{4, func(e *environment, _, _ int) string { return e.converge() }},
}

func (e *environment) createRay(m int) string {
	if e.ray() != nil {
		return ""
	}
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName}, Spec: modelSpec()}
	if m%4 == 0 && !e.schedule.isAutoscaled {
		ray.Spec.Worker = nil
	}
	if m%3 == 0 {
		ray.Spec.WorkerGroups = []rayv1.WorkerGroup{modelGroup("gpu")}
	}
	if e.schedule.storesGCS {
		ray.Spec.GCS = &rayv1.GCSSpec{VolumeClaim: &rayv1.VolumeClaimReference{Name: "gcs"}}
	}
	if e.schedule.isAutoscaled {
		autoscaleModel(&ray.Spec, m%24)
	}
	e.create(ray)
	return "user: create the Ray: UID " + string(e.ray().UID)
}

func (e *environment) deleteRay(n int) string {
	if ray := e.ray(); ray == nil || ray.DeletionTimestamp != nil {
		return ""
	}
	policy := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}[n%3]
	e.delete(rayID, policy)
	return "user: delete the Ray, propagationPolicy " + string(policy)
}

func (e *environment) editRay(n, m int) string {
	if e.ray() == nil {
		return ""
	}
	count := len(specEdits)
	if e.schedule.corruptsRecords {
		count -= specRemovals
	}
	if n%10 == 9 {
		update(e, rayID, "", func(ray *rayv1.Ray) { ray.Labels = map[string]string{"note": strconv.Itoa(m)} })
		return "user: label the Ray"
	}
	edit := specEdits[n/10%count]
	next := e.ray()
	if edit.change(&next.Spec, m); e.schedule.corruptsRecords && resources.IsAutoscaled(next) != e.schedule.isAutoscaled {
		return "" // the head has fields of an autoscaled Ray, or not
	}
	update(e, rayID, "", func(ray *rayv1.Ray) { edit.change(&ray.Spec, m) })
	return fmt.Sprintf("user: edit %s: generation %d", edit.field, e.ray().Generation)
}

func (e *environment) deleteChild(n, m int) string {
	id, policy := childIDs[n%len(childIDs)], metav1.DeletePropagationBackground
	if m%3 == 0 {
		policy = metav1.DeletePropagationForeground
	}
	if o := e.server.objects[id]; o == nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	e.delete(id, policy)
	return fmt.Sprintf("other client: delete %s, propagationPolicy %s", id, policy)
}

// deliver delivers up to a number of watch events of a resource.
func (e *environment) deliver(resource string, count int) string {
	delivered := 0
	for delivered < count && !e.operator.killed && e.operator.deliver(resource) {
		delivered++
	}
	if delivered == 0 {
		return ""
	}
	return fmt.Sprintf("watch: %d events of %s delivered", delivered, resource)
}

func (e *environment) relist(resource string) string {
	if e.operator.killed {
		return ""
	}
	e.operator.list(resource, len(e.server.history))
	return fmt.Sprintf("watch: %s relisted", resource)
}

// addFault adds a fault to one of the next requests.
func (e *environment) addFault(n, m int) string {
	for range m % 6 {
		e.faults = append(e.faults, nil)
	}
	e.faults = append(e.faults, &faults[n%len(faults)])
	return ""
}

func (e *environment) killOperator() string {
	if e.operator.killed {
		return ""
	}
	e.stopOperator()
	return "operator: killed"
}

// replaceOperator starts a new process if the last one was killed, or sometimes kills a running one. The
// caches of the new process may be stale at first.
func (e *environment) replaceOperator(n, m int) string {
	if !e.operator.killed && n%4 > 0 {
		return ""
	}
	e.stopOperator()
	position := map[string]int{}
	for i, resource := range modelResources {
		if missing := m >> (4 * i) % 16; m%2 == 0 {
			position[resource] = max(0, len(e.server.history)-missing)
		}
	}
	e.startOperator(position)
	if len(position) == 0 {
		return "operator: new process, caches are current"
	}
	return fmt.Sprintf("operator: new process, caches have, of %d events, the first %v", len(e.server.history), position)
}

// converge lets all controllers finish.
func (e *environment) converge() string {
	for range 4 {
		e.finish()
		e.advance(3 * time.Second)
	}
	return "all controllers have finished"
}

// finish delivers all watch events, and lets the garbage collector and the Deployment controller finish.
func (e *environment) finish() {
	if !e.operator.killed {
		e.operator.deliverAll()
	}
	for e.collectNext() {
	}
	for _, role := range roles {
		if done := e.rollOut(role, 0, true); done != "" {
			e.logf("%s", done)
		}
	}
}

// collectNext runs the garbage collector once. It returns whether that wrote anything.
func (e *environment) collectNext() bool {
	before := e.server.revision
	if done := e.collectGarbage(0); done != "" {
		e.logf("%s", done)
	}
	return e.server.revision != before
}

// createConflicting creates an object with the name of a child that no Ray controls.
func (e *environment) createConflicting(n, m int) string {
	id := childIDs[n%len(childIDs)]
	if e.server.objects[id] != nil {
		return ""
	}
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: externalName}, Spec: modelSpec()}
	var o object = resources.NewService(ray)
	ray.Spec.WorkerGroups = []rayv1.WorkerGroup{modelGroup("gpu"), modelGroup("spot")}
	if id.resource == deploymentResource {
		o = resources.NewDeployment(ray, groupOf(ray, roles[n%len(childIDs)-1]))
	}
	o.SetOwnerReferences(nil)
	o.SetAnnotations(nil)
	if m%2 == 0 {
		o.SetLabels(nil)
	}
	e.create(o)
	return fmt.Sprintf("other client: create %s without owner", id)
}

// deleteConflicting deletes an object without owner.
func (e *environment) deleteConflicting(id objectID) string {
	if o := e.server.objects[id]; o == nil || metav1.GetControllerOf(o) != nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	e.delete(id, metav1.DeletePropagationBackground)
	return fmt.Sprintf("other client: delete %s without owner", id)
}

// rollBackChild reverts a child to an earlier version, including the operator's record.
func (e *environment) rollBackChild(n, m int) string {
	id := childIDs[n%len(childIDs)]
	current := e.server.objects[id]
	if current == nil {
		return ""
	}
	var versions []object
	for _, event := range e.server.history {
		if event.object.GetUID() == current.GetUID() {
			versions = append(versions, event.object)
		}
	}
	earlier := clone(versions[m%len(versions)])
	update(e, id, "", func(o object) {
		o.SetLabels(earlier.GetLabels())
		o.SetAnnotations(earlier.GetAnnotations())
		field(o, "Spec").Set(field(earlier, "Spec"))
	})
	return fmt.Sprintf("other client: roll %s back to resourceVersion %s", id, earlier.GetResourceVersion())
}

func (e *environment) editChild(n, m int) string {
	id := childIDs[n%len(childIDs)]
	if o := e.server.objects[id]; o == nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	count := len(childEdits)
	if !e.schedule.corruptsRecords {
		count -= recordEdits
	}
	edit := childEdits[m%count]
	before := e.server.revision
	update(e, id, "", func(o object) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			edit.change(o, &o.Spec, nil, m/count)
		case *corev1.Service:
			edit.change(o, nil, &o.Spec, m/count)
		}
	})
	if e.server.revision == before {
		return ""
	}
	return fmt.Sprintf("other client: edit %s of %s", edit.name, id)
}

func annotate(o object, key, value string) {
	o.SetAnnotations(labels.Merge(o.GetAnnotations(), map[string]string{key: value}))
}

// isExternal returns whether another client has added an annotation or container, which it may keep.
func isExternal(name string) bool { return strings.HasPrefix(name, externalName) }
