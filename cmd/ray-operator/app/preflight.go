package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/client/clientset/versioned"
)

// checkTimeout bounds all of checkServer.
const checkTimeout = 15 * time.Second

// checkServer reads one of each thing that the operator reads later. What is missing then
// is said in one line, instead of again and again by an informer that cannot start.
func checkServer(ctx context.Context, host string, kube kubernetes.Interface, ray versioned.Interface, options *Options) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	one := metav1.ListOptions{Limit: 1}

	_, err := ray.RayV1().Rays(options.Namespace).List(ctx, one)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the API server does not know %s: install the CustomResourceDefinition first, with kubectl apply -f manifests/crd", rayv1.Resource("rays"))
	}
	if err == nil {
		_, err = kube.CoreV1().Services(options.Namespace).List(ctx, one)
	}
	if err == nil {
		_, err = kube.AppsV1().Deployments(options.Namespace).List(ctx, one)
	}
	if election := options.LeaderElection; err == nil && election.LeaderElect {
		_, err = kube.CoordinationV1().Leases(election.ResourceNamespace).Get(ctx, election.ResourceName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			err = nil
		}
	}

	_, answered := errors.AsType[*apierrors.StatusError](err)
	switch {
	case err == nil:
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
