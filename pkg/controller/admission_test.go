package controller

import (
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// The admissions change whatever is written, the operator's writes included.

// mirrorImages makes images come from a mirror.
func mirrorImages(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		if image := &container(d).Image; !strings.HasPrefix(*image, "mirror/") {
			*image = "mirror/" + *image
		}
	}
}

// capReplicas allows two replicas at most.
func capReplicas(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		d.Spec.Replicas = new(min(*d.Spec.Replicas, 2))
	}
}

// dropArgs drops arguments, and a label of the Pods.
func dropArgs(o object) {
	if d, ok := o.(*appsv1.Deployment); ok {
		container(d).Args = nil
		delete(d.Spec.Template.Labels, "app.kubernetes.io/name")
	}
}

// relabel insists on a label of its own.
func relabel(o object) {
	if _, ok := o.(*rayv1.Ray); !ok {
		o.GetLabels()["app.kubernetes.io/instance"] = "theirs"
	}
}

// retype turns every Service into one of another type.
func retype(o object) {
	if s, ok := o.(*corev1.Service); ok {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
}

func admit(change func(object)) func(*fixture) {
	return func(f *fixture) { f.server.admit = change }
}

// TestAdmissionIsNotFought has admissions that undo what the operator writes. After each
// write that the user or somebody else gave a reason for, the operator comes to rest, and
// stays so after a restart.
func TestAdmissionIsNotFought(t *testing.T) {
	scale := func(f *fixture) {
		f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	}
	const updated = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: "
	runSyncTests(t, []syncTest{
		{
			name:       "rewritten images are left",
			prepare:    admit(mirrorImages),
			wantHealth: healthy,
		},
		{
			name:    "dropped arguments and labels of Pods are left",
			prepare: admit(dropArgs),
		},
		{
			name:         "scaling is not disturbed by rewritten images",
			prepare:      admit(mirrorImages),
			change:       scale,
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{updated + "replicas"},
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
		{
			name:    "a new image is rewritten, and left",
			prepare: admit(mirrorImages),
			change: func(f *fixture) {
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{updated + "template"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "mirror/new" },
		},
		{
			name:       "another change by hand is undone once where images are rewritten",
			prepare:    admit(mirrorImages),
			change:     changeWorker(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) }),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "replicas, template"),
		},
	})
}

// TestCappedReplicas has a limit that the user's scale is over: the status tells.
func TestCappedReplicas(t *testing.T) {
	f := newFixture(t)
	f.server.admit = capReplicas
	f.converge()
	f.rollOut()
	f.converge()
	f.takeWrites()
	f.takeEvents()
	if got, want := f.health(), "False RolloutIncomplete: worker: 2 of 3 available"; got != want {
		t.Errorf("Health is %q, want %q", got, want)
	}
	f.checkSteadyState(nil)
	f.restart()
	f.checkSteadyState(nil)

	f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
	f.deliver()
	f.checkSync(nil, []string{updateWorker, updateStatus}, []string{
		"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas",
	})
	f.checkSteadyState(nil)
}

// TestAdmissionInsists has admissions that undo an update as a whole. Only trying shows that:
// it is tried once, also by later processes, and does not stand in the way of the user.
func TestAdmissionInsists(t *testing.T) {
	for _, test := range []struct {
		name  string
		admit func(object)
	}{
		{"on labels", relabel},
		{"on labels, and on images that it rewrites", func(o object) { relabel(o); mirrorImages(o) }},
		{"on a type of the Service", retype},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.server.admit = test.admit
			f.converge()
			f.rollOut()
			f.converge()
			f.takeEvents()
			f.checkSteadyState(nil)
			f.restart()
			f.takeWrites()
			f.checkSync(nil, nil, nil)
			f.checkSteadyState(nil)

			f.editRay(func(ray *rayv1.Ray) {
				ray.Spec.Head.Template.Spec.Containers[0].Ports[1].ContainerPort = 7777
				ray.Spec.Worker.Template.Spec.Containers[0].Image = "new"
			})
			f.deliver()
			f.checkSync(nil, []string{updateHead, updateWorker, updateService, updateStatus}, []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template",
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: ports",
			})
			if got := container(f.deployment(rayv1.RoleWorker)).Image; strings.TrimPrefix(got, "mirror/") != "new" {
				t.Errorf("the workers' image is %q, want the user's", got)
			}
			if got := f.service().Spec.Ports[1].Port; got != 7777 {
				t.Errorf("the Service's port is %d, want the user's", got)
			}
			f.checkSteadyState(nil)
		})
	}
}

// TestAdmissionThatStamps insists on a label, and leaves another value in a label of its
// own at each write.
func TestAdmissionThatStamps(t *testing.T) {
	f := newFixture(t)
	writes := 0
	f.server.admit = func(o object) {
		relabel(o)
		if d, ok := o.(*appsv1.Deployment); ok {
			writes++
			d.Labels["written"] = strconv.Itoa(writes)
		}
	}
	f.converge()
	f.rollOut()
	f.converge()
	f.takeEvents()
	f.checkSteadyState(nil)
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
	f.clock.step(unwatchedRetryDelay)
	f.queue.asked = nil
	f.deliver()
	if err := f.sync(); err != nil {
		t.Fatal(err)
	}
	if got := f.health(); got != healthy {
		t.Errorf("Health is %q", got)
	}
	if got, want := strings.Join(f.queue.asked, ", "), "default/sample-cluster after 10s"; got != want {
		t.Errorf("it asks to be synced %q, want %q", got, want)
	}
}
