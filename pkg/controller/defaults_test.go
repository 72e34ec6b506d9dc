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
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The API server sets defaults, which the controller must not regard as changes. The functions in this
// file set the defaults of apps/v1 and v1 that apply to the children.

func setDefaults(o object) {
	switch o := o.(type) {
	case *corev1.Service:
		setServiceDefaults(&o.Spec)
	case *appsv1.Deployment:
		setDeploymentDefaults(&o.Spec)
	}
}

func setServiceDefaults(spec *corev1.ServiceSpec) {
	setDefault(&spec.ClusterIP, "10.96.0.7")
	spec.ClusterIPs = []string{spec.ClusterIP}
	setDefault(&spec.Type, corev1.ServiceTypeClusterIP)
	setDefault(&spec.SessionAffinity, corev1.ServiceAffinityNone)
	setDefault(&spec.InternalTrafficPolicy, new(corev1.ServiceInternalTrafficPolicyCluster))
	setDefault(&spec.IPFamilyPolicy, new(corev1.IPFamilyPolicySingleStack))
	spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
}

func setDeploymentDefaults(spec *appsv1.DeploymentSpec) {
	setDefault(&spec.RevisionHistoryLimit, new(int32(10)))
	setDefault(&spec.ProgressDeadlineSeconds, new(int32(600)))
	if spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType && spec.Strategy.RollingUpdate == nil {
		quarter := new(intstr.FromString("25%"))
		spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: quarter, MaxUnavailable: quarter}
	}
	pod := &spec.Template.Spec
	setDefault(&pod.RestartPolicy, corev1.RestartPolicyAlways)
	setDefault(&pod.DNSPolicy, corev1.DNSClusterFirst)
	setDefault(&pod.SchedulerName, corev1.DefaultSchedulerName)
	setDefault(&pod.TerminationGracePeriodSeconds, new(int64(corev1.DefaultTerminationGracePeriodSeconds)))
	setDefault(&pod.SecurityContext, &corev1.PodSecurityContext{})
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			setContainerDefaults(&containers[i])
		}
	}
}

func setContainerDefaults(container *corev1.Container) {
	setDefault(&container.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	setDefault(&container.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	setDefault(&container.ImagePullPolicy, corev1.PullIfNotPresent)
	for i := range container.Ports {
		setDefault(&container.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range container.Env {
		if source := container.Env[i].ValueFrom; source != nil && source.FieldRef != nil {
			setDefault(&source.FieldRef.APIVersion, "v1")
		}
	}
	for name, limit := range container.Resources.Limits {
		if _, found := container.Resources.Requests[name]; !found {
			if container.Resources.Requests == nil {
				container.Resources.Requests = corev1.ResourceList{}
			}
			container.Resources.Requests[name] = limit
		}
	}
}

func setDefault[T comparable](to *T, value T) {
	var unset T
	if *to == unset {
		*to = value
	}
}
