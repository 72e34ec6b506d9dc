package controller

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// overQuota is the refusal of a child.
func overQuota() *apierrors.StatusError {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "children"}, "x", errors.New("exceeded quota: q"))
}

const overQuotaMessage = `children "x" is forbidden: exceeded quota: q`

// reject makes the server refuse some writes.
func (f *fixture) reject(err *apierrors.StatusError, writes ...string) {
	f.server.reject = func(write string) *apierrors.StatusError {
		for _, refused := range writes {
			if strings.HasPrefix(write, refused) {
				return err
			}
		}
		return nil
	}
}

// TestRefusedWrites has one child refused at a time. The others and the status must not
// suffer, one event tells of it, and all is well once the child is accepted.
func TestRefusedWrites(t *testing.T) {
	scaleAndUpdate := func(f *fixture) {
		f.makeHealthy()
		f.editRay(func(ray *rayv1.Ray) {
			ray.Spec.Head.Template.Spec.Containers[0].Ports = nil
			ray.Spec.Worker.Replicas = new(int32(5))
		})
	}
	tests := []struct {
		name       string
		before     func(*fixture)
		refused    string
		wantWrites []string
		wantEvent  string
		wantHealth string
	}{
		{
			name:       "a Service that cannot be created stops no Deployment",
			refused:    createService,
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "FailedCreate Service \"sample-cluster-head\" could not be created: " + overQuotaMessage,
		},
		{
			name:       "a head that cannot be created stops no workers",
			refused:    createHead,
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "FailedCreate Deployment \"sample-cluster-head\" could not be created: " + overQuotaMessage,
		},
		{
			name:       "workers that cannot be created stop no head",
			refused:    createWorker,
			wantWrites: []string{createService, createHead, createWorker, updateStatus},
			wantEvent:  "FailedCreate Deployment \"sample-cluster-worker\" could not be created: " + overQuotaMessage,
		},
		{
			name:       "a head that cannot be updated keeps its ports at the Service",
			before:     scaleAndUpdate,
			refused:    updateHead,
			wantWrites: []string{updateHead, updateWorker, updateStatus},
			wantEvent:  "FailedUpdate Deployment \"sample-cluster-head\" could not be updated: " + overQuotaMessage,
		},
		{
			name: "a Service is put right beside a head that cannot be updated",
			before: func(f *fixture) {
				scaleAndUpdate(f)
				f.editService(func(s *corev1.Service) { s.Spec.Selector[rayv1.LabelRole] = "worker" })
			},
			refused:    updateHead,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  "FailedUpdate Deployment \"sample-cluster-head\" could not be updated: " + overQuotaMessage,
		},
		{
			name:       "workers that cannot be updated stop neither head nor Service",
			before:     scaleAndUpdate,
			refused:    updateWorker,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  "FailedUpdate Deployment \"sample-cluster-worker\" could not be updated: " + overQuotaMessage,
		},
		{
			name:       "a Service that cannot be updated stops no Deployment",
			before:     scaleAndUpdate,
			refused:    updateService,
			wantWrites: []string{updateHead, updateWorker, updateService, updateStatus},
			wantEvent:  "FailedUpdate Service \"sample-cluster-head\" could not be updated: " + overQuotaMessage,
		},
		{
			name: "workers that cannot be deleted are told of",
			before: func(f *fixture) {
				f.makeHealthy()
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker = nil })
			},
			refused:    deleteWorker,
			wantWrites: []string{deleteWorker, updateStatus},
			wantEvent:  "FailedDelete Deployment \"sample-cluster-worker\" could not be deleted: " + overQuotaMessage,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.before != nil {
				test.before(f)
			}
			f.deliver()
			f.reject(overQuota(), test.refused)
			f.checkRefused(test.wantWrites, test.wantEvent)
			f.checkSteadyState(apierrors.IsForbidden)
			f.checkRestart(apierrors.IsForbidden)

			f.server.reject = nil
			f.makeHealthy()
		})
	}
}

// checkRefused syncs while one write is refused.
func (f *fixture) checkRefused(wantWrites []string, wantEvent string) {
	f.t.Helper()
	if err := f.sync(); !apierrors.IsForbidden(err) {
		f.t.Errorf("the sync returned %v, want that something is forbidden", err)
	}
	if got, want := strings.Join(f.takeWrites(), "\n"), strings.Join(wantWrites, "\n"); got != want {
		f.t.Errorf("writes:\n%s\nwant:\n%s", got, want)
	}
	var warnings []string
	for _, event := range f.takeEvents() {
		if warning, ok := strings.CutPrefix(event, "Warning "); ok {
			warnings = append(warnings, warning)
		}
	}
	if len(warnings) != 1 || warnings[0] != wantEvent {
		f.t.Errorf("warnings %q, want %q", warnings, wantEvent)
	}
	reason, message, _ := strings.Cut(wantEvent, " ")
	if health := f.health(); !strings.HasPrefix(health, "False "+reason+": ") || !strings.Contains(health, message) {
		f.t.Errorf("Health is %q, want reason %s and message %q", health, reason, message)
	}
}

func TestEveryProblemIsTold(t *testing.T) {
	f := newFixture(t)
	f.reject(overQuota(), "create ")
	f.checkSync(apierrors.IsForbidden, []string{createService, createHead, createWorker, updateStatus}, []string{
		"Warning FailedCreate Service \"sample-cluster-head\" could not be created: " + overQuotaMessage,
		"Warning FailedCreate Deployment \"sample-cluster-head\" could not be created: " + overQuotaMessage,
		"Warning FailedCreate Deployment \"sample-cluster-worker\" could not be created: " + overQuotaMessage,
	})
	f.checkSteadyState(apierrors.IsForbidden)
}

// TestProblemIsToldOncePersisted has a problem whose status cannot be written at first.
func TestProblemIsToldOncePersisted(t *testing.T) {
	f := newFixture(t)
	f.reject(overQuota(), createHead, updateStatus)
	f.checkSync(apierrors.IsForbidden, []string{createService, createHead, createWorker, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
	})
	f.reject(overQuota(), createHead)
	f.deliver()
	f.checkSync(apierrors.IsForbidden, []string{createHead, updateStatus}, []string{
		"Warning FailedCreate Deployment \"sample-cluster-head\" could not be created: " + overQuotaMessage,
	})
	f.checkSteadyState(apierrors.IsForbidden)
}

// TestRefusalThatLooksLikeLag has an answer to a create, which is never based on an old state.
func TestRefusalThatLooksLikeLag(t *testing.T) {
	f := newFixture(t)
	f.reject(apierrors.NewNotFound(schema.GroupResource{Resource: "webhooks"}, "x"), createHead)
	f.checkSync(apierrors.IsNotFound, []string{createService, createHead, createWorker, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
		`Warning FailedCreate Deployment "sample-cluster-head" could not be created: webhooks "x" not found`,
	})
	f.checkSteadyState(apierrors.IsNotFound)
}

// TestConflictWithAQuota has a quota that others use at the same time, so that the API server
// does not know for a moment whether there is room.
func TestConflictWithAQuota(t *testing.T) {
	busy := apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "quota", errors.New("please try again"))
	f := newFixture(t)
	conflicts := 2
	f.server.reject = func(write string) *apierrors.StatusError {
		if !strings.HasPrefix(write, createHead) || conflicts == 0 {
			return nil
		}
		conflicts--
		return busy
	}
	f.checkSync(nil, []string{createService, createHead, createHead, createHead, createWorker, updateStatus}, []string{
		"Normal SuccessfullyCreate Successfully create the service sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head",
		"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker",
	})

	f = newFixture(t)
	f.reject(busy, createHead)
	if err := f.sync(); !apierrors.IsConflict(err) {
		t.Errorf("the sync returned %v, want the conflict that stays", err)
	}
	if got, want := f.health(), "False FailedCreate: "; !strings.HasPrefix(got, want) {
		t.Errorf("Health is %q, want %q", got, want)
	}
}

// TestTerminatingNamespace has a namespace that accepts nothing new: the Ray goes, too.
func TestTerminatingNamespace(t *testing.T) {
	terminating := overQuota()
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}

	f := newFixture(t)
	f.reject(terminating, "create ")
	f.checkSync(nil, []string{createService, createHead, createWorker}, nil)

	f = newHealthyFixture(t)
	f.drop(deploymentResource, deploymentName(rayv1.RoleWorker))
	f.deliver()
	f.reject(terminating, "create ")
	f.checkSync(nil, []string{createWorker}, nil)
	if got := f.health(); got != healthy {
		t.Errorf("Health is %q, want it untouched", got)
	}
}

// TestUnreadableRay has a child whose record only the server could explain, which does
// not answer.
func TestUnreadableRay(t *testing.T) {
	f := newHealthyFixture(t)
	f.editService(func(s *corev1.Service) { editLastApplied(s, func(r *lastApplied) { r.RayGeneration = 99 }) })
	f.deliver()
	f.drop(rayResource, rayName)
	f.checkSync(isStale, nil, nil)
}
