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
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestToken(t *testing.T) {
	f := newFixture(t)
	f.gcs.RequireToken("secret")
	f.ray.Spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: "s", Key: "k"}}
	check := func(active, message string) {
		t.Helper()
		r := f.poll()
		if condition := r.Conditions[0]; string(condition.Status)+" "+condition.Reason != active || !strings.Contains(condition.Message, message) {
			t.Errorf("ScalingActive is %v, want %s and %q", condition, active, message)
		}
	}
	check("False TokenUnavailable", `Secret "s" does not exist`)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "s"}}
	if err := f.kubeClient.Tracker().Add(secret); err != nil {
		t.Fatal(err)
	}
	check("False TokenUnavailable", `no key "k"`)
	put := func(token string) {
		t.Helper()
		secret.Data = map[string][]byte{"k": []byte(token)}
		if err := f.kubeClient.Tracker().Update(corev1.SchemeGroupVersion.WithResource("secrets"), secret, "team"); err != nil {
			t.Fatal(err)
		}
	}
	put("wrong")
	check("False TokenUnavailable", "rejects the token")
	put("secret")
	check("True DemandKnown", "")
	reads := len(f.kubeClient.Actions())
	f.poll()
	if len(f.kubeClient.Actions()) > reads {
		t.Error("the Secret is read at each poll")
	}
	f.gcs.RequireToken("rotated")
	put("rotated")
	check("True DemandKnown", "")

	f.ray.Spec.Authentication.TokenSecretKeyRef.Name = "other"
	f.reject("get", "secrets")
	check("False TokenUnavailable", `may not get Secret "other"`)
}
