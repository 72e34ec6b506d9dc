package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// syncTest is one sync of the sample, at rest and healthy before, and of what it does.
type syncTest struct {
	name string
	// prepare sets up the server before the Ray is synced for the first time.
	prepare func(*fixture)
	// change is what others do once the Ray is healthy. The caches show it all.
	change func(*fixture)

	wantWrites []string
	wantEvents []string
	// wantChildren changes the children as they were before change to what they are after
	// the sync. Without it, the sync has put everything back.
	wantChildren func(*childSet)
	wantHealth   string
	// wantErr tells whether the error is as wanted. Without it, there is none.
	wantErr func(error) bool
}

// runSyncTests also checks for each test what holds after every sync: there is nothing
// more to write, neither for the same process nor for the next.
func runSyncTests(t *testing.T, tests []syncTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.prepare != nil {
				test.prepare(f)
			}
			f.makeHealthy()
			want := f.children()
			if test.change != nil {
				test.change(f)
			}
			f.deliver()
			f.checkSync(test.wantErr, test.wantWrites, test.wantEvents)

			if test.wantChildren != nil {
				test.wantChildren(&want)
			}
			if diff := cmp.Diff(want, f.children()); diff != "" {
				t.Errorf("children (-want +got):\n%s", diff)
			}
			if test.wantHealth != "" && f.health() != test.wantHealth {
				t.Errorf("Health is\n%q, want\n%q", f.health(), test.wantHealth)
			}
			f.checkSteadyState(test.wantErr)
			f.checkRestart(test.wantErr)
		})
	}
}

// checkSync syncs once, and compares what that does with what is wanted.
func (f *fixture) checkSync(wantErr func(error) bool, wantWrites, wantEvents []string) {
	f.t.Helper()
	if err := f.sync(); !asExpected(err, wantErr) {
		f.t.Errorf("unexpected result of the sync: %v", err)
	}
	if diff := cmp.Diff(wantWrites, f.takeWrites()); diff != "" {
		f.t.Errorf("writes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantEvents, f.takeEvents()); diff != "" {
		f.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// checkSteadyState syncs once more and fails the test if anything happens that did not have to.
// What was refused may be tried again.
func (f *fixture) checkSteadyState(wantErr func(error) bool) {
	f.t.Helper()
	f.takeWrites()
	f.clock.step(time.Minute)
	f.deliver()
	before := f.server.revision
	if err := f.sync(); !asExpected(err, wantErr) {
		f.t.Errorf("unexpected result of one more sync: %v", err)
	}
	writes := f.takeWrites()
	if f.server.revision != before || wantErr == nil && len(writes) > 0 {
		f.t.Errorf("one more sync writes %q", writes)
	}
	if events := f.takeEvents(); len(events) > 0 {
		f.t.Errorf("one more sync has events %q", events)
	}
}

// checkRestart checks that a restart of the operator changes nothing. A problem that stands, if the sync
// has an error, is reported once more.
func (f *fixture) checkRestart(wantErr func(error) bool) {
	f.t.Helper()
	f.restart()
	if wantErr != nil {
		before := f.server.revision
		if err := f.sync(); !asExpected(err, wantErr) || f.server.revision != before {
			f.t.Errorf("after a restart the sync has the error %v and the writes %q", err, f.takeWrites())
		}
		events := f.takeEvents()
		if len(events) == 0 || slices.ContainsFunc(events, func(event string) bool { return strings.Contains(event, "Successfully") }) {
			f.t.Errorf("after a restart there are the events %q, want only the problem", events)
		}
	}
	f.checkSteadyState(wantErr)
}

func asExpected(err error, want func(error) bool) bool {
	if want == nil {
		return err == nil
	}
	return want(err)
}

const (
	createService = "create services sample-cluster-head"
	updateService = "update services sample-cluster-head"
	createHead    = "create deployments sample-cluster-head"
	updateHead    = "update deployments sample-cluster-head"
	createWorker  = "create deployments sample-cluster-worker"
	updateWorker  = "update deployments sample-cluster-worker"
	deleteWorker  = "delete deployments sample-cluster-worker"
	updateStatus  = "update rays/status sample-cluster"
)

func TestFirstSync(t *testing.T) {
	f := newFixture(t)
	f.checkSync(nil,
		[]string{createService, createHead, createWorker, updateStatus},
		[]string{
			"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
		})
	if got, want := f.health(), "Unknown DeploymentsUnobserved: head: the Deployment has not been observed yet; worker: the Deployment has not been observed yet"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
	f.checkSteadyState(nil)
	f.restart()
	f.checkSteadyState(nil)
}

func TestHeadOnly(t *testing.T) {
	f := newFixture(t)
	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
	f.deliver()
	f.checkSync(nil,
		[]string{createService, createHead, updateStatus},
		[]string{
			"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
			"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
		})
	f.rollOut()
	f.converge()
	if got := f.health(); got != healthy {
		t.Errorf("Health is %q, want %q", got, healthy)
	}
}

func TestSpecChanges(t *testing.T) {
	const (
		workerUnobserved = "False RolloutIncomplete: worker: the Deployment's newest generation has not been observed yet"
		headUnobserved   = "False RolloutIncomplete: head: the Deployment's newest generation has not been observed yet"
	)
	runSyncTests(t, []syncTest{
		{
			name: "without a change nothing is written",
		},
		{
			name:         "scaling the workers changes their replicas and nothing else",
			change:       func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) }) },
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
			wantHealth:   workerUnobserved,
		},
		{
			name: "scaling to nothing leaves the Deployments with no replicas",
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) {
					ray.Spec.Head.Replicas, ray.Spec.Worker.Replicas = new(int32(0)), new(int32(0))
				})
			},
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: replicas",
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas",
			},
			wantChildren: func(c *childSet) { c.Head.Spec.Replicas, c.Worker.Spec.Replicas = new(int32(0)), new(int32(0)) },
		},
		{
			name: "a new image of the workers leaves the head alone",
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Template.Spec.Containers[0].Image = "new" },
			wantHealth:   workerUnobserved,
		},
		{
			name: "a field that the user takes out of a template is taken out of the Deployment",
			prepare: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.NodeSelector = map[string]string{"gpu": "yes"} })
			},
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.NodeSelector = nil })
			},
			wantWrites:   []string{updateHead, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template"},
			wantChildren: func(c *childSet) { c.Head.Spec.Template.Spec.NodeSelector = nil },
			wantHealth:   headUnobserved,
		},
		{
			name: "another port of the head reaches its Pods before the Service",
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) {
					ray.Spec.Head.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 6379}}
				})
			},
			wantWrites: []string{updateHead, updateService, updateStatus},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports",
			},
			wantChildren: func(c *childSet) {
				c.Service.Spec.Ports = []corev1.ServicePort{{Name: "gcs", Port: 6379, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(6379)}}
				c.Head.Spec.Template.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 6379, Protocol: corev1.ProtocolTCP}}
			},
			wantHealth: headUnobserved,
		},
		{
			name:         "workers that the Ray no longer has are deleted",
			change:       func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil }) },
			wantWrites:   []string{deleteWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyDelete Successfully delete the deployment sample-cluster-worker"},
			wantChildren: func(c *childSet) { c.Worker = nil },
			wantHealth:   healthy,
		},
		{
			name:       "a label of the Ray itself is no reason to write",
			change:     func(f *fixture) { f.editRay(func(ray *rayv1.Ray) { ray.Labels = map[string]string{"team": "a"} }) },
			wantHealth: healthy,
		},
		{
			name: "a status that somebody emptied is written again",
			change: func(f *fixture) {
				edit(f, "status", f.ray(), func(ray *rayv1.Ray) { ray.Status = rayv1.RayStatus{} })
			},
			wantWrites: []string{updateStatus},
			wantHealth: healthy,
		},
		{
			name: "a Deployment that loses a Pod makes the Ray unhealthy",
			change: func(f *fixture) {
				f.editDeploymentStatus(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 })
			},
			wantWrites: []string{updateStatus},
			wantHealth: "False RolloutIncomplete: worker: 1 of 3 available",
		},
	})
}

func TestDeletedRays(t *testing.T) {
	t.Run("a Ray that is being deleted gets no writes", func(t *testing.T) {
		f := newProgressingFixture(t)
		f.workersAvailable(2)
		f.checkSync(nil, nil, nil)
		f.editRay(func(ray *rayv1.Ray) { ray.Finalizers = []string{"example.com/wait"} })
		f.drop(rayResource, rayName)
		f.drop(serviceResource, serviceKey)
		f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
		f.deliver()
		f.checkSync(nil, nil, nil)
		if delayed := f.controller.reconciler.status.delayed; delayed > 0 {
			t.Errorf("writes of %d Rays are delayed", delayed)
		}
	})
	t.Run("a Ray that is gone gets no writes, and is forgotten", func(t *testing.T) {
		f := newFixture(t)
		if err := f.sync(); err != nil {
			t.Fatal(err)
		}
		f.takeWrites()
		f.takeEvents()
		f.drop(rayResource, rayName)
		f.deliver(rayResource)
		f.checkSync(nil, nil, nil)
		if r := &f.controller.reconciler; len(r.status.records)+len(r.memory.rays) > 0 {
			t.Errorf("there are still %d records of statuses and %d memories", len(r.status.records), len(r.memory.rays))
		}
	})
}
