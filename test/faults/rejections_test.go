package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// What a Ray that is rejected may cost as long as that lasts.
const (
	rejectedStatusWrites = 2
	rejectedEvents       = 5
)

// serviceAccount is what the Pods of the Rays of this family run as.
const serviceAccount = "ray"

// rejection is something that lets no Pods come, by what it does to a namespace.
type rejection struct {
	name string
	// reason and text are what Health has to say, within a time from when the Ray is made.
	reason, text string
	within       time.Duration
	impose, lift func(ctx context.Context, namespace string) error
	// lasts is for how long it is tried.
	lasts time.Duration
}

// pods are rejected by the ReplicaSet controller's attempts to make them. It tries again at
// intervals that double, so a Ray heals about as long after the rejection as that lasted.
var rejections = []rejection{
	{
		name: "quota-on-objects", reason: "FailedCreate", text: "exceeded quota", within: 5 * time.Second, lasts: 2 * time.Minute,
		impose: imposeQuota("count/deployments.apps", "1"), lift: liftQuota,
	},
	{
		name: "admission-policy", reason: "FailedCreate", text: "no deployments here", within: 5 * time.Second, lasts: 2 * time.Minute,
		impose: imposePolicy, lift: liftPolicy,
	},
	{
		name: "quota-on-cpu", reason: "ReplicaFailure", text: "exceeded quota", within: 10 * time.Second, lasts: time.Minute,
		impose: imposeQuota("limits.cpu", "100m"), lift: liftQuota,
	},
	{
		name: "pod-security", reason: "ReplicaFailure", text: "violates PodSecurity", within: 10 * time.Second, lasts: time.Minute,
		impose: labelNamespace("restricted"), lift: labelNamespace("privileged"),
	},
	{
		name: "missing-service-account", reason: "ReplicaFailure", text: "not found", within: 10 * time.Second, lasts: time.Minute,
		impose: deleteServiceAccount, lift: createServiceAccount,
	},
}

// rejectedWorkload creates a Ray whose Pods have limits and a service account of their own.
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

// rejectionCases create a Ray in a namespace that does not let it have its children, or these
// their Pods, for a while.
func rejectionCases() []faultCase {
	var cases []faultCase
	for _, rejection := range rejections {
		cases = append(cases, faultCase{
			name:     "rejection/" + rejection.name,
			workload: &rejectedWorkload,
			patience: *patience + 4*rejection.lasts,
			prepare: func(t *testing.T, s *scene) {
				t.Cleanup(func() {
					if err := liftPolicy(context.Background(), s.namespace); err != nil {
						t.Errorf("cleaning up: %v", err)
					}
				})
				if err := rejection.impose(t.Context(), s.namespace); err != nil {
					t.Fatal(err)
				}
			},
			then: func(ctx context.Context, s *scene, _ goal) error { return rejection.endure(ctx, s) },
			// Each attempt to create one of two children is refused: at once, and then at
			// intervals from 5 ms to 30 s that double.
			allowance: oracle.Allowance{Problems: rejectedStatusWrites, Warnings: 2, Refused: 2 * 24},
		})
	}
	return cases
}

// endure checks what a rejection costs while it lasts, and ends it.
func (r *rejection) endure(ctx context.Context, s *scene) error {
	if err := s.awaitReason(ctx, r.within, r.reason, r.text); err != nil {
		return err
	}
	select {
	case <-time.After(r.lasts):
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
	if statuses > rejectedStatusWrites || events > rejectedEvents {
		return fmt.Errorf("in %v there were %d status writes and %d events, allowed are %d and %d", r.lasts, statuses, events, rejectedStatusWrites, rejectedEvents)
	}
	if err := s.awaitReason(ctx, time.Second, r.reason, r.text); err != nil {
		return err
	}
	return r.lift(ctx, s.namespace)
}

func imposeQuota(of corev1.ResourceName, limit string) func(context.Context, string) error {
	return func(ctx context.Context, namespace string) error {
		quota, err := kube.CoreV1().ResourceQuotas(namespace).Create(ctx, &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "quota"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{of: resource.MustParse(limit)}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		// It counts from when the quota controller has seen it.
		return eventually(ctx, func() error {
			quota, err = kube.CoreV1().ResourceQuotas(namespace).Get(ctx, quota.Name, metav1.GetOptions{})
			if err == nil && len(quota.Status.Hard) == 0 {
				err = fmt.Errorf("the quota of namespace %s is not in force", namespace)
			}
			return err
		})
	}
}

func liftQuota(ctx context.Context, namespace string) error {
	return kube.CoreV1().ResourceQuotas(namespace).Delete(ctx, "quota", metav1.DeleteOptions{})
}

// imposePolicy forbids Deployments in one namespace, whose name the policy has.
func imposePolicy(ctx context.Context, namespace string) error {
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
	// It counts from when the API server has seen it.
	return eventually(ctx, func() error {
		probe := newDeployment("probe", metav1.ObjectMeta{Name: "probe"})
		if _, err := kube.AppsV1().Deployments(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err == nil {
			return fmt.Errorf("the policy for namespace %s is not in force", namespace)
		}
		return nil
	})
}

func liftPolicy(ctx context.Context, namespace string) error {
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
