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
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/podtemplate"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// checker checks each write of the operator.
type checker struct {
	environment *environment
	// specs has all specs of all Rays, by UID and generation.
	specs map[types.UID]map[int64]rayv1.RaySpec
	// newest has the newest generation of the Ray that a child was written for.
	newest map[childOf]int64
	// written has the Deployments as of the operator's last write.
	written map[types.UID]*appsv1.Deployment
	// last is the last write, writes is the number of writes that changed something.
	last   *fakeWrite
	writes int
	// isDelayed is set while a write of a killed process arrives.
	isDelayed bool
}

type childOf struct {
	ray   types.UID
	child objectID
}

func newChecker(e *environment) *checker {
	return &checker{environment: e, specs: map[types.UID]map[int64]rayv1.RaySpec{}, newest: map[childOf]int64{}, written: map[types.UID]*appsv1.Deployment{}}
}

// recordSpec records the current spec of the Ray.
func (c *checker) recordSpec() {
	ray := c.environment.ray()
	if ray == nil {
		return
	}
	if c.specs[ray.UID] == nil {
		c.specs[ray.UID] = map[int64]rayv1.RaySpec{}
	}
	c.specs[ray.UID][ray.Generation] = ray.Spec
}

// rayAt returns a Ray of a generation as far as its children depend on it, or nil if it never had it.
func (c *checker) rayAt(uid types.UID, generation int64) *rayv1.Ray {
	spec, found := c.specs[uid][generation]
	if !found {
		return nil
	}
	return &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: uid, Generation: generation}, Spec: spec}
}

// checkWrite checks a write. It is called by the API server afterwards.
func (c *checker) checkWrite(write fakeWrite) {
	e := c.environment
	c.last = &write
	changed := write.before != write.after
	outcome := "no change"
	if changed {
		c.writes++
		outcome = "deleted"
		if write.after != nil {
			outcome = "resourceVersion " + write.after.GetResourceVersion()
		}
	}
	resource := write.id.String()
	if write.subresource != "" {
		resource += "/" + write.subresource
	}
	e.logf("    %s %s: %s", write.verb, resource, outcome)
	if write.verb == "update" && write.resourceVersion == "" {
		e.violationf("an update without resourceVersion")
	}
	if write.verb == "update" && !c.isDelayed && e.operator.written[write.id] > parseVersion(write.resourceVersion) {
		e.violationf("an update based on a version before the last write of the same process")
	}
	if write.verb == "delete" && write.uid == "" {
		e.violationf("a delete without UID as a precondition")
	}
	switch {
	case !changed && write.verb == "update" && write.before != nil && write.before.GetResourceVersion() == write.resourceVersion:
		e.violationf("an update that changes nothing")
	case !changed:
	case write.id == rayID:
		c.checkStatus(write.before.(*rayv1.Ray), write.after.(*rayv1.Ray)) //nolint:errcheck,forcetypeassert // it is a Ray
	default:
		c.checkChild(&write)
	}
}

// checkChild checks a write that changed a child.
func (c *checker) checkChild(write *fakeWrite) {
	e := c.environment
	written := write.after
	if written == nil {
		written = write.before
	}
	owner := metav1.GetControllerOf(written)
	if owner == nil || c.specs[owner.UID] == nil {
		e.violationf("a write to an object that no Ray controls")
		return
	}
	if write.before != nil {
		c.checkBefore(write.before, owner)
	}
	if !c.isDelayed {
		switch ray := e.operator.current.ray; {
		case ray.UID != owner.UID:
			e.violationf("a write for the Ray with UID %s in a sync of %s", owner.UID, ray.UID)
		case ray.DeletionTimestamp != nil:
			e.violationf("a write for a Ray that is being deleted")
		}
	}
	if write.verb == "delete" {
		return // it has the record of the last write, or of another client
	}
	key, generation := childOf{owner.UID, write.id}, rayGeneration(write.after)
	// A create has no precondition. So a delayed one may be for an old generation, and so may one for a Ray
	// that is new to the process, which does not read children before it creates them.
	unconditional := write.verb == "create" && (c.isDelayed || e.operator.current.isNew)
	newest := c.newest[key]
	if ray := e.ray(); ray != nil && write.before != nil && isRecordValid(ray, write.before) {
		newest = rayGeneration(write.before) // another client may have set an older one
	}
	if !unconditional && generation < newest {
		e.violationf("a child is written for generation %d of the Ray, after %d", generation, newest)
	}
	c.newest[key] = max(c.newest[key], generation)
	if deployment, ok := write.after.(*appsv1.Deployment); ok {
		c.checkTemplate(owner.UID, write.before, deployment)
		c.checkTarget(owner.UID, write.before, deployment)
		c.written[deployment.UID] = deployment
	}
}

// checkBefore checks that a Ray may write an object: it controls it, or it is its orphan.
func (c *checker) checkBefore(before object, owner *metav1.OwnerReference) {
	ref := metav1.GetControllerOf(before)
	isOrphan := ref == nil && before.GetLabels()[rayv1.LabelName] == rayName
	if !isOrphan && (ref == nil || ref.UID != owner.UID) {
		c.environment.violationf("a write to an object that is not controlled by this Ray")
	}
	if before.GetDeletionTimestamp() != nil {
		c.environment.violationf("a write to an object that is being deleted")
	}
}

func hasGroup(ray *rayv1.Ray, role rayv1.Role) bool {
	return slices.ContainsFunc(resources.Groups(ray), func(g resources.Group) bool { return g.Role == role })
}

// checkTemplate checks that the Pod template of a Deployment changes, which restarts Pods, only if the
// user or another client has changed it.
func (c *checker) checkTemplate(ray types.UID, before object, after *appsv1.Deployment) {
	old, ok := before.(*appsv1.Deployment)
	last := c.written[after.UID]
	if !ok || last == nil || equality.Semantic.DeepEqual(old.Spec.Template, after.Spec.Template) {
		return
	}
	if operatorAnnotations(old) != operatorAnnotations(last) || !equality.Semantic.DeepEqual(old.Spec.Template, last.Spec.Template) {
		return // another client has changed the Deployment
	}
	was, is := c.rayAt(metav1.GetControllerOf(last).UID, rayGeneration(last)), c.rayAt(ray, rayGeneration(after))
	role := rayv1.Role(after.Labels[rayv1.LabelRole])
	if was == nil || is == nil || !hasGroup(was, role) || !hasGroup(is, role) {
		c.environment.violationf("a Deployment is written for a generation that the Ray never had")
	} else if pending := readLastApplied(last).TemplatePending; !pending && equalInputs(was, is, role) {
		c.environment.violationf("the Pod template of the %s is replaced, though neither the user nor another client has changed it", role)
	}
	// If the user has gone back to the running template while another was pending, only an external change is reverted.
	isNew := readLastApplied(last).Inputs != readLastApplied(after).Inputs
	// Without Pods, workers need not wait.
	if role != rayv1.RoleHead && is != nil && isNew && !c.isDelayed && !isComplete(old, 0) {
		c.checkHeadFirst(is)
	}
}

// equalInputs returns whether a group has the same Pods in two versions of a Ray.
func equalInputs(was, is *rayv1.Ray, role rayv1.Role) bool {
	a, b := groupOf(was, role), groupOf(is, role)
	return a.ExternalAutoscaler == b.ExternalAutoscaler && equality.Semantic.DeepEqual(a.Template, b.Template) &&
		equality.Semantic.DeepEqual(was.Spec.Authentication, is.Spec.Authentication) &&
		equality.Semantic.DeepEqual(was.Spec.GCS, is.Spec.GCS)
}

// checkHeadFirst checks that workers get a new template only after the head has rolled out its own.
func (c *checker) checkHeadFirst(ray *rayv1.Ray) {
	head, operator := groupOf(ray, rayv1.RoleHead), c.environment.operator
	if operator.controller.reconciler.memory.awaitHead(ray, resources.InputsHash(head), operator.controller.clock.Now()) == 0 {
		return
	}
	if !c.observed(deploymentIDs[rayv1.RoleHead], func(o object) bool {
		d, ok := o.(*appsv1.Deployment)
		return ok && isComplete(d, head.Replicas)
	}) {
		c.environment.violationf("the workers get a new template before the head has rolled out")
	}
}

// operatorAnnotations returns the operator's annotations of a Deployment as text. Other annotations are
// those of the Deployment controller.
func operatorAnnotations(d *appsv1.Deployment) string {
	annotations := maps.Clone(d.Annotations)
	maps.DeleteFunc(annotations, func(key, _ string) bool { return !strings.HasPrefix(key, rayv1.SchemeGroupVersion.Group) })
	return toText(annotations)
}

// checkStatus checks a write that changed the status of a Ray.
func (c *checker) checkStatus(before, after *rayv1.Ray) {
	e := c.environment
	old, status := &before.Status, &after.Status
	health := findCondition(status.Conditions, rayv1.RayHealth)
	e.logf("        observedGeneration %d, Health %s %s %s", status.ObservedGeneration, health.Status, health.Reason, health.Message)
	if status.ObservedGeneration < old.ObservedGeneration || status.ObservedGeneration > after.Generation {
		e.violationf("observedGeneration is %d, after %d, of a Ray with generation %d", status.ObservedGeneration, old.ObservedGeneration, after.Generation)
	}
	for _, condition := range status.Conditions {
		was := findCondition(old.Conditions, condition.Type)
		switch {
		case was != nil && was.Status == condition.Status && !was.LastTransitionTime.Equal(&condition.LastTransitionTime):
			e.violationf("lastTransitionTime of %s changed, its status did not", condition.Type)
		case (was == nil || was.Status != condition.Status) && !condition.LastTransitionTime.Equal(status.LastReconcileTime):
			e.violationf("the status of %s changed, its lastTransitionTime did not", condition.Type)
		}
	}
	wantReady := *health
	wantReady.Type = rayv1.RayReady
	if ready := findCondition(status.Conditions, rayv1.RayReady); !equality.Semantic.DeepEqual(ready, &wantReady) {
		e.violationf("the condition Ready differs from Health: %v", ready)
	}
	withNewTime := old.DeepCopy()
	withNewTime.LastReconcileTime = status.LastReconcileTime
	if equality.Semantic.DeepEqual(withNewTime, status) {
		e.violationf("a status write changes only lastReconcileTime")
	}
	c.checkDesired(after)
	c.checkMessage(health.Message)
	// In the same generation, a healthy Ray stays so until its Pods change.
	was := findCondition(old.Conditions, rayv1.RayHealth)
	stays := was != nil && was.Status == corev1.ConditionTrue && old.ObservedGeneration == status.ObservedGeneration
	if health.Status == corev1.ConditionTrue && !stays && !c.isDelayed {
		c.checkHealthy(after)
	}
	if isSuspended(status) && !isSuspended(old) && !c.isDelayed {
		c.checkSuspended(after)
	}
}

// checkSuspended checks that a Ray that turns suspended has no Pods according to what the sync has
// observed.
func (c *checker) checkSuspended(after *rayv1.Ray) {
	ray := c.rayAt(after.UID, after.Status.ObservedGeneration)
	if ray == nil || !resources.IsSuspended(ray) {
		c.environment.violationf("Suspended is True for a generation in which the Ray was not suspended")
		return
	}
	for _, group := range resources.Groups(ray) {
		if d := stored[*appsv1.Deployment](c.environment, deploymentIDs[group.Role]); d == nil || !metav1.IsControlledBy(d, ray) {
			continue
		}
		if !c.observed(deploymentIDs[group.Role], func(o object) bool {
			d, ok := o.(*appsv1.Deployment)
			return ok && isComplete(d, 0)
		}) {
			c.environment.violationf("Suspended is True, but the %s may have Pods", group.Name)
		}
	}
}

// checkHealthy checks that a Ray that turns healthy is so according to what the sync has observed: its
// children are as desired, complete, and no older than the last write of the same process.
func (c *checker) checkHealthy(after *rayv1.Ray) {
	ray := c.rayAt(after.UID, after.Status.ObservedGeneration)
	if ray == nil {
		c.environment.violationf("Health is True for a generation that the Ray never had")
		return
	}
	for _, group := range resources.Groups(ray) {
		if !c.observed(deploymentIDs[group.Role], func(o object) bool {
			d, ok := o.(*appsv1.Deployment)
			return ok && metav1.IsControlledBy(d, ray) && isComplete(d, lastTarget(d, group)) &&
				podtemplate.Contains(&d.Spec.Template, &resources.NewDeployment(ray, group).Spec.Template)
		}) {
			c.environment.violationf("Health is True, but the %s was not complete", group.Name)
		}
	}
	if !c.observed(serviceID, func(o object) bool {
		service, ok := o.(*corev1.Service)
		desired := resources.NewService(ray)
		return ok && metav1.IsControlledBy(service, ray) && slices.EqualFunc(service.Spec.Ports, desired.Spec.Ports, equalPort) && maps.Equal(service.Spec.Selector, desired.Spec.Selector)
	}) {
		c.environment.violationf("Health is True, but the Service was not as desired")
	}
}

// observed returns whether the running sync has observed an object in an accepted state.
func (c *checker) observed(id objectID, accept func(object) bool) bool {
	o := c.environment.operator
	for _, observed := range o.current.observed {
		if idOf(observed) == id && versionOf(observed) >= o.written[id] && accept(observed) {
			return true
		}
	}
	return false
}

// isComplete returns whether a Deployment has rolled out a number of replicas.
func isComplete(d *appsv1.Deployment, replicas int32) bool {
	return *d.Spec.Replicas == replicas && d.Status.ObservedGeneration >= d.Generation &&
		d.Status.Replicas == replicas && d.Status.UpdatedReplicas == replicas && d.Status.AvailableReplicas >= replicas
}

// checkEnqueued checks that an update of a cached Ray does not enqueue it if it is only the last status
// write of the same process. If another sync has started since, that sync waits for the update.
func (c *checker) checkEnqueued(before, after any, enqueued bool) {
	write := c.environment.operator.statusWrite
	old, _ := before.(*rayv1.Ray)
	next, _ := after.(*rayv1.Ray)
	if write == nil || old == nil || next == nil || next.DeletionTimestamp != nil {
		return
	}
	if enqueued && versionOf(old) == versionOf(write.before) && versionOf(next) == versionOf(write.after) {
		c.environment.violationf("the Ray is enqueued because of a status write of the operator, resourceVersion %s", next.ResourceVersion)
	}
}

// internal matches errors that only mean to retry, so that users should not see them.
var internal = regexp.MustCompile(`has been modified|UID differs|precondition|already exists(;|$)|stale cache`)

// checkMessage checks the message of a condition or a warning.
func (c *checker) checkMessage(message string) {
	if internal.MatchString(message) {
		c.environment.violationf("an error that is no problem of the user is reported: %s", message)
	}
}

// successful matches the message of an event about a successful write.
var successful = regexp.MustCompile(`^Successfully (create|adopt|update|delete) the (service|deployment) ([a-z0-9-]+)`)

// scaledGroup matches the message of an event that a group was scaled.
var scaledGroup = regexp.MustCompile(`^Scaled group "([a-z]+)" from [0-9]+ to [0-9]+`)

// checkEvent checks an event of the operator.
func (c *checker) checkEvent(s *syncRecord, eventType, message string) {
	if match := successful.FindStringSubmatch(message); match != nil && s != nil {
		verb, child := match[1], match[2]+"s/"+match[3]
		switch {
		case verb == "adopt":
			s.adopted.Insert(child)
			s.events["update "+child]++
		case verb == "update" && s.adopted.Has(child):
			// The same write. This event says what else it changed.
		default:
			s.events[verb+" "+child]++
		}
	}
	if match := scaledGroup.FindStringSubmatch(message); match != nil && s != nil {
		role := rayv1.RoleWorker
		if match[1] != string(role) {
			role = groupRole(match[1])
		}
		s.events["update deployments/"+deploymentName(role)]++
	}
	if eventType == corev1.EventTypeWarning {
		c.checkMessage(message)
	}
}

// checkSync checks at the end of a sync that each successful write of a child has one event.
func (c *checker) checkSync(s *syncRecord) {
	if !maps.Equal(s.writes, s.events) {
		c.environment.violationf("a sync has written %v, but recorded events for %v", s.writes, s.events)
	}
}
