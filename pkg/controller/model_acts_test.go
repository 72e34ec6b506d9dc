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

// act is something that can happen. It returns what has happened, or "".
type act struct {
	weight int
	do     func(w *world, n, m int) string
}

var acts = []act{
	// Users.
	{4, func(w *world, _, m int) string { return w.createRay(m) }},
	{12, func(w *world, n, m int) string { return w.editRay(n, m) }},
	{3, func(w *world, n, _ int) string { return w.deleteRay(n) }},
	{2, func(w *world, _, m int) string {
		w.deleteRay(0)
		return w.createRay(m)
	}},
	// Others who change children.
	{3, func(w *world, n, m int) string { return w.deleteChild(n, m) }},
	{6, func(w *world, n, m int) string { return w.editChild(n, m) }},
	{2, func(w *world, n, m int) string { return w.rollBack(n, m) }},
	{2, func(w *world, n, m int) string { return w.takeName(n, m) }},
	{2, func(w *world, n, _ int) string { return w.giveNameBack(childIDs[n%3]) }},
	// The cluster.
	{10, func(w *world, n, m int) string { return w.rollOut(roles[n%2], m%4, false) }},
	{5, func(w *world, n, _ int) string { return w.rollOut(roles[n%2], 0, true) }},
	{3, func(w *world, n, m int) string { return w.failPods(n, m) }},
	{8, func(w *world, n, _ int) string { return w.collect(n) }},
	// What the operator sees.
	{20, func(w *world, n, m int) string { return w.deliver(modelKinds[n%3], 1+m%4) }},
	{8, func(w *world, n, _ int) string { return w.deliver(modelKinds[n%3], 1<<16) }},
	{8, func(w *world, _, _ int) string {
		w.operator.deliverAll()
		return "all caches are brought up to date"
	}},
	{3, func(w *world, n, _ int) string { return w.relist(modelKinds[n%3]) }},
	// What goes wrong.
	{8, func(w *world, n, m int) string { return w.fail(n, m) }},
	{2, func(w *world, _, _ int) string { return w.kill() }},
	{6, func(w *world, n, m int) string { return w.replace(n, m) }},
	{3, func(w *world, _, _ int) string { return w.arrive() }},
	// A while in which nothing does.
	{4, func(w *world, _, _ int) string { return w.calm() }},
}

func (w *world) createRay(m int) string {
	if w.ray() != nil {
		return ""
	}
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName}, Spec: modelSpec()}
	if m%4 == 0 {
		ray.Spec.Worker = nil
	}
	w.create(ray)
	return "a user creates the Ray, UID " + string(w.ray().UID)
}

func (w *world) deleteRay(n int) string {
	if ray := w.ray(); ray == nil || ray.DeletionTimestamp != nil {
		return ""
	}
	policy := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}[n%3]
	w.remove(rayID, policy)
	return "a user deletes the Ray, " + string(policy)
}

// edits are what users do to the spec of a Ray. The last takes something away.
var edits = []struct {
	name   string
	change func(spec *rayv1.RaySpec, m int)
}{
	{"the number of workers", func(spec *rayv1.RaySpec, m int) {
		if spec.Worker != nil {
			spec.Worker.Replicas = new(int32(m % 4))
		}
	}},
	{"the number of heads", func(spec *rayv1.RaySpec, m int) { spec.Head.Replicas = new(int32(m % 2)) }},
	{"an image", func(spec *rayv1.RaySpec, m int) { modelContainer(spec, m).Image = fmt.Sprintf("ray:%d", 1+m/2%2) }},
	{"an environment", func(spec *rayv1.RaySpec, m int) {
		modelContainer(spec, m).Env[0].Value = []string{"hello", "bye"}[m/2%2]
	}},
	{"the head's ports", func(spec *rayv1.RaySpec, m int) {
		spec.Head.Template.Spec.Containers[0].Ports[1].ContainerPort = int32(8265 + m%2)
	}},
	{"whether there are workers", func(spec *rayv1.RaySpec, _ int) {
		if spec.Worker != nil {
			spec.Worker = nil
		} else {
			spec.Worker = modelSpec().Worker
		}
	}},
	{"where the head runs", func(spec *rayv1.RaySpec, _ int) {
		pod := &spec.Head.Template.Spec
		if pod.NodeSelector != nil {
			pod.NodeSelector = nil
		} else {
			pod.NodeSelector = map[string]string{"gpu": "yes"}
		}
	}},
}

func modelContainer(spec *rayv1.RaySpec, m int) *corev1.Container {
	if m%2 == 1 && spec.Worker != nil {
		return &spec.Worker.Template.Spec.Containers[0]
	}
	return &spec.Head.Template.Spec.Containers[0]
}

func (w *world) editRay(n, m int) string {
	if w.ray() == nil {
		return ""
	}
	kinds := len(edits)
	if w.schedule.tampers {
		kinds--
	}
	if n%10 == 9 {
		change(w, rayID, "", func(ray *rayv1.Ray) { ray.Labels = map[string]string{"note": strconv.Itoa(m)} })
		return "a user labels the Ray"
	}
	edit := edits[n/10%kinds]
	change(w, rayID, "", func(ray *rayv1.Ray) { edit.change(&ray.Spec, m) })
	return fmt.Sprintf("a user changes %s: generation %d", edit.name, w.ray().Generation)
}

func (w *world) deleteChild(n, m int) string {
	id, policy := childIDs[n%3], metav1.DeletePropagationBackground
	if m%3 == 0 {
		policy = metav1.DeletePropagationForeground
	}
	if o := w.server.objects[id]; o == nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	w.remove(id, policy)
	return fmt.Sprintf("somebody deletes %s %s, %s", id.resource, id.name, policy)
}

// deliver delivers some events of a resource.
func (w *world) deliver(resource string, count int) string {
	delivered := 0
	for delivered < count && !w.operator.dead && w.operator.deliver(resource) {
		delivered++
	}
	if delivered == 0 {
		return ""
	}
	return fmt.Sprintf("%d events of %s are delivered", delivered, resource)
}

func (w *world) relist(resource string) string {
	if w.operator.dead {
		return ""
	}
	w.operator.list(resource, len(w.server.history))
	return resource + " are listed anew"
}

// fail lets something go wrong with one of the next requests.
func (w *world) fail(n, m int) string {
	for range m % 6 {
		w.faults = append(w.faults, nil)
	}
	w.faults = append(w.faults, &faults[n%len(faults)])
	return ""
}

func (w *world) kill() string {
	if w.operator.dead {
		return ""
	}
	w.stopOperator()
	return "the operator is killed"
}

// replace starts a new process in the place of a dead one, or kills one that lives at
// times. The caches of the new one may show an older state at first.
func (w *world) replace(n, m int) string {
	if !w.operator.dead && n%4 > 0 {
		return ""
	}
	w.stopOperator()
	shown := map[string]int{}
	for i, resource := range modelKinds {
		if behind := m >> (4 * i) % 16; m%2 == 0 {
			shown[resource] = max(0, len(w.server.history)-behind)
		}
	}
	w.startOperator(shown)
	return fmt.Sprintf("another process of the operator starts, whose caches show %v of %d events", shown, len(w.server.history))
}

// calm has everybody finish what they have begun.
func (w *world) calm() string {
	for range 4 {
		w.finish()
		w.pass(3 * time.Second)
	}
	return "all has been calm for a while"
}

func (w *world) finish() {
	if !w.operator.dead {
		w.operator.deliverAll()
	}
	for w.collectAll() {
	}
	for _, role := range roles {
		if what := w.rollOut(role, 0, true); what != "" {
			w.tell("%s", what)
		}
	}
}

// collectAll has the garbage collector do one thing that changes something.
func (w *world) collectAll() bool {
	before := w.server.revision
	if what := w.collect(0); what != "" {
		w.tell("%s", what)
	}
	return w.server.revision != before
}

// takeName creates an object of somebody else's under the name of a child.
func (w *world) takeName(n, m int) string {
	id := childIDs[n%3]
	if w.server.objects[id] != nil {
		return ""
	}
	theirs := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rayName, UID: "theirs"}, Spec: modelSpec()}
	var o object = resources.NewService(theirs)
	if id.resource == deploymentResource {
		o = resources.NewDeployment(theirs, groupOf(theirs, roles[n%3-1]))
	}
	o.SetOwnerReferences(nil)
	o.SetAnnotations(nil)
	if m%2 == 0 {
		o.SetLabels(nil)
	}
	w.create(o)
	return fmt.Sprintf("somebody creates %s %s of their own", id.resource, id.name)
}

// giveNameBack deletes an object that is nobody's.
func (w *world) giveNameBack(id objectID) string {
	if o := w.server.objects[id]; o == nil || metav1.GetControllerOf(o) != nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	w.remove(id, metav1.DeletePropagationBackground)
	return fmt.Sprintf("somebody deletes their %s %s", id.resource, id.name)
}

// rollBack puts a child back to an earlier version of it, with all that was recorded there.
func (w *world) rollBack(n, m int) string {
	id := childIDs[n%3]
	current := w.server.objects[id]
	if current == nil {
		return ""
	}
	var versions []object
	for _, event := range w.server.history {
		if event.object.GetUID() == current.GetUID() {
			versions = append(versions, event.object)
		}
	}
	earlier := clone(versions[m%len(versions)])
	change(w, id, "", func(o object) {
		o.SetLabels(earlier.GetLabels())
		o.SetAnnotations(earlier.GetAnnotations())
		field(o, "Spec").Set(field(earlier, "Spec"))
	})
	return fmt.Sprintf("somebody rolls %s %s back to version %s", id.resource, id.name, earlier.GetResourceVersion())
}

func (w *world) editChild(n, m int) string {
	id := childIDs[n%3]
	if o := w.server.objects[id]; o == nil || o.GetDeletionTimestamp() != nil {
		return ""
	}
	kinds := len(childEdits)
	if !w.schedule.tampers {
		kinds -= tamperings
	}
	edit := childEdits[m%kinds]
	before := w.server.revision
	change(w, id, "", func(o object) {
		switch o := o.(type) {
		case *appsv1.Deployment:
			edit.change(o, &o.Spec, nil, m/kinds)
		case *corev1.Service:
			edit.change(o, nil, &o.Spec, m/kinds)
		}
	})
	if w.server.revision == before {
		return ""
	}
	return fmt.Sprintf("somebody changes %s of %s %s", edit.name, id.resource, id.name)
}

// tamperings is how many of childEdits are about the operator's records.
const tamperings = 4

// childEdits are what others do to a child. One of the two specs is nil.
var childEdits = []struct {
	name   string
	change func(o object, deployment *appsv1.DeploymentSpec, service *corev1.ServiceSpec, m int)
}{
	{"the replicas or the selector", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, m int) {
		if d != nil {
			d.Replicas = new(int32(m % 5))
		} else {
			s.Selector = map[string]string{"app": "theirs"}
		}
	}},
	{"the image or the ports", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Template.Spec.Containers[0].Image = "theirs"
		} else {
			s.Ports = s.Ports[:1]
		}
	}},
	{"the strategy or the type", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		} else {
			s.Type = corev1.ServiceTypeNodePort
		}
	}},
	{"the containers", func(_ object, d *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Template.Spec.Containers = withForeignContainer(d.Template.Spec.Containers)
		}
	}},
	{"the labels", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetLabels(nil) }},
	{"a label", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) {
		o.SetLabels(labels.Merge(o.GetLabels(), map[string]string{rayv1.LabelRole: "theirs"}))
	}},
	{"an annotation", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		annotate(o, foreignName, strconv.Itoa(m))
	}},
	{"the owner", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetOwnerReferences(nil) }},
	{"a record that is not valid", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		annotate(o, rayv1.AnnotationLastApplied, []string{"", "{", "7", `{"rayGeneration":"x"}`}[m%4])
	}},
	{"all records", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetAnnotations(nil) }},
	{"the record of the Ray's generation", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		editLastApplied(o, func(r *lastApplied) { r.RayGeneration = []int64{0, -1, 1000, 1}[m%4] })
	}},
	{"the record of the generation", func(o object, d *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		if d != nil {
			editLastApplied(o, func(r *lastApplied) { r.Generation = []int64{0, 1, 1000}[m%3] })
		}
	}},
	{"a record of the template", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		editLastApplied(o, func(r *lastApplied) {
			if m%2 == 0 {
				r.Inputs = ""
			} else {
				r.Rendering = ""
			}
		})
	}},
}

func annotate(o object, key, value string) {
	o.SetAnnotations(labels.Merge(o.GetAnnotations(), map[string]string{key: value}))
}

// isForeign tells whether a key is of somebody else's, who may keep it.
func isForeign(key string) bool { return strings.HasPrefix(key, foreignName) }
