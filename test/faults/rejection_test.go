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

package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// The maximum number of writes while the children or Pods of a Ray are rejected.
const (
	rejectedStatusWrites = 2
	rejectedEvents       = 5
)

// serviceAccount is the service account of the Pods in this family.
const serviceAccount = "ray"

// rejection is a policy that rejects the children of a Ray or their Pods.
type rejection struct {
	name string
	// reason and text are the expected reason of Health and a part of its message. They must be
	// reported within a time after the creation of the Ray.
	reason, text string
	within       time.Duration
	// enforce adds the policy to a namespace, remove removes it.
	enforce, remove func(ctx context.Context, namespace string) error
	// duration is how long the policy is enforced.
	duration time.Duration
}

var rejections = []rejection{
	{
		name: "quota-on-objects", reason: "FailedCreate", text: "exceeded quota", within: 5 * time.Second, duration: 2 * time.Minute,
		enforce: enforceQuota("count/deployments.apps", "1"), remove: removeQuota,
	},
	{
		name: "admission-policy", reason: "FailedCreate", text: "no deployments here", within: 5 * time.Second, duration: 2 * time.Minute,
		enforce: enforcePolicy, remove: removePolicy,
	},
	{
		name: "quota-on-cpu", reason: "ReplicaFailure", text: "exceeded quota", within: 10 * time.Second, duration: time.Minute,
		enforce: enforceQuota("limits.cpu", "100m"), remove: removeQuota,
	},
	{
		name: "pod-security", reason: "ReplicaFailure", text: "violates PodSecurity", within: 10 * time.Second, duration: time.Minute,
		enforce: labelNamespace("restricted"), remove: labelNamespace("privileged"),
	},
	{
		name: "missing-service-account", reason: "ReplicaFailure", text: "not found", within: 10 * time.Second, duration: time.Minute,
		enforce: deleteServiceAccount, remove: createServiceAccount,
	},
}

// rejectedWorkload creates a Ray that has Pods with limits and a service account.
var rejectedWorkload = workload{
	name: "create", to: newSpec(limitsAndAccount),
	writes: []string{createService, createHead, createWorker, updateStatus, updateStatus},
}

func limitsAndAccount(spec *rayv1.RaySpec) {
	for _, template := range []*corev1.PodTemplateSpec{&spec.Head.Template, &spec.Worker.Template} {
		template.Spec.ServiceAccountName = serviceAccount
		template.Spec.Containers[0].Resources.Limits = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("200m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
		}
	}
}

// rejectionCases create a Ray in a namespace in which its children or their Pods are rejected for
// some time.
func rejectionCases() []faultCase {
	var cases []faultCase
	for _, rejection := range rejections {
		cases = append(cases, faultCase{
			name:     "rejection/" + rejection.name,
			workload: &rejectedWorkload,
			timeout:  *stepTimeout + 4*rejection.duration,
			prepare: func(t *testing.T, s *setup) {
				t.Cleanup(func() {
					if err := removePolicy(context.Background(), s.namespace); err != nil {
						t.Errorf("cleaning up: %v", err)
					}
				})
				if err := rejection.enforce(t.Context(), s.namespace); err != nil {
					t.Fatal(err)
				}
			},
			then: func(ctx context.Context, s *setup, _ goal) error { return rejection.step(ctx, s) },
			// Each create of two children is rejected: at once, and then at intervals that double
			// from 5 ms to 30 s.
			allowance: oracle.Allowance{ProblemStatuses: rejectedStatusWrites, WarningEvents: 2, Rejected: 2 * 24},
		})
	}
	return cases
}

// step checks the reported reason and the number of writes during the rejection, and ends it.
func (r *rejection) step(ctx context.Context, s *setup) error {
	if err := s.awaitReason(ctx, r.within, r.reason, r.text); err != nil {
		return err
	}
	select {
	case <-time.After(r.duration):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	statuses, events := 0, 0
	for _, write := range s.operator.proxy.Writes() {
		switch write.Resource {
		case history.RayStatus:
			statuses++
		case history.Events:
			events++
		}
	}
	allowed, err := allowedStatusWrites(ctx, s.namespace)
	if err != nil {
		return err
	}
	if statuses > allowed || events > rejectedEvents {
		return fmt.Errorf("%d status writes and %d events in %v, want at most %d and %d", statuses, events, r.duration, allowed, rejectedEvents)
	}
	if err := s.awaitReason(ctx, time.Second, r.reason, r.text); err != nil {
		return err
	}
	if err := r.remove(ctx, s.namespace); err != nil {
		return err
	}
	return wakeReplicaSets(ctx, s.namespace)
}

// allowedStatusWrites returns rejectedStatusWrites, or one more if one status could not have all that the
// Deployments reported: on a slow machine the head starts, or the second Deployment is rejected, later.
func allowedStatusWrites(ctx context.Context, namespace string) (int, error) {
	ray, err := rays.RayV1().Rays(namespace).Get(ctx, rayName, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	deployments, err := kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	for i := range deployments.Items {
		for _, condition := range deployments.Items[i].Status.Conditions {
			reported := condition.Type == appsv1.DeploymentReplicaFailure || condition.Type == appsv1.DeploymentAvailable
			if reported && condition.LastTransitionTime.Sub(ray.Status.StartTime.Time) >= time.Second { // the precision of these times
				return rejectedStatusWrites + 1, nil
			}
		}
	}
	return rejectedStatusWrites, nil
}

// wakeReplicaSets makes the ReplicaSet controller retry to create Pods. By itself it does so at
// intervals that double up to 1000 s, and that grow with each event of the ReplicaSet.
func wakeReplicaSets(ctx context.Context, namespace string) error {
	sets, err := kube.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range sets.Items {
		_, err := kube.AppsV1().ReplicaSets(namespace).Patch(ctx, sets.Items[i].Name, types.MergePatchType,
			[]byte(`{"metadata":{"annotations":{"example.com/wake":"now"}}}`), metav1.PatchOptions{})
		if err != nil {
			return err
		}
	}
	return nil
}

func enforceQuota(of corev1.ResourceName, limit string) func(context.Context, string) error {
	return func(ctx context.Context, namespace string) error {
		quota, err := kube.CoreV1().ResourceQuotas(namespace).Create(ctx, &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "quota"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{of: resource.MustParse(limit)}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		// It is enforced once the quota controller has observed it.
		return eventually(ctx, func() error {
			quota, err = kube.CoreV1().ResourceQuotas(namespace).Get(ctx, quota.Name, metav1.GetOptions{})
			if err == nil && len(quota.Status.Hard) == 0 {
				err = fmt.Errorf("the quota of namespace %q is not enforced", namespace)
			}
			return err
		})
	}
}

func removeQuota(ctx context.Context, namespace string) error {
	return kube.CoreV1().ResourceQuotas(namespace).Delete(ctx, "quota", metav1.DeleteOptions{})
}

// enforcePolicy forbids Deployments in one namespace. The policy has the name of the namespace.
func enforcePolicy(ctx context.Context, namespace string) error {
	policies := kube.AdmissionregistrationV1()
	_, err := policies.ValidatingAdmissionPolicies().Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "no deployments here"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        namespace,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: namespace},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// It is enforced once the API server has observed it.
	return eventually(ctx, func() error {
		probe := newDeployment("probe", metav1.ObjectMeta{Name: "probe"})
		if _, err := kube.AppsV1().Deployments(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
			return fmt.Errorf("the policy of namespace %q is not enforced", namespace)
		}
		return nil
	})
}

func removePolicy(ctx context.Context, namespace string) error {
	named := metav1.ListOptions{FieldSelector: "metadata.name=" + namespace}
	policies := kube.AdmissionregistrationV1()
	if err := policies.ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, named); err != nil {
		return err
	}
	return policies.ValidatingAdmissionPolicies().DeleteCollection(ctx, metav1.DeleteOptions{}, named)
}

func labelNamespace(level string) func(context.Context, string) error {
	return func(ctx context.Context, namespace string) error {
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%q}}}`, level)
		_, err := kube.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
}

func createServiceAccount(ctx context.Context, namespace string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: serviceAccount}}
	_, err := kube.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	return err
}

func deleteServiceAccount(ctx context.Context, namespace string) error {
	return kube.CoreV1().ServiceAccounts(namespace).Delete(ctx, serviceAccount, metav1.DeleteOptions{})
}
