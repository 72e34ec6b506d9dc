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
)

// end ends a schedule: nothing goes wrong any more, everybody finishes what they have
// begun, and then all must be as if nothing had ever gone wrong, and stay so.
func (w *world) end() {
	w.faults = nil
	for w.arrive() != "" {
	}
	if w.operator.dead {
		w.stopOperator()
		w.startOperator(nil)
	}
	w.tell("no faults any more; all is delivered")
	w.wait(45*time.Second, w.operator.deliverAll)
	ray := w.ray()
	if ray != nil && ray.DeletionTimestamp == nil && !w.obstructed(ray) {
		w.checkChildren("as soon as all is delivered")
	}

	w.tell("those who are in the way go")
	w.wait(45*time.Second, func() {
		w.operator.deliverAll()
		for w.collectAll() {
		}
		for _, id := range childIDs {
			w.giveNameBack(id)
		}
	})
	w.checkChildren("once nobody is in the way")

	w.tell("the cluster finishes")
	w.wait(45*time.Second, w.finish)
	w.checkState()
	w.checkRest()
}

// wait lets time pass, with somebody acting each second.
func (w *world) wait(d time.Duration, act func()) {
	for range d / time.Second {
		act()
		w.pass(time.Second)
	}
}

// obstructed tells whether the Ray has to wait for somebody else.
func (w *world) obstructed(ray *rayv1.Ray) bool {
	return slices.ContainsFunc(childIDs, func(id objectID) bool {
		o := w.server.objects[id]
		return o != nil && (!metav1.IsControlledBy(o, ray) || o.GetDeletionTimestamp() != nil)
	})
}

// state is what there is in the end, without what differs between runs.
type state struct {
	Status   *rayv1.RayStatus
	Children map[objectID]object
}

func (w *world) state() *state {
	s := &state{Children: map[objectID]object{}}
	ray := w.ray()
	if ray != nil {
		s.Status = &ray.Status
		ray.Status.ObservedGeneration, ray.Status.StartTime, ray.Status.LastReconcileTime = 0, nil, nil
		for i := range ray.Status.Conditions {
			condition := &ray.Status.Conditions[i]
			condition.ObservedGeneration, condition.LastUpdateTime, condition.LastTransitionTime = 0, metav1.Time{}, metav1.Time{}
		}
	}
	for _, id := range childIDs {
		child := stored[object](w, id)
		if child == nil {
			continue
		}
		if ray == nil || !metav1.IsControlledBy(child, ray) {
			w.violate("%s %s is left, and belongs to no Ray", id.resource, id.name)
		}
		dropVariable(child)
		s.Children[id] = child
	}
	return s
}

// dropVariable drops from a child what differs between runs, and what other clients may add.
func dropVariable(child object) {
	child.SetUID("")
	child.SetResourceVersion("")
	child.SetGeneration(0)
	for i := range child.GetOwnerReferences() {
		child.GetOwnerReferences()[i].UID = ""
	}
	annotations := maps.Clone(child.GetAnnotations())
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return isForeign(key) || key == "deployment.kubernetes.io/revision"
	})
	child.SetAnnotations(annotations)
	if _, found := annotations[rayv1.AnnotationLastApplied]; found {
		editLastApplied(child, func(r *lastApplied) { r.RayGeneration, r.Generation = 0, 0 })
	}
	switch child := child.(type) {
	case *appsv1.Deployment:
		child.Status = appsv1.DeploymentStatus{}
		child.Spec.Template.Spec.Containers = slices.DeleteFunc(child.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return isForeign(c.Name) })
	case *corev1.Service:
	}
}

// freshState returns what the spec of the Ray becomes if nothing goes wrong. If that is not
// known yet, it returns what there is, and the schedule has to run once more.
func (w *world) freshState() *state {
	ray := w.ray()
	if ray == nil {
		return &state{}
	}
	if known := w.lane.fresh[toText(ray.Spec)]; known != nil {
		return known
	}
	w.lane.unknown = &ray.Spec
	return w.state()
}

// deployFresh finds out what a spec becomes if nothing goes wrong.
func (l *lane) deployFresh(spec *rayv1.RaySpec) {
	w := newWorld(l, schedule{})
	w.create(&rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName}, Spec: *spec})
	w.wait(45*time.Second, w.finish)
	w.stopOperator()
	l.fresh[toText(spec)] = w.state()
}

func (w *world) checkChildren(when string) {
	if have, want := w.state().Children, w.freshState().Children; !equality.Semantic.DeepEqual(have, want) {
		w.violate("%s, the children are not as in a fresh deployment (-fresh +this):\n%s", when, cmp.Diff(want, have))
	}
}

// checkState checks the children and the status.
func (w *world) checkState() {
	if have, want := w.state(), w.freshState(); !equality.Semantic.DeepEqual(have.Status, want.Status) || !equality.Semantic.DeepEqual(have.Children, want.Children) {
		w.violate("in the end, all is not as in a fresh deployment (-fresh +this):\n%s", cmp.Diff(want, have))
	}
	ray := w.ray()
	if ray == nil {
		return
	}
	if ray.Status.ObservedGeneration != ray.Generation {
		w.violate("generation %d is observed in the end, the Ray has %d", ray.Status.ObservedGeneration, ray.Generation)
	}
	if health := findCondition(ray.Status.Conditions, rayv1.RayHealth); health == nil || health.Status != corev1.ConditionTrue {
		w.violate("the Ray is not healthy in the end: %v", health)
	}
}

// checkRest checks that nothing is asked of the server any more, and that what was written
// is in proportion to what has happened.
func (w *world) checkRest() {
	w.server.writes, w.server.reads = nil, nil
	w.wait(10*time.Second, w.operator.deliverAll)
	w.pass(10 * time.Minute)
	if len(w.server.writes)+len(w.server.reads) > 0 {
		w.violate("at rest, the operator asks for %v and %v", w.server.writes, w.server.reads)
	}
	if limit := 10 + 4*len(w.schedule.steps); w.judge.done > limit {
		w.violate("there were %d writes, and only %d steps", w.judge.done, len(w.schedule.steps))
	}
}
