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

package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/audit"
)

// changedAgain is the message about a client that sets the replicas of the workers.
const changedAgain = `worker: Deployment "sample-cluster-worker" is changed by another client again and again: replicas`

// TestExternalChangesAgainAndAgain has another client set the replicas of the workers all the time. The
// operator reverts them with backoff, reports it, and recovers when the client stops.
func TestExternalChangesAgainAndAgain(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample("replicas: 3", "replicas: 1")
	mark := markAudit(t)
	stop := u.changeReplicas(3)
	u.waitProblem("sample-cluster", "ExternalChanges", changedAgain)
	time.Sleep(observationTime)
	// Three at once, then after 1, 2, 4 and 8 seconds.
	if reverts := u.countUpdates(mark, "sample-cluster-worker"); reverts < 4 || reverts > 10 {
		t.Errorf("in %s, the operator made %d reverts, want 4 to 10", observationTime, reverts)
	}
	u.waitProblem("sample-cluster", "ExternalChanges", changedAgain)
	u.checkOneWarning("sample-cluster", "ExternalChanges")

	stop()
	u.waitHealthy("sample-cluster")
	if got := *u.deployment("sample-cluster-worker").Spec.Replicas; got != 1 {
		t.Errorf("the Ray is healthy, but the workers have %d replicas", got)
	}
	// A later change is reverted at once, and is no problem.
	u.kubectl("scale", "deployment/sample-cluster-worker", "--replicas=3")
	u.eventually("the change is reverted", func() error {
		return wantCount(1, int(*u.deployment("sample-cluster-worker").Spec.Replicas))
	})
	u.waitHealthy("sample-cluster")
}

// TestHorizontalPodAutoscalerOfDeployment has a HorizontalPodAutoscaler scale the workers' Deployment
// instead of the Ray. It acts every 15 seconds.
func TestHorizontalPodAutoscalerOfDeployment(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.applySample("replicas: 3", "replicas: 1")
	_, err := cluster.Kube.AutoscalingV2().HorizontalPodAutoscalers(u.namespace).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "workers"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "sample-cluster-worker"},
			MinReplicas:    new(int32(2)),
			MaxReplicas:    3,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.waitEvent("sample-cluster", "Normal", "SuccessfullyUpdate", "Successfully update the deployment sample-cluster-worker: revert external changes to its replicas")
	u.waitProblem("sample-cluster", "ExternalChanges", changedAgain)
	u.checkOneWarning("sample-cluster", "ExternalChanges")
}

// changeReplicas sets the replicas of the workers' Deployment ten times per second, until the returned
// function is called.
func (u *user) changeReplicas(replicas int) (stop func()) {
	ctx, cancel := context.WithCancel(u.Context())
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_, err := cluster.Kube.AppsV1().Deployments(u.namespace).Patch(ctx, "sample-cluster-worker", types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil {
				u.Errorf("setting the replicas: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// countUpdates returns how often the operator updated a Deployment since mark.
func (u *user) countUpdates(mark audit.Mark, name string) int {
	u.Helper()
	count := 0
	for _, write := range operatorWrites(u.T, mark, u.namespace) {
		if write.Resource() == "deployments" && write.Verb == "update" && write.ObjectRef.Name == name && write.Committed() {
			count++
		}
	}
	return count
}

// TestEndlessConflict has a webhook answer each update of the workers with a conflict, and each deletion.
// After some retries this is reported as any rejection.
func TestEndlessConflict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, patch, reason, want string
	}{
		{
			"update", `[{"op":"replace","path":"/spec/worker/replicas","value":2}]`, "FailedUpdate",
			`^worker: Deployment "sample-cluster-worker" could not be updated: .*the object is locked`,
		},
		{
			"deletion", `[{"op":"remove","path":"/spec/worker"}]`, "FailedDelete",
			`^worker: Deployment "sample-cluster-worker" could not be deleted: .*the object is locked`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.applySample("replicas: 3", "replicas: 1")
			unlock := u.lockDeployments()
			mark := markAudit(t)
			started := time.Now()
			u.kubectl("patch", "ray", "sample-cluster", "--type=json", "-p", test.patch)
			u.waitMatch("sample-cluster", test.reason, test.want)
			if took := time.Since(started); took > 30*time.Second {
				t.Errorf("the conflict was reported after %s, want at most 30s", took)
			}
			u.waitEvent("sample-cluster", "Warning", test.reason, "the object is locked")
			attempts := 0
			for _, write := range operatorWrites(t, mark, u.namespace) {
				if write.Resource() == "deployments" {
					attempts++
				}
			}
			// A conflict that ends soon must not be reported: the next retry succeeds.
			if attempts < 10 || attempts > 20 {
				t.Errorf("the conflict was reported after %d attempts, want about 16", attempts)
			}
			u.checkOneWarning("sample-cluster", test.reason)
			unlock()
			u.waitHealthy("sample-cluster")
		})
	}
}

// lockDeployments has a webhook answer 409 to all updates and deletions of Deployments in the user's
// namespace until the returned function is called.
func (u *user) lockDeployments() (unlock func()) {
	u.Helper()
	var unlocked atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID types.UID `json:"uid"`
			} `json:"request"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		response := map[string]any{
			"uid":     review.Request.UID,
			"allowed": unlocked.Load(),
			"status":  metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Message: "the object is locked"},
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
	}))
	u.Cleanup(server.Close)
	webhook := admissionregistrationv1.ValidatingWebhook{
		Name: "lock.example.com",
		ClientConfig: admissionregistrationv1.WebhookClientConfig{
			URL:      &server.URL,
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update, admissionregistrationv1.Delete},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
		}},
		NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: u.namespace}},
		SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
		AdmissionReviewVersions: []string{"v1"},
	}
	webhooks := cluster.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := webhooks.Create(u.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: u.namespace}, Webhooks: []admissionregistrationv1.ValidatingWebhook{webhook},
	}, metav1.CreateOptions{})
	if err != nil {
		u.Fatal(err)
	}
	// Before the server is closed, or the namespace cannot be deleted.
	u.Cleanup(func() {
		if err := webhooks.Delete(context.Background(), u.namespace, metav1.DeleteOptions{}); err != nil {
			u.Error(err)
		}
	})
	u.eventually("the webhook is called", func() error {
		out := u.try("", "annotate", "deployment", "sample-cluster-"+string(rayv1.RoleHead), "example.com/probe=1", "--overwrite", "--dry-run=server")
		return wantText(strings.TrimSpace(out.Stderr), "the object is locked")
	})
	return func() { unlocked.Store(true) }
}
