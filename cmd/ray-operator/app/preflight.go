package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// checkTimeout bounds what checkServer does for the lease, and for each namespace.
const checkTimeout = 15 * time.Second

// checkServer tries everything that the operator reads later. What is missing then is said
// in one line, instead of again and again by an informer that cannot start.
func checkServer(ctx context.Context, host string, clients *clients, options *Options) error {
	err := checkLease(ctx, clients.unfenced, options)
	for _, namespace := range options.scopes() {
		if err == nil {
			err = checkReads(ctx, clients.kube, clients.ray, namespace)
		}
	}

	_, answered := errors.AsType[*apierrors.StatusError](err)
	switch {
	case errors.Is(err, errNoDefinition):
		return err
	case err == nil, errors.Is(ctx.Err(), context.Canceled):
		// Whoever was told to stop meanwhile has not failed.
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("a permission is missing (manifests/rbac has all that are needed): %w", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server at %s does not accept the credentials: %w", host, err)
	case !answered:
		return fmt.Errorf("the API server at %s cannot be reached: %w", host, err)
	default:
		return fmt.Errorf("asking the API server at %s: %w", host, err)
	}
}

// errNoDefinition says that the API server does not serve Rays.
var errNoDefinition = fmt.Errorf("the API server does not know %s: install the CustomResourceDefinition first, with kubectl apply -k manifests/crd", rayv1.Resource("rays"))

// checkReads tries what the operator reads in a namespace, or in all of them.
func checkReads(ctx context.Context, kube kubernetes.Interface, ray versioned.Interface, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	rays := ray.RayV1().Rays(namespace)
	services := kube.CoreV1().Services(namespace)
	deployments := kube.AppsV1().Deployments(namespace)
	one := metav1.ListOptions{Limit: 1}

	_, err := rays.List(ctx, one)
	if apierrors.IsNotFound(err) {
		return errNoDefinition
	}
	for _, read := range []func() error{
		func() error { return stop(rays.Watch(ctx, one)) },
		func() error { _, err := services.List(ctx, one); return err },
		func() error { return stop(services.Watch(ctx, one)) },
		func() error { _, err := deployments.List(ctx, one); return err },
		func() error { return stop(deployments.Watch(ctx, one)) },
	} {
		if err == nil {
			err = read()
		}
	}
	return err
}

// stop ends a watch that was begun to see whether it can be.
func stop(events watch.Interface, err error) error {
	if err == nil {
		events.Stop()
	}
	return err
}

// checkLease tries to write the lease by which replicas agree on who acts, without doing it:
// whoever waits for a lease that it can never have says so in the log alone, again and again.
func checkLease(ctx context.Context, kube kubernetes.Interface, options *Options) error {
	election := options.LeaderElection
	if !election.LeaderElect {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	leases := kube.CoordinationV1().Leases(election.ResourceNamespace)
	lease, err := leases.Get(ctx, election.ResourceName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: election.ResourceName}}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	case err == nil:
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return nil // another replica was faster, which is its right
	}
	return err
}
