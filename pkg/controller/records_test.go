package controller

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// TestRecordsAreKept has changes of the annotations in which the workers' Deployment
// records how it was last written. None may restart a Pod, nor be lost on the operator.
func TestRecordsAreKept(t *testing.T) {
	const (
		updated = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: annotations"
		undone  = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: undo a change by somebody else of its annotations"
	)
	tests := []struct {
		name      string
		key       string
		value     string
		wantEvent string
	}{
		{"a lost generation of the Ray is recorded again", rayv1.AnnotationRayGeneration, "", updated},
		{"a generation of the Ray that is no number is corrected", rayv1.AnnotationRayGeneration, "x", updated},
		{"a generation of the Ray that does not exist yet is corrected", rayv1.AnnotationRayGeneration, "99", undone},
		{"a lost generation of the Deployment is recorded again", rayv1.AnnotationGeneration, "", undone},
		{"lost inputs are recorded again", rayv1.AnnotationInputs, "", undone},
		{"other inputs are corrected", rayv1.AnnotationInputs, "x", undone},
		{"a lost rendering is recorded again", rayv1.AnnotationRendering, "", undone},
		{"another rendering of what is as wanted is corrected", rayv1.AnnotationRendering, "x", undone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newHealthyFixture(t)
			before := f.children()
			records := f.deployment(rayv1.RoleWorker).Annotations
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
				d.Annotations[test.key] = test.value
				if test.value == "" {
					delete(d.Annotations, test.key)
				}
			})
			f.deliver()
			f.checkSync(nil, []string{updateWorker}, []string{test.wantEvent})

			worker := f.deployment(rayv1.RoleWorker)
			records[rayv1.AnnotationGeneration] = strconv.FormatInt(worker.Generation, 10)
			if diff := cmp.Diff(records, worker.Annotations); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, f.children()); diff != "" {
				t.Errorf("children (-before +after):\n%s", diff)
			}
			f.checkRest(nil)
			f.restart()
			f.checkRest(nil)
		})
	}
	const changed = "Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"
	lostAndChanged := func(key string) func(f *fixture) {
		return func(f *fixture) {
			f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { delete(d.Annotations, key) })
			f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
		}
	}
	runSyncTests(t, []syncTest{
		{
			name:         "a change by the user is not lost where the inputs are",
			change:       lostAndChanged(rayv1.AnnotationInputs),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed},
			wantChildren: func(c *children) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a change by the user is not lost where the rendering is",
			change:       lostAndChanged(rayv1.AnnotationRendering),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed},
			wantChildren: func(c *children) { container(c.Worker).Image = "new" },
		},
		{
			name:         "a change by the user is not lost where the generation is",
			change:       lostAndChanged(rayv1.AnnotationRayGeneration),
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{changed + ", annotations"},
			wantChildren: func(c *children) { container(c.Worker).Image = "new" },
		},
		{
			name: "a change by hand is undone also after a change by the user",
			prepare: func(f *fixture) {
				f.makeHealthy()
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			change:     changeWorker(func(d *appsv1.Deployment) { container(d).Image = "other" }),
			wantWrites: []string{updateWorker},
			wantEvents: restored("deployment sample-cluster-worker", "template"),
		},
		{
			name: "a change by hand is undone also where the rendering is lost",
			change: changeWorker(func(d *appsv1.Deployment) {
				delete(d.Annotations, rayv1.AnnotationRendering)
				container(d).Image = "other"
			}),
			wantWrites: []string{updateWorker},
			wantEvents: restored("deployment sample-cluster-worker", "template"),
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
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations[rayv1.AnnotationGeneration] = "99" })
				f.rollOut()
			},
		},
		{
			name:       "the Service's lost generation of the Ray is recorded again",
			change:     changeService(func(s *corev1.Service) { delete(s.Annotations, rayv1.AnnotationRayGeneration) }),
			wantWrites: []string{updateService},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the service sample-cluster-head: annotations"},
		},
		{
			name: "a new scale is set where the record is ahead",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { d.Annotations[rayv1.AnnotationRayGeneration] = "99" })
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(5)) })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   restored("deployment sample-cluster-worker", "replicas, annotations"),
			wantChildren: func(c *children) { c.Worker.Spec.Replicas = new(int32(5)) },
		},
	})
}

// renderedDifferently makes the workers' Deployment what another version of the operator
// had written for the same Ray.
func renderedDifferently(f *fixture) {
	f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) {
		rerender(d)
		d.Annotations[rayv1.AnnotationRendering] = "other"
		d.Annotations[rayv1.AnnotationGeneration] = strconv.FormatInt(d.Generation+1, 10)
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
			wantChildren: func(c *children) { rerender(c.Worker) },
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
			wantChildren: func(c *children) {
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
			wantChildren: func(c *children) {
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
			wantEvents:   restored("deployment sample-cluster-worker", "replicas"),
			wantChildren: func(c *children) { rerender(c.Worker) },
		},
		{
			name: "the user's next change of the template brings the new rendering",
			change: func(f *fixture) {
				renderedDifferently(f)
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Template.Spec.Containers[0].Image = "new" })
			},
			wantWrites:   []string{updateWorker, updateStatus},
			wantEvents:   []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: template"},
			wantChildren: func(c *children) { container(c.Worker).Image = "new" },
		},
	})
}
