/*
Copyright 2026 The ray-operator Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package autoscaler

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// token is the token of a Ray, and where it is from.
type token struct {
	reference rayv1.SecretKeyReference
	value     string
}

// errSecret is why a poll failed before the GCS was asked. The API server gives a reason, which can differ each time.
var errSecret = errors.New("getting Secret")

// readToken returns the token of a Ray, or "" if it has no token authentication. The operator may read only those
// Secrets that an administrator names in a Role. The token is read once, and again at once if the GCS rejects it.
func (a *Autoscaler) readToken(ctx context.Context, ray *rayv1.Ray, c *cluster) (string, error) {
	if ray.Spec.Authentication == nil {
		return "", nil
	}
	reference := ray.Spec.Authentication.TokenSecretKeyRef
	if c.token.value != "" && c.token.reference == reference {
		return c.token.value, nil
	}
	secret, err := a.kubeClient.CoreV1().Secrets(ray.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return "", inactive(reasonToken, fmt.Sprintf("the operator may not get Secret %q, which has the token of the GCS; create a Role for it as docs/autoscaling.md explains", reference.Name))
	case apierrors.IsNotFound(err):
		return "", inactive(reasonToken, fmt.Sprintf("Secret %q does not exist; create it", reference.Name))
	case err != nil:
		return "", fmt.Errorf("%w %q: %w", errSecret, reference.Name, err)
	}
	return c.setToken(secret, reference)
}

// setToken stores the token that a Secret has.
func (c *cluster) setToken(secret *corev1.Secret, reference rayv1.SecretKeyReference) (string, error) {
	value := string(secret.Data[reference.Key])
	if value == "" {
		return "", inactive(reasonToken, fmt.Sprintf("Secret %q has no key %q; add it", reference.Name, reference.Key))
	}
	c.token = token{reference: reference, value: value}
	return value, nil
}
