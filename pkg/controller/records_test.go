package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// TestRecordsAreKept has changes of the annotations in which the workers' Deployment
// records how it was last written. None may restart a Pod, nor be lost on the operator.
func TestRecordsAreKept(t *testing.T) {
	const (
		updateEvent = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"
		revertEvent = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: revert external changes to its annotations"
	)
	rendered := func(ray *rayv1.Ray) *lastApplied {
		group := groupOf(ray, rayv1.RoleWorker)
		return newLastApplied(ray, group, resources.NewDeployment(ray, group))
	}
	tests := []struct {
		name      string
		change    func(*lastApplied)
		wantEvent string
	}{
		{"a lost generation of the Ray is recorded again", func(r *lastApplied) { r.RayGeneration = 0 }, updateEvent},
		{"an invalid generation of the Ray is corrected", func(r *lastApplied) { r.RayGeneration = -1 }, updateEvent},
		{"a generation that the Ray has yet to reach is corrected", func(r *lastApplied) { r.RayGeneration = 99 }, revertEvent},
		{"a lost generation of the Deployment is recorded again", func(r *lastApplied) { r.Generation = 0 }, revertEvent},
		{"lost inputs are recorded again", func(r *lastApplied) { r.Inputs = "" }, revertEvent},
		{"other inputs are corrected", func(r *lastApplied) { r.Inputs = "x" }, revertEvent},
		{"a lost rendering is recorded again", func(r *lastApplied) { r.Rendering = "" }, revertEvent},
		{"another rendering of the desired template is corrected", func(r *lastApplied) { r.Rendering = "x" }, revertEvent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			before := f.children()
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, test.change) })
			f.deliver()
			f.checkSync(nil, []string{updateWorker}, []string{test.wantEvent})

			worker := f.deployment(rayv1.RoleWorker)
			want := rendered(f.ray())
			want.Generation = worker.Generation
			if diff := cmp.Diff(*want, readLastApplied(worker)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.checkSteadyState(nil)
			f.restart()
			f.checkSteadyState(nil)
		})
	}
	const changed = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"
	lostAndChanged := func(lose func(*lastApplied)) func(f *fixture) {
		return func(f *fixture) {
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, lose) })
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
		}
	}
	runSyncTests(t, []syncTest{
		{
			name:         "a change by the user is not lost where the inputs are",
			change:       lostAndChanged(func(r *lastApplied) { r.Inputs = "" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a change by the user is not lost where the rendering is",
			change:       lostAndChanged(func(r *lastApplied) { r.Rendering = "" }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a change by the user is not lost where the generation is",
			change:       lostAndChanged(func(r *lastApplied) { r.RayGeneration = 0 }),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed + ", annotations"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
		{
			name: "a change by hand is undone also after a change by the user",
			prepare: func(f *fixture) {
				f.makeHealthy()
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			change:     changeWorker(func(d *appsv1.Deployment) { container(d).Image = "other" }),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
		},
		{
			name: "a change by hand is undone also where the rendering is lost",
			change: changeWorker(func(d *appsv1.Deployment) {
				editLastApplied(d, func(r *lastApplied) { r.Rendering = "" })
				container(d).Image = "other"
			}),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
		},
		{
			name: "children that have lost all annotations are recorded again",
			change: func(f *fixture) {
				f.editService(func(s *corev1.Service) { s.Annotations = nil })
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations = nil })
			},
			wantWrites: []string{updateWorker, updateService},
			wantEvents: []string{
				"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations",
				"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: annotations",
			},
		},
		{
			name: "another generation of the Deployment is only a reason to look",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.Generation = 99 }) })
				f.rollOut()
			},
		},
		{
			name:       "the Service's lost generation of the Ray is recorded again",
			change:     changeService(func(s *corev1.Service) { editLastApplied(s, func(r *lastApplied) { r.RayGeneration = 0 }) }),
			wantWrites: []string{updateService},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: annotations"},
		},
		{
			name: "a new scale is set where the record is ahead",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { editLastApplied(d, func(r *lastApplied) { r.RayGeneration = 99 }) })
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   reverted("deployment sample-cluster-worker", "replicas, annotations"),
			wantChildren: func(c *childSet) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
	})
}

// renderedDifferently makes the workers' Deployment what another version of the operator
// had written for the same Ray.
func renderedDifferently(f *fixture) {
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		rerender(d)
		editLastApplied(d, func(r *lastApplied) { r.Rendering, r.Generation = "other", d.Generation+1 })
	})
	f.rollOut()
}

func rerender(d *appsv1.Deployment) {
	container(d).Env[0].Name = "RAY_HEAD"
	metav1.SetMetaDataLabel(&d.Spec.Template.ObjectMeta, "old", "yes")
}

// TestUpgrade has Deployments that another version of the operator has rendered.
func TestUpgrade(t *testing.T) {
	runSyncTests(t, []syncTest{
		{
			name:         "an upgrade of the operator restarts nothing",
			change:       renderedDifferently,
			wantChildren: func(c *childSet) { rerender(c.Worker) },
			wantHealth:   healthy,
		},
		{
			name: "scaling after an upgrade restarts nothing",
			change: func(f *fixture) {
				renderedDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) {
				rerender(c.Worker)
				c.Worker.Spec.Replicas = new(int32(5))
			},
		},
		{
			name: "a change of the head after an upgrade restarts no worker",
			change: func(f *fixture) {
				renderedDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Head.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites: []string{updateHead, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-head: template"},
			wantChildren: func(c *childSet) {
				rerender(c.Worker)
				container(c.Head).Image = "new"
			},
		},
		{
			name: "replicas are put back also after an upgrade, which restarts nothing",
			change: func(f *fixture) {
				renderedDifferently(f)
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(1)) })
			},
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "replicas"),
			wantChildren: func(c *childSet) { rerender(c.Worker) },
		},
		{
			name: "the user's next change of the template brings the new rendering",
			change: func(f *fixture) {
				renderedDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"},
			wantChildren: func(c *childSet) { container(c.Worker).Image = "new" },
		},
	})
}
