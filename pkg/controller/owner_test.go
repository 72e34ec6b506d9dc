package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func isOnlyBlocked(err error) bool { return errors.Is(err, errBlocked) && !errors.Is(err, errStale) }

func isStale(err error) bool { return errors.Is(err, errStale) }

// ownedBy returns metadata of an object that has the name of a child, and another owner.
func ownedBy(name string, owner *metav1.OwnerReference) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	if owner != nil {
		owner.Controller = new(true)
		meta.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return meta
}

func predecessor() *metav1.OwnerReference {
	return &metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.String(), Kind: "Ray", Name: rayName, UID: "old"}
}

// TestTakenNames has objects that are in the way of a new Ray. None may be touched, the
// other children must not suffer, and all is well once the object is gone.
func TestTakenNames(t *testing.T) {
	service := func(owner *metav1.OwnerReference) object {
		return &corev1.Service{ObjectMeta: ownedBy(serviceKey, owner)}
	}
	head := func(owner *metav1.OwnerReference) object {
		return &appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleHead), owner)}
	}
	worker := func(owner *metav1.OwnerReference) object {
		return &appsv1.Deployment{ObjectMeta: ownedBy(deploymentName(rayv1.RoleWorker), owner)}
	}
	tests := []struct {
		name       string
		inTheWay   object
		wantWrites []string
		wantEvent  string
		wantHealth string
	}{
		{
			name:       "a Service that nobody owns",
			inTheWay:   service(nil),
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "Warning AlreadyExists Service \"sample-cluster-head\" already exists and is not controlled by this Ray; delete it or rename the Ray",
			wantHealth: "False AlreadyExists: Service \"sample-cluster-head\" already exists and is not controlled by this Ray; delete it or rename the Ray; ",
		},
		{
			name:       "a Deployment of another Ray",
			inTheWay:   worker(&metav1.OwnerReference{APIVersion: rayv1.SchemeGroupVersion.String(), Kind: "Ray", Name: "other", UID: "other"}),
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "Warning AlreadyExists Deployment \"sample-cluster-worker\" already exists and is controlled by Ray \"other\"; delete it or rename the Ray",
			wantHealth: "False AlreadyExists: head: the Deployment has not been observed yet; worker: Deployment \"sample-cluster-worker\" already exists and is controlled by Ray \"other\"; delete it or rename the Ray",
		},
		{
			name:       "a Deployment of another kind of object that has the name of the Ray",
			inTheWay:   head(&metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Ray", Name: rayName, UID: "other"}),
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "Warning AlreadyExists Deployment \"sample-cluster-head\" already exists and is controlled by Ray \"sample-cluster\"; delete it or rename the Ray",
			wantHealth: "False AlreadyExists: head: Deployment \"sample-cluster-head\" already exists and is controlled by Ray \"sample-cluster\"; ",
		},
		{
			name:       "the Service of a Ray of the same name that was deleted",
			inTheWay:   service(predecessor()),
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "Normal ChildTerminating Service \"sample-cluster-head\" of an earlier Ray with this name is being deleted",
			wantHealth: "False ChildTerminating: Service \"sample-cluster-head\" of an earlier Ray with this name is being deleted; ",
		},
		{
			name:       "the Deployment of a Ray of the same name that was deleted",
			inTheWay:   head(predecessor()),
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "Normal ChildTerminating Deployment \"sample-cluster-head\" of an earlier Ray with this name is being deleted",
			wantHealth: "False ChildTerminating: head: Deployment \"sample-cluster-head\" of an earlier Ray with this name is being deleted; ",
		},
	}
	for _, test := range tests {
		for visibility, label := range map[string]map[string]string{
			"unseen": nil,
			"cached": {rayv1.LabelName: rayName},
		} {
			t.Run(test.name+" "+visibility, func(t *testing.T) {
				f := newFixture(t)
				inTheWay := clone(test.inTheWay)
				inTheWay.SetLabels(label)
				f.put(inTheWay)
				f.deliver()
				id := idOf(inTheWay)
				before := f.server.objects[id].GetResourceVersion()

				wantWrites := test.wantWrites
				if label != nil {
					// The cache knows that the name is taken, so nobody tries to create it.
					wantWrites = without(wantWrites, "create "+id.resource+" "+id.name)
				}
				f.checkTaken(wantWrites, test.wantEvent, test.wantHealth)
				if after := f.server.objects[id]; after == nil || after.GetResourceVersion() != before {
					t.Errorf("the %s was touched", id.name)
				}
				f.checkSteadyState(isOnlyBlocked)

				// A quota would count every attempt to create it.
				if err := f.sync(); !isOnlyBlocked(err) || len(f.takeWrites()) > 0 {
					t.Error("there was one more attempt to create what is known to be taken")
				}

				f.drop(id.resource, id.name)
				f.makeHealthy()
			})
		}
	}
}

// checkTaken syncs a new Ray, one of whose names is taken.
func (f *fixture) checkTaken(wantWrites []string, wantEvent, wantHealth string) {
	f.t.Helper()
	if err := f.sync(); !isOnlyBlocked(err) {
		f.t.Errorf("the sync returned %v, want that it waits", err)
	}
	if got, want := strings.Join(f.takeWrites(), "\n"), strings.Join(wantWrites, "\n"); got != want {
		f.t.Errorf("writes:\n%s\nwant:\n%s", got, want)
	}
	events := f.takeEvents()
	if len(events) != 3 || events[2] != wantEvent {
		f.t.Errorf("events %q, want two creations and %q", events, wantEvent)
	}
	if got := f.health(); !strings.HasPrefix(got, wantHealth) {
		f.t.Errorf("Health is\n%q, want\n%q", got, wantHealth)
	}
}

func without(list []string, item string) []string {
	var rest []string
	for _, other := range list {
		if other != item {
			rest = append(rest, other)
		}
	}
	return rest
}

// TestRefusalBesideTakenName has a child that is refused, which is tried again soon though
// another one waits for somebody else.
func TestRefusalBesideTakenName(t *testing.T) {
	f := newFixture(t)
	f.put(&corev1.Service{ObjectMeta: ownedBy(serviceKey, nil)})
	f.deliver()
	f.reject(overQuota(), createWorker)
	if err := f.sync(); !apierrors.IsForbidden(err) || isOnlyBlocked(err) {
		t.Errorf("the sync returned %v, want the refusal alone", err)
	}
	if got := f.health(); !strings.Contains(got, "already exists") || !strings.Contains(got, overQuotaMessage) {
		t.Errorf("Health is %q, want both problems", got)
	}
}

func TestLostOwnership(t *testing.T) {
	takeOver := func(uid types.UID) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.OwnerReferences[0].UID = uid }
	}
	runSyncTests(t, []syncTest{
		{
			name: "workers of another UID are not deleted with the group",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, takeOver("other"))
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			wantWrites:   []string{updateStatus},
			wantChildren: func(c *childSet) { takeOver("other")(c.Worker) },
			wantHealth:   healthy,
		},
		{
			name: "a head of another UID is not mended",
			change: changeHead(func(d *appsv1.Deployment) {
				takeOver("other")(d)
				d.Spec.Replicas = new(int32(0))
			}),
			wantErr:    isOnlyBlocked,
			wantWrites: []string{updateStatus},
			wantEvents: []string{"Normal ChildTerminating Deployment \"sample-cluster-head\" of an earlier Ray with this name is being deleted"},
			wantChildren: func(c *childSet) {
				takeOver("other")(c.Head)
				c.Head.Spec.Replicas = new(int32(0))
			},
			wantHealth: "False ChildTerminating: head: Deployment \"sample-cluster-head\" of an earlier Ray with this name is being deleted",
		},
		{
			name: "an orphaned Service is not taken back",
			change: changeService(func(s *corev1.Service) {
				s.OwnerReferences = nil
				s.Spec.Selector = map[string]string{"app": "theirs"}
			}),
			wantErr:    isOnlyBlocked,
			wantWrites: []string{updateStatus},
			wantEvents: []string{"Warning AlreadyExists Service \"sample-cluster-head\" already exists and is not controlled by this Ray; delete it or rename the Ray"},
			wantChildren: func(c *childSet) {
				c.Service.OwnerReferences = nil
				c.Service.Spec.Selector = map[string]string{"app": "theirs"}
			},
			wantHealth: "False AlreadyExists: Service \"sample-cluster-head\" already exists and is not controlled by this Ray; delete it or rename the Ray",
		},
		{
			name: "an owner that is not the controller does not count",
			change: changeHead(func(d *appsv1.Deployment) {
				d.OwnerReferences[0].Controller = nil
				d.Spec.Replicas = new(int32(0))
			}),
			wantErr:    isOnlyBlocked,
			wantWrites: []string{updateStatus},
			wantEvents: []string{"Warning AlreadyExists Deployment \"sample-cluster-head\" already exists and is not controlled by this Ray; delete it or rename the Ray"},
			wantChildren: func(c *childSet) {
				c.Head.OwnerReferences[0].Controller = nil
				c.Head.Spec.Replicas = new(int32(0))
			},
		},
	})
}

func TestTerminatingChildren(t *testing.T) {
	const event = "Normal ChildTerminating Deployment \"sample-cluster-worker\" is being deleted"
	terminate := func(f *fixture) {
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Finalizers = []string{"foregroundDeletion"} })
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
	}
	terminating := func(c *childSet) {
		c.Worker.Finalizers = []string{"foregroundDeletion"}
		c.Worker.DeletionTimestamp = new(serverTime)
	}
	runSyncTests(t, []syncTest{
		{
			name: "workers that are being deleted are not written",
			change: func(f *fixture) {
				terminate(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantErr:      isOnlyBlocked,
			wantWrites:   []string{updateStatus},
			wantEvents:   []string{event},
			wantChildren: terminating,
			wantHealth:   "False ChildTerminating: worker: Deployment \"sample-cluster-worker\" is being deleted",
		},
		{
			name: "workers that are being deleted are not deleted again with the group",
			change: func(f *fixture) {
				terminate(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			wantErr:      isOnlyBlocked,
			wantWrites:   []string{updateStatus},
			wantEvents:   []string{event},
			wantChildren: terminating,
			wantHealth:   "False ChildTerminating: worker: Deployment \"sample-cluster-worker\" is being deleted",
		},
	})
	t.Run("workers are created again once they are gone", func(t *testing.T) {
		f := newHealthyFixture(t)
		terminate(f)
		f.deliver()
		f.checkSync(isOnlyBlocked, []string{updateStatus}, []string{event})
		f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Finalizers = nil })
		f.deliver()
		f.clock.step(time.Minute)
		f.checkSync(nil, []string{createWorker, updateStatus}, []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"})
		f.makeHealthy()
	})
}
