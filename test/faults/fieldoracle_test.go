package faults

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/history"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
)

// unreachableLeaf is a leaf that no Deployment keeps.
type unreachableLeaf struct {
	at  *regexp.Regexp
	why string
}

// unreachable are all of them. A leaf that is not here must be taken and kept with some
// value, and one that is here must not. What is behind a
// feature gate that is off, the server drops.
var unreachable = []unreachableLeaf{
	{regexp.MustCompile(`^template/spec/ephemeralContainers/`), "a template has no ephemeral containers"},
	{regexp.MustCompile(`^template/spec/activeDeadlineSeconds$`), "a Deployment has no deadline"},
	{regexp.MustCompile(`/readinessProbe/terminationGracePeriodSeconds$`), "nothing ends by not being ready"},
	{regexp.MustCompile(`^template/spec/resources/claims/`), "claims are for containers"},
	{regexp.MustCompile(`/volumeClaimTemplate/metadata/(finalizers|name|namespace)$`), "a claim has these from its Pod"},
	{regexp.MustCompile(`/(httpGet/protocol|grpc/mode)$`), "a feature gate"},
	{regexp.MustCompile(`/lifecycle/stopSignal$`), "a feature gate"},
	{regexp.MustCompile(`/volumeMounts/bindMountOptions$`), "a feature gate"},
	{regexp.MustCompile(`^template/spec/(evictionResponders|schedulingGroup)/`), "a feature gate"},
	{regexp.MustCompile(`^template/spec/volumes/.+/(items/user|defaultUser)$`), "a feature gate"},
	{regexp.MustCompile(`^template/spec/volumes/projected/sources/(clusterTrustBundle|podCertificate|serviceAccountToken)/user$`), "a feature gate"},
	{regexp.MustCompile(`^template/spec/volumes/emptyDir/mode$`), "a feature gate"},
}

// dryRun asks the API server what it makes of a Deployment of a group, without the operator.
// It returns its replicas and its template, or all that is invalid.
func dryRun(ctx context.Context, group map[string]any) (made map[string]any, refusal []string, err error) {
	const name = "without-operator"
	labels := map[string]any{rayv1.LabelName: name}
	template := object(group, "template")
	object(object(template, "metadata"), "labels")[rayv1.LabelName] = name
	body := mustJSON(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"replicas": group["replicas"], "template": template, "selector": map[string]any{"matchLabels": labels}},
	})
	deployment := &appsv1.Deployment{}
	result := kube.AppsV1().RESTClient().Post().Namespace(metav1.NamespaceDefault).Resource(history.Deployments).
		Param("dryRun", metav1.DryRunAll).Param("fieldValidation", metav1.FieldValidationStrict).
		SetHeader("Content-Type", "application/json").Body(body).Do(ctx)
	err = result.Into(deployment)
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code == http.StatusUnprocessableEntity {
		for _, cause := range status.Status().Details.Causes {
			refusal = append(refusal, cause.Field+": "+cause.Message)
		}
		return nil, refusal, nil
	}
	return replicasAndTemplate(deployment), nil, err
}

// object returns a property that is an object, which it makes if there is none.
func object(parent map[string]any, name string) map[string]any {
	found, ok := parent[name].(map[string]any)
	if !ok {
		found = map[string]any{}
		parent[name] = found
	}
	return found
}

// replicasAndTemplate returns of a Deployment what a group of a Ray says.
func replicasAndTemplate(deployment *appsv1.Deployment) map[string]any {
	all := map[string]any{}
	data := mustJSON(map[string]any{"replicas": deployment.Spec.Replicas, "template": deployment.Spec.Template})
	if err := json.Unmarshal(data, &all); err != nil {
		panic(err) // comes from mustJSON
	}
	return all
}

// templateDiff compares the Deployment of a group with what the server makes of the group
// alone. What the operator adds to it does not count.
func templateDiff(want map[string]any, deployment *appsv1.Deployment) string {
	got := replicasAndTemplate(deployment)
	for _, group := range []map[string]any{want, got} {
		template := object(group, "template")
		dropLabels(object(template, "metadata"))
		for _, kind := range []string{"containers", "initContainers"} {
			containers, _ := object(template, "spec")[kind].([]any) // there may be none
			for _, container := range containers {
				dropEnvironment(container)
			}
		}
	}
	return cmp.Diff(want, got)
}

// dropLabels drops the labels that the operator adds.
func dropLabels(meta map[string]any) {
	labels := object(meta, "labels")
	for name := range labels {
		if strings.HasPrefix(name, "ray.kubeflow.org/") || strings.HasPrefix(name, "app.kubernetes.io/") {
			delete(labels, name)
		}
	}
}

// dropEnvironment drops the variables that the operator adds to a container.
func dropEnvironment(container any) {
	fields, ok := container.(map[string]any)
	if !ok {
		return
	}
	variables, _ := fields["env"].([]any) // there may be none
	variables = slices.DeleteFunc(variables, func(variable any) bool {
		entry, ok := variable.(map[string]any)
		return ok && slices.Contains([]any{"RAY_HEAD_SERVICE", "RAY_NODE_IP", "MY_POD_IP"}, entry["name"])
	})
	fields["env"] = variables
	if len(variables) == 0 {
		delete(fields, "env")
	}
}

// envIndex is the place of a variable in a message. The operator's own come first.
var envIndex = regexp.MustCompile(`env\[\d+\]`)

func withoutIndex(message string) string { return envIndex.ReplaceAllString(message, "env[]") }

// withoutRendering returns a state without the hashes of what was made of the templates.
func withoutRendering(state *history.State) *history.State {
	other := &history.State{Rays: state.Rays, Services: state.Services}
	for i := range state.Deployments {
		deployment := state.Deployments[i].DeepCopy()
		delete(deployment.Annotations, rayv1.AnnotationRendering)
		other.Deployments = append(other.Deployments, *deployment)
	}
	return other
}

// childrenDiff returns in what the children of a Ray have changed.
func childrenDiff(before, after *history.State) string {
	type version struct {
		Name       string
		Generation int64
	}
	children := func(state *history.State) (only history.State, versions []version) {
		for i := range state.Deployments {
			versions = append(versions, version{state.Deployments[i].Name, state.Deployments[i].Generation})
		}
		return history.State{Services: state.Services, Deployments: state.Deployments}, versions
	}
	old, oldVersions := children(before)
	now, nowVersions := children(after)
	return oracle.Diff(&now, &old) + cmp.Diff(oldVersions, nowVersions)
}
