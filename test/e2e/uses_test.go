package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// use is something that the operator is there for, and the rights that it takes. Together
// the uses take all rights that it has.
type use struct {
	what  string
	needs []string
	// do provokes it. It is nil for what happens by itself.
	do func() error
	// done returns nil once it has happened.
	done func() error
	// told returns where is said what is missing, if a right is.
	told func() string
}

// uses returns what an operator does for one Ray of a user, in order. The lease is in a
// namespace of its own.
func uses(u *user, operator *process, leaseNamespace string) []use {
	const ray = "sample-cluster"
	var token string
	log := func() string { return strings.ReplaceAll(readFile(u.T, operator.log), `\"`, `"`) }
	health := func() string { return condition(u.ray(ray), rayv1.RayHealth).Message }
	return []use{
		{
			what:  "it starts",
			needs: []string{"list rays", "watch rays", "list services", "watch services", "list deployments", "watch deployments", "get leases", "create leases"},
			do:    operator.launch,
			done:  operator.ready,
			told:  log,
		},
		{
			what: "it takes the lease", told: log,
			done: func() error { return wantText(log(), "Starting workers") },
		},
		{
			what: "it renews the lease", needs: []string{"update leases"}, told: log,
			done: func() error {
				lease, err := kube.CoordinationV1().Leases(leaseNamespace).Get(u.Context(), "ray-operator", metav1.GetOptions{})
				if err == nil && !lease.Spec.RenewTime.After(lease.Spec.AcquireTime.Time) {
					return errors.New("it has not been renewed")
				}
				return err
			},
		},
		{
			what: "it asks who may read its metrics", needs: []string{"create tokenreviews", "create subjectaccessreviews"},
			do: func() error {
				var err error
				token, err = u.newToken("curious")
				return err
			},
			told: func() string {
				scrape(u.T, operator.metricsURL(u.T, "https", "/metrics"), token)
				return log()
			},
			done: func() error {
				code, page := scrape(u.T, operator.metricsURL(u.T, "https", "/metrics"), token)
				if code != http.StatusForbidden {
					return fmt.Errorf("%d %s", code, page)
				}
				return nil
			},
		},
		{
			what: "the status says how things stand", needs: []string{"update rays/status"}, told: log,
			do: func() error { return u.createRay(ray) },
			done: func() error {
				if u.ray(ray).Status.StartTime == nil {
					return errors.New("there is no status")
				}
				return nil
			},
		},
		{
			what: "the head has a Service", needs: []string{"create services", "update rays/finalizers"}, told: health,
			done: func() error {
				_, err := kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				return err
			},
		},
		{
			what: "head and workers run", needs: []string{"create deployments"}, told: health,
			done: func() error { return wantText(condition(u.ray(ray), rayv1.RayHealth).Reason, "AllReplicasAvailable") },
		},
		{
			what: "an event tells what was done", needs: []string{"create events"}, told: log,
			done: func() error { return u.wantEventCount(ray, "Successfully create the service", 1) },
		},
		{
			what: "a Service that was deleted comes back", needs: []string{"get rays", "get services"}, told: health,
			do: func() error {
				return kube.CoreV1().Services(u.namespace).Delete(u.Context(), ray+"-head", metav1.DeleteOptions{})
			},
			done: func() error {
				_, err := kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				return err
			},
		},
		{
			what: "an event that repeats is counted", needs: []string{"patch events"}, told: log,
			done: func() error { return u.wantEventCount(ray, "Successfully create the service", 2) },
		},
		{
			what: "a Deployment that was deleted comes back", needs: []string{"get deployments"}, told: health,
			do: func() error {
				return kube.AppsV1().Deployments(u.namespace).Delete(u.Context(), ray+"-worker", metav1.DeleteOptions{})
			},
			done: func() error {
				_, err := kube.AppsV1().Deployments(u.namespace).Get(u.Context(), ray+"-worker", metav1.GetOptions{})
				return err
			},
		},
		{
			what: "workers are scaled", needs: []string{"update deployments"}, told: health,
			do:   func() error { return u.patchRay(ray, `[{"op":"replace","path":"/spec/worker/replicas","value":2}]`) },
			done: func() error { return wantCount(2, int(*u.deployment(ray + "-worker").Spec.Replicas)) },
		},
		{
			what: "the Service gets another port", needs: []string{"update services"}, told: health,
			do: func() error {
				return u.patchRay(ray, `[{"op":"replace","path":"/spec/head/template/spec/containers/0/ports","value":[{"containerPort":8265}]}]`)
			},
			done: func() error {
				service, err := kube.CoreV1().Services(u.namespace).Get(u.Context(), ray+"-head", metav1.GetOptions{})
				if err != nil {
					return err
				}
				return wantCount(8265, int(service.Spec.Ports[0].Port))
			},
		},
		{
			what: "workers that are no longer wanted go", needs: []string{"delete deployments"}, told: health,
			do: func() error { return u.patchRay(ray, `[{"op":"remove","path":"/spec/worker"}]`) },
			done: func() error {
				_, err := kube.AppsV1().Deployments(u.namespace).Get(u.Context(), ray+"-worker", metav1.GetOptions{})
				switch {
				case err == nil:
					return errors.New("they are still there")
				case apierrors.IsNotFound(err):
					return nil
				default:
					return err
				}
			},
		},
	}
}

func wantText(text, want string) error {
	if !strings.Contains(text, want) {
		return fmt.Errorf("nothing says %q", want)
	}
	return nil
}

// createRay creates a Ray from the seed's manifest, with one worker.
func (u *user) createRay(name string) error {
	ray := &rayv1.Ray{}
	if err := yaml.Unmarshal([]byte(u.seed("replicas: 3", "replicas: 1")), ray); err != nil {
		return err
	}
	ray.Name = name
	_, err := rays.RayV1().Rays(u.namespace).Create(u.Context(), ray, metav1.CreateOptions{})
	return err
}

func (u *user) patchRay(name, patch string) error {
	_, err := rays.RayV1().Rays(u.namespace).Patch(u.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// wantEventCount returns an error unless an event has happened as often.
func (u *user) wantEventCount(ray, message string, count int32) error {
	events, err := kube.CoreV1().Events(u.namespace).List(u.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Ray,involvedObject.name=" + ray})
	if err != nil {
		return err
	}
	for _, event := range events.Items {
		if strings.Contains(event.Message, message) && event.Count == count {
			return nil
		}
	}
	return fmt.Errorf("no event %q has the count %d", message, count)
}
