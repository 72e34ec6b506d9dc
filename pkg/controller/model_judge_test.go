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

// judge judges each write of the operator's when it is done.
type judge struct {
	world *world
	// specs has every spec of every Ray, by its generation.
	specs map[types.UID]map[int64]rayv1.RaySpec
	// newest has the newest generation for which a child of a Ray was written.
	newest map[childOf]int64
	// written has the Deployments as the operator's last writes left them.
	written map[types.UID]*appsv1.Deployment
	// last is the last write that was done or failed, done counts those that were done.
	last *fakeWrite
	done int
	// late says that the writer is dead.
	late bool
}

type childOf struct {
	ray   types.UID
	child objectID
}

func newJudge(w *world) *judge {
	return &judge{world: w, specs: map[types.UID]map[int64]rayv1.RaySpec{}, newest: map[childOf]int64{}, written: map[types.UID]*appsv1.Deployment{}}
}

// know notes the spec that the Ray has.
func (j *judge) know() {
	ray := j.world.ray()
	if ray == nil {
		return
	}
	if j.specs[ray.UID] == nil {
		j.specs[ray.UID] = map[int64]rayv1.RaySpec{}
	}
	j.specs[ray.UID][ray.Generation] = ray.Spec
}

// known returns the Ray of a UID as it was in a generation, with what its children are made from.
func (j *judge) known(uid types.UID, generation int64) *rayv1.Ray {
	spec, found := j.specs[uid][generation]
	if !found {
		return nil
	}
	return &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: uid, Generation: generation}, Spec: spec}
}

// judgeWrite is told of each write by the server.
func (j *judge) judgeWrite(write fakeWrite) {
	w := j.world
	j.last = &write
	done := write.before != write.after
	outcome := "changes nothing"
	if done {
		j.done++
		outcome = "done"
		if write.after != nil {
			outcome = "done, version " + write.after.GetResourceVersion()
		}
	}
	w.tell("    %s %s/%s %s: %s", write.verb, write.id.resource, write.subresource, write.id.name, outcome)
	if write.verb == "update" && write.resourceVersion == "" {
		w.violate("an update does not say which version it is based on")
	}
	if write.verb == "update" && !j.late && w.operator.written[write.id] > atoi(write.resourceVersion) {
		w.violate("an update is based on what was there before the same process wrote it")
	}
	if write.verb == "delete" && write.uid == "" {
		w.violate("a deletion does not say which object is meant")
	}
	switch {
	case !done && write.verb == "update" && write.before != nil && write.before.GetResourceVersion() == write.resourceVersion:
		w.violate("an update changes nothing")
	case !done:
	case write.id == rayID:
		j.judgeStatus(write.before.(*rayv1.Ray), write.after.(*rayv1.Ray)) //nolint:errcheck,forcetypeassert // they have the Ray's name
	default:
		j.judgeChild(&write)
	}
}

// judgeChild judges a write to a child that was done.
func (j *judge) judgeChild(write *fakeWrite) {
	w := j.world
	written := write.after
	if written == nil {
		written = write.before
	}
	owner := metav1.GetControllerOf(written)
	if owner == nil || j.specs[owner.UID] == nil {
		w.violate("a write to what no Ray controls")
		return
	}
	if before := write.before; before != nil {
		if ref := metav1.GetControllerOf(before); ref == nil || ref.UID != owner.UID {
			w.violate("a write to what another Ray, or none, controls")
		}
		if before.GetDeletionTimestamp() != nil {
			w.violate("a write to what is being deleted")
		}
	}
	if !j.late {
		switch ray := w.operator.syncing.ray; {
		case ray.UID != owner.UID:
			w.violate("a write for Ray %s by a sync of %s", owner.UID, ray.UID)
		case ray.DeletionTimestamp != nil:
			w.violate("a write for a Ray that is being deleted")
		}
	}
	if write.after == nil {
		return
	}
	at, generation := childOf{owner.UID, write.id}, rayGeneration(write.after)
	// Nobody can call a creation back that is on its way. And for a Ray that is new to it,
	// the operator does not ask whether there was a child once.
	unknowing := write.verb == "create" && (j.late || w.operator.controller.reconciler.memory.isNew(w.operator.syncing.ray))
	newest := j.newest[at]
	if ray := j.world.ray(); ray != nil && write.before != nil && isRecordValid(ray, write.before) {
		newest = rayGeneration(write.before) // which others may have changed to an older one
	}
	if !unknowing && generation < newest {
		w.violate("a child is written for generation %d, after %d", generation, newest)
	}
	j.newest[at] = max(j.newest[at], generation)
	if deployment, ok := write.after.(*appsv1.Deployment); ok {
		j.judgeTemplate(owner.UID, write.before, deployment)
		j.written[deployment.UID] = deployment
	}
}

func hasGroup(ray *rayv1.Ray, role rayv1.Role) bool {
	return slices.ContainsFunc(resources.Groups(ray), func(g resources.Group) bool { return g.Role == role })
}

// judgeTemplate wants that Pods restart only if the user changed their template, or if
// somebody else changed the Deployment.
func (j *judge) judgeTemplate(ray types.UID, before object, after *appsv1.Deployment) {
	old, ok := before.(*appsv1.Deployment)
	last := j.written[after.UID]
	if !ok || last == nil || equality.Semantic.DeepEqual(old.Spec.Template, after.Spec.Template) {
		return
	}
	// A status has annotations of its own.
	sameRecords := recordsOf(old) == recordsOf(last)
	if !sameRecords || !equality.Semantic.DeepEqual(old.Spec.Template, last.Spec.Template) {
		return
	}
	was, is := j.known(ray, rayGeneration(last)), j.known(ray, rayGeneration(after))
	role := rayv1.Role(after.Labels[rayv1.LabelRole])
	if was == nil || is == nil || !hasGroup(was, role) || !hasGroup(is, role) {
		j.world.violate("a Deployment is written for a generation that the Ray never had")
	} else if equality.Semantic.DeepEqual(groupOf(was, role).Template, groupOf(is, role).Template) {
		j.world.violate("the Pod template of the %s is replaced, which nobody had changed", role)
	}
}

// recordsOf returns the operator's annotations, as text.
func recordsOf(d *appsv1.Deployment) string {
	records := maps.Clone(d.Annotations)
	maps.DeleteFunc(records, func(key, _ string) bool { return !strings.HasPrefix(key, rayv1.SchemeGroupVersion.Group) })
	return toText(records)
}

// judgeStatus judges a status that was written.
func (j *judge) judgeStatus(before, after *rayv1.Ray) {
	w := j.world
	old, status := &before.Status, &after.Status
	health := findCondition(status.Conditions, rayv1.RayHealth)
	w.tell("        of generation %d: %s %s %s", status.ObservedGeneration, health.Status, health.Reason, health.Message)
	if status.ObservedGeneration < old.ObservedGeneration || status.ObservedGeneration > after.Generation {
		w.violate("observedGeneration is %d of %d, after %d", status.ObservedGeneration, after.Generation, old.ObservedGeneration)
	}
	for _, condition := range status.Conditions {
		was := findCondition(old.Conditions, condition.Type)
		switch {
		case was != nil && was.Status == condition.Status && !was.LastTransitionTime.Equal(&condition.LastTransitionTime):
			w.violate("lastTransitionTime of %s moved, its status did not", condition.Type)
		case (was == nil || was.Status != condition.Status) && !condition.LastTransitionTime.Equal(status.LastReconcileTime):
			w.violate("the status of %s moved, its lastTransitionTime did not", condition.Type)
		}
	}
	withoutTime := old.DeepCopy()
	withoutTime.LastReconcileTime = status.LastReconcileTime
	if equality.Semantic.DeepEqual(withoutTime, status) {
		w.violate("a status differs in lastReconcileTime alone")
	}
	j.judgeMessage(health.Message)
	// One that was healthy in this generation stays so until a Pod changes.
	was := findCondition(old.Conditions, rayv1.RayHealth)
	stays := was != nil && was.Status == corev1.ConditionTrue && old.ObservedGeneration == status.ObservedGeneration
	if health.Status == corev1.ConditionTrue && !stays && !j.late {
		j.judgeHealthy(after)
	}
}

// judgeHealthy wants that a Ray which is called healthy was so, as far as the sync could
// know: its children were as its spec asks, and complete, and no older than what the same
// process had written itself.
func (j *judge) judgeHealthy(after *rayv1.Ray) {
	ray := j.known(after.UID, after.Status.ObservedGeneration)
	if ray == nil {
		j.world.violate("a generation is called healthy that the Ray never had")
		return
	}
	for _, group := range resources.Groups(ray) {
		if !j.shown(deployIDs[group.Role], func(o object) bool {
			d, ok := o.(*appsv1.Deployment)
			return ok && metav1.IsControlledBy(d, ray) && complete(d, group.Replicas) &&
				podtemplate.Contains(&d.Spec.Template, &resources.NewDeployment(ray, group).Spec.Template)
		}) {
			j.world.violate("Health is True, but the %s was not complete", group.Name)
		}
	}
	if !j.shown(serviceID, func(o object) bool {
		service, ok := o.(*corev1.Service)
		want := resources.NewService(ray)
		return ok && metav1.IsControlledBy(service, ray) && slices.EqualFunc(service.Spec.Ports, want.Spec.Ports, equalPort) && maps.Equal(service.Spec.Selector, want.Spec.Selector)
	}) {
		j.world.violate("Health is True, but the Service was not as wanted")
	}
}

// shown tells whether the sync could know of an object that is as it should be.
func (j *judge) shown(id objectID, good func(object) bool) bool {
	o := j.world.operator
	for _, candidate := range o.syncing.shown {
		if idOf(candidate) == id && version(candidate) >= o.written[id] && good(candidate) {
			return true
		}
	}
	return false
}

// complete tells whether a Deployment has rolled out, and so many replicas.
func complete(d *appsv1.Deployment, replicas int32) bool {
	return *d.Spec.Replicas == replicas && d.Status.ObservedGeneration >= d.Generation &&
		d.Status.Replicas == replicas && d.Status.UpdatedReplicas == replicas && d.Status.AvailableReplicas >= replicas
}

// harmless matches what users must not be bothered with.
var harmless = regexp.MustCompile(`has been modified|UID differs|precondition|already exists(;|$)|stale cache`)

func (j *judge) judgeMessage(message string) {
	if harmless.MatchString(message) {
		j.world.violate("users are told what is no problem: %s", message)
	}
}

// success matches the message of the event after a write.
var success = regexp.MustCompile(`^Successfully (create|update|delete) the (service|deployment) ([a-z0-9-]+)`)

func (j *judge) judgeEvent(s *syncing, kind, message string) {
	if match := success.FindStringSubmatch(message); match != nil && s != nil {
		s.successes[match[1]+" "+match[2]+"s "+match[3]]++
	}
	if kind == corev1.EventTypeWarning {
		j.judgeMessage(message)
	}
}

// judgeEvents wants one event for each write that has succeeded.
func (j *judge) judgeEvents(s *syncing) {
	if !maps.Equal(s.writes, s.successes) {
		j.world.violate("a sync has written %v, and told of %v", s.writes, s.successes)
	}
}
