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

package controller

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// templateRollout says how a new template of the user's is applied.
type templateRollout struct {
	// hold is set if it is not applied yet.
	hold bool
	// head is the Deployment of the head, or nil. It is set for workers.
	head *appsv1.Deployment
	// newHead is set in a dry run for workers if the head is about to get a new template, too.
	newHead bool
	// newWorkers returns the names of the groups of workers that need a new template, too. It is set for the head.
	newWorkers func() []string
}

// isRolloutDue returns whether a template that waited is to be applied, or the strategy of a rollout to be restored.
func isRolloutDue(observed *appsv1.Deployment, recorded *lastApplied, rollout templateRollout) bool {
	return recorded.TemplatePending && !rollout.hold || recorded.WithHead && hasRolledOut(observed)
}

// setRollout sets, in the record of this write and in the rendered Deployment, how a new template of the user's is
// rolled out, if replaced is set, or goes on rolling out.
func setRollout(ray *rayv1.Ray, group resources.Group, observed, rendered *appsv1.Deployment, replaced bool, recorded, current *lastApplied, rollout templateRollout) {
	if replaced {
		startRollout(group, observed, recorded, current, rollout)
	} else {
		keepRollout(ray, group, observed, rendered, recorded, current, rollout)
	}
	if current.WithHead {
		rendered.Spec.Strategy = resources.AllAtOnceStrategy()
	}
}

// startRollout sets the record of a Deployment that gets a new template. If the head was replaced in the same change and
// the GCS has no storage, the cluster of the workers is gone: they have nothing to finish, and an old worker that meets a
// new version of Ray disturbs it. So they are replaced all at once, unless the user sets a strategy.
func startRollout(group resources.Group, observed *appsv1.Deployment, recorded, current *lastApplied, rollout templateRollout) {
	switch {
	case rollout.newWorkers != nil:
		current.NewWorkers = rollout.newWorkers()
	case !group.IsHead() && group.GCS == nil && group.Strategy == nil && observed.Status.Replicas > 0:
		current.WithHead = rollout.newHead || isNewWithHead(group, recorded, rollout.head)
	}
}

// isNewWithHead returns whether a group of workers has not got a template since the head got one together with it.
func isNewWithHead(group resources.Group, recorded *lastApplied, deployment *appsv1.Deployment) bool {
	if deployment == nil {
		return false
	}
	head := readLastApplied(deployment)
	return slices.Contains(head.NewWorkers, group.Name) && recorded.TemplateGeneration < head.TemplateGeneration
}

// keepRollout keeps what is recorded of the last new template until it has rolled out, and the labels for Kueue that
// came with it: Kueue copies them into the template, and rejects others while Pods are ready.
func keepRollout(ray *rayv1.Ray, group resources.Group, observed, rendered *appsv1.Deployment, recorded, current *lastApplied, rollout templateRollout) {
	if recorded.Inputs != "" { // Otherwise, the record is lost.
		current.LabelKeys = recorded.LabelKeys
	}
	rendered.Labels = resources.Labels(ray, group.Role)
	for _, key := range current.LabelKeys {
		if value, found := observed.Labels[key]; found {
			rendered.Labels[key] = value
		}
	}
	if recorded.isValid(ray) || rollout.hold {
		current.TemplateGeneration, current.NewWorkers = recorded.TemplateGeneration, recorded.NewWorkers
		current.WithHead = recorded.WithHead && group.Strategy == nil && !hasRolledOut(observed)
		if !rollout.hold && isNewWithHead(group, recorded, rollout.head) {
			current.TemplateGeneration = ray.Generation // the user wants the old template again, or it was never new
		}
	}
}

// hasRolledOut returns whether a Deployment has replaced all Pods by those of its newest generation, and they are
// available, or it makes no progress any more. Then its status does not change for a while, with which an update would
// conflict.
func hasRolledOut(deployment *appsv1.Deployment) bool {
	replicas, status := replicasOf(deployment), &deployment.Status
	isStuck := slices.ContainsFunc(status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse
	})
	return status.ObservedGeneration >= deployment.Generation && status.Replicas == replicas && status.UpdatedReplicas == replicas &&
		(status.AvailableReplicas == replicas || isStuck)
}
