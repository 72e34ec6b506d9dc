package controller

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fielderrors "k8s.io/apimachinery/pkg/util/validation/field"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestWordsThatVary has a child that is refused in other words each time, as with a number of
// the request in them. That is no news, or each write of the status would be one more try.
func TestWordsThatVary(t *testing.T) {
	f := newFixture(t)
	tries := 0
	f.server.refuse = func(write string) *apierrors.StatusError {
		if !strings.HasPrefix(write, createService) {
			return nil
		}
		tries++
		return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "x", fmt.Errorf("request %d is not welcome", tries))
	}
	refused := func(try int) string {
		return fmt.Sprintf(`FailedCreate could not create the service sample-cluster-head: services "x" is forbidden: request %d is not welcome`, try)
	}
	f.checkRefused([]string{createService, createHead, createWorker, updateStatus}, refused(1))
	for range 3 {
		f.deliver()
		f.checkSync(apierrors.IsForbidden, []string{createService}, nil)
		f.clock.step(minStatusInterval)
	}
	if got, want := f.queue.asked[len(f.queue.asked)-1], "default/sample-cluster after 26s"; got != want {
		t.Errorf("it asks to be synced %s, want %s", got, want)
	}
	f.clock.step(maxRetryDelay)
	f.deliver()
	f.checkRefused([]string{createService, updateStatus}, refused(5))

	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.deliver()
	f.checkRefused([]string{createService, updateWorker, updateStatus}, refused(6))
}

// TestWords has an API server that names invalid fields in any order, some twice.
func TestWords(t *testing.T) {
	path := fielderrors.NewPath("spec")
	a, b := fielderrors.Invalid(path.Child("a"), "x", "must be small"), fielderrors.Required(path.Child("b"), "it matters")
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	const both = `Deployment.apps "x" is invalid: spec.a: Invalid value: "x": must be small, spec.b: Required value: it matters`
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"one field", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{a}), `Deployment.apps "x" is invalid: spec.a: Invalid value: "x": must be small`},
		{"two fields", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{a, b}), both},
		{"two fields in another order", apierrors.NewInvalid(kind, "x", fielderrors.ErrorList{b, a, b}), both},
		{"the words of somebody else", &apierrors.StatusError{ErrStatus: metav1.Status{
			Message: "no", Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
			Details: &metav1.StatusDetails{Causes: make([]metav1.StatusCause, 2)},
		}}, "no"},
		{"no status", errors.New("connection reset"), "connection reset"},
	} {
		if got := words(test.err); got != test.want {
			t.Errorf("%s: %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestStatusIsRefusedForAWhile has admission refuse statuses as invalid. Problems are told in
// events meanwhile, and the status is tried again though the Ray stays as it is.
func TestStatusIsRefusedForAWhile(t *testing.T) {
	f := newHealthyFixture(t)
	freeze := apierrors.NewInvalid(rayv1.SchemeGroupVersionKind.GroupKind(), rayName, nil)
	f.refuse(freeze, updateStatus)
	f.workersAvailable(2)
	f.checkSync(nil, []string{updateStatus}, nil)

	f.editService(func(s *corev1.Service) { s.Spec.Selector = nil })
	f.deliver()
	f.server.refuse = func(write string) *apierrors.StatusError {
		switch {
		case strings.HasPrefix(write, updateStatus):
			return freeze
		case strings.HasPrefix(write, updateService):
			return overQuota()
		default:
			return nil
		}
	}
	f.checkSync(apierrors.IsForbidden, []string{updateService}, []string{
		"Warning FailedUpdate could not update the service sample-cluster-head: " + overQuotaMessage,
	})
	f.clock.step(time.Minute)
	f.checkSync(apierrors.IsForbidden, []string{updateService}, nil)
	// The first wake-up may be gone: a queue keeps the earliest one of a Ray alone.
	if want := "default/sample-cluster after 4m0s"; !slices.Contains(f.queue.asked, want) {
		t.Errorf("it is synced again %v, want %q among them", f.queue.asked, want)
	}
	f.clock.step(refusalTime)
	f.checkSync(apierrors.IsForbidden, []string{updateService, updateStatus}, nil)
	f.refuse(nil)
	f.checkSync(nil, []string{updateService}, restored("service sample-cluster-head", "selector"))
	f.clock.step(refusalTime)
	f.deliver()
	f.checkSync(nil, []string{updateStatus}, nil)
	if got, want := f.health(), "False ReplicasMissing: worker: 2 of 3 available"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
}

// TestLongRefusal has a refusal that quotes a long value, which must not go to the log in full.
func TestLongRefusal(t *testing.T) {
	err := failed(reasonFailedCreate, "create", "service", "x", errors.New(strings.Repeat("x", 1<<20)))
	if got := len(err.Error()); got > maxMessage {
		t.Errorf("the error has %d bytes, want %d at most", got, maxMessage)
	}
}

// TestFailedStatusBesideTakenName has a status that cannot be written while a child waits for
// somebody else: it does not wait with it.
func TestFailedStatusBesideTakenName(t *testing.T) {
	f := newFixture(t)
	f.put(&corev1.Service{ObjectMeta: ownedBy(serviceKey, nil)})
	f.deliver()
	f.refuse(overQuota(), updateStatus)
	if err := f.sync(); !apierrors.IsForbidden(err) || waits(err) {
		t.Errorf("the sync returned %v, want the refusal alone", err)
	}
}

// TestUnlabelledChildIsLookedAtAgain has admission take the label by which children are
// watched: nobody tells when they change.
func TestUnlabelledChildIsLookedAtAgain(t *testing.T) {
	f := newFixture(t)
	f.server.admit = func(o object) {
		if _, ok := o.(*appsv1.Deployment); ok {
			delete(o.GetLabels(), rayv1.LabelName)
		}
	}
	for range 3 { // until it has yielded
		f.deliver()
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
	}
	f.rollOut()
	f.clock.step(waitDelay)
	f.queue.asked = nil
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if got := f.health(); got != healthy {
		t.Errorf("Health is %q", got)
	}
	if got, want := strings.Join(f.queue.asked, ", "), "default/sample-cluster after 10s, default/sample-cluster after 10s"; got != want {
		t.Errorf("it asks to be synced %q, want %q", got, want)
	}
}

// TestOthersAreNotKept gives the label by which children are watched to what is no Ray's.
func TestOthersAreNotKept(t *testing.T) {
	owners := map[string]struct {
		reference *metav1.OwnerReference
		wantSpec  bool
	}{
		"nobody":           {nil, false},
		"a Ray":            {metav1.NewControllerRef(&rayv1.Ray{}, rayv1.SchemeGroupVersionKind), true},
		"another's Ray":    {&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Ray", Controller: new(true)}, false},
		"a Ray's relative": {&metav1.OwnerReference{APIVersion: "ray.kubeflow.org/v1", Kind: "Ray"}, false},
	}
	for name, test := range owners {
		var references []metav1.OwnerReference
		if test.reference != nil {
			references = append(references, *test.reference)
		}
		meta := metav1.ObjectMeta{Name: "x", OwnerReferences: references}
		deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Paused: true}, Status: appsv1.DeploymentStatus{Replicas: 1}}
		service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: "x"}}
		for _, o := range []object{deployment, service} {
			if _, err := strip(o); err != nil {
				t.Fatal(err)
			}
		}
		if kept := []bool{deployment.Spec.Paused, deployment.Status.Replicas == 1, service.Spec.Type == "x"}; kept[0] != test.wantSpec || kept[1] != test.wantSpec || kept[2] != test.wantSpec {
			t.Errorf("of what belongs to %s is kept: %v, want %t", name, kept, test.wantSpec)
		}
	}
}

// TestClockThatIsPutBack has progress that would wait for the time that was.
func TestClockThatIsPutBack(t *testing.T) {
	p := newProgress()
	now := time.Unix(100_000, 0)
	p.turn(sampleKey, now, 0)
	p.done(sampleKey)
	if got := p.turn(sampleKey, now.Add(-time.Hour), 0); got > progressInterval {
		t.Errorf("progress waits %s", got)
	}
}
