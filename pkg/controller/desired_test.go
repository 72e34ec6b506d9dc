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
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestServiceChangesAreReverted(t *testing.T) {
	tests := []struct {
		name, part string
		change     func(*corev1.Service)
	}{
		{"a changed selector", "selector", func(s *corev1.Service) { s.Spec.Selector[rayv1.LabelRole] = "worker" }},
		{"an addition to the selector", "selector", func(s *corev1.Service) { s.Spec.Selector["version"] = "2" }},
		{"a changed routing to Pods that are not ready", "publishNotReadyAddresses", func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }},
		{"a changed type", "type", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }},
		{"a changed type with fields that are invalid for other types", "type", func(s *corev1.Service) {
			s.Spec.Type, s.Spec.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"10.0.0.0/8"}
			s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey] = "10.0.0.0/8"
		}},
		{"a removed port", "ports", func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[1:] }},
		{"an added port", "ports", func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "ssh", Port: 22, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(22)})
		}},
		{"a changed target port", "ports", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("gcs") }},
		{"a removed label", "labels", func(s *corev1.Service) { delete(s.Labels, "app.kubernetes.io/instance") }},
		{"a changed label", "labels", func(s *corev1.Service) { s.Labels[rayv1.LabelRole] = "worker" }},
	}
	for _, test := range tests {
		runSyncTests(t, []syncTest{{
			name:       test.name,
			change:     changeService(test.change),
			wantWrites: []string{updateService},
			wantEvents: reverted("service sample-cluster-head", test.part),
			wantHealth: healthy,
		}})
	}
}

func TestDeploymentChangesAreReverted(t *testing.T) {
	tests := []struct {
		name, part string
		change     func(*appsv1.Deployment)
	}{
		{"more replicas", "replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) }},
		{"no replicas", "replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) }},
		{"a changed strategy", "strategy", func(d *appsv1.Deployment) {
			d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType}
		}},
		{"changed minReadySeconds", "minReadySeconds", func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 60 }},
		{"a changed image", "template", func(d *appsv1.Deployment) { container(d).Image = "other" }},
		{"an added argument", "template", func(d *appsv1.Deployment) { container(d).Args = append(container(d).Args, "--evil") }},
		{"a removed command", "template", func(d *appsv1.Deployment) { container(d).Command = nil }},
		{"a removed port", "template", func(d *appsv1.Deployment) { container(d).Ports = container(d).Ports[1:] }},
		{"a removed environment", "template", func(d *appsv1.Deployment) { container(d).Env = nil }},
		{"a changed variable", "template", func(d *appsv1.Deployment) { container(d).Env[0].Value = "elsewhere" }},
		{"reordered variables", "template", func(d *appsv1.Deployment) {
			env := container(d).Env
			env[0], env[1] = env[1], env[0]
		}},
		{"a smaller resource request", "template", func(d *appsv1.Deployment) {
			container(d).Resources.Requests[corev1.ResourceCPU] = resource.MustParse("100m")
		}},
		{"a changed label of the Pods that the selector has", "template", func(d *appsv1.Deployment) { d.Spec.Template.Labels[rayv1.LabelName] = "other" }},
		{"a grace period that the user set to 0", "template", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(30))
		}},
		{"an allowed privilege escalation that the user set to false", "template", func(d *appsv1.Deployment) {
			container(d).SecurityContext.AllowPrivilegeEscalation = new(true)
		}},
		{"a changed label and changed replicas, in one write", "labels, replicas", func(d *appsv1.Deployment) {
			d.Labels[rayv1.LabelRole] = "worker"
			d.Spec.Replicas = new(int32(2))
		}},
	}
	for _, test := range tests {
		runSyncTests(t, []syncTest{{
			name:       test.name,
			prepare:    setZeroValues,
			change:     changeHead(test.change),
			wantWrites: []string{updateHead},
			wantEvents: reverted("deployment sample-cluster-head", test.part),
			wantHealth: healthy,
		}})
	}
	runSyncTests(t, []syncTest{{
		name:       "the parameters of a rolling update",
		change:     changeWorker(func(d *appsv1.Deployment) { d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromInt32(7)) }),
		wantWrites: []string{updateWorker},
		wantEvents: reverted("deployment sample-cluster-worker", "strategy"),
		wantHealth: healthy,
	}, {
		name:       "a removed label, which does not change the generation",
		change:     changeHead(func(d *appsv1.Deployment) { delete(d.Labels, "app.kubernetes.io/instance") }),
		wantWrites: []string{updateHead},
		wantEvents: reverted("deployment sample-cluster-head", "labels"),
		wantHealth: healthy,
	}})
}

// setZeroValues sets fields of the head to zero values that must not be regarded as unset.
func setZeroValues(f *fixture) {
	f.editRay(func(ray *rayv1.Ray) {
		pod := &ray.Spec.Head.Template.Spec
		pod.TerminationGracePeriodSeconds = new(int64(0))
		pod.Containers[0].SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}
	})
	f.deliver()
}

// TestAdditionsAreKept has fields that other clients set and the operator does not manage.
func TestAdditionsAreKept(t *testing.T) {
	tests := []struct {
		name   string
		change func(*appsv1.Deployment)
	}{
		{"a sidecar", func(d *appsv1.Deployment) { addSidecar(&d.Spec.Template.Spec) }},
		{"an init container", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "init"}}
		}},
		{"the annotation of kubectl rollout restart", func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
		}},
		{"a label of the Pods", func(d *appsv1.Deployment) { d.Spec.Template.Labels["team"] = "a" }},
		{"a variable after those of the operator", func(d *appsv1.Deployment) { appendVariable(d) }},
		{"a variable before those of the operator", func(d *appsv1.Deployment) {
			container(d).Env = append([]corev1.EnvVar{{Name: "EXTRA", Value: "1"}}, container(d).Env...)
		}},
		{"a security context", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
		}},
		{"a resource limit", func(d *appsv1.Deployment) {
			container(d).Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
		}},
		{"an annotation of the Deployment", func(d *appsv1.Deployment) { d.Annotations["note"] = "x" }},
		{"a label of the Deployment", func(d *appsv1.Deployment) { d.Labels["note"] = "x" }},
		{"a paused rollout", func(d *appsv1.Deployment) { d.Spec.Paused = true }},
	}
	for _, test := range tests {
		runSyncTests(t, []syncTest{{
			name: test.name,
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, test.change)
				f.rollOut()
			},
			wantChildren: func(c *childSet) {
				test.change(c.Worker)
				setDefaults(c.Worker)
			},
			wantHealth: healthy,
		}})
	}
	runSyncTests(t, []syncTest{
		{
			name:         "an annotation of the Service",
			change:       changeService(func(s *corev1.Service) { s.Annotations["note"] = "x" }),
			wantChildren: func(c *childSet) { c.Service.Annotations = map[string]string{"note": "x"} },
		},
		{
			name:         "the session affinity of the Service",
			change:       changeService(func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }),
			wantChildren: func(c *childSet) { c.Service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP },
		},
		{
			name:         "the application protocol of a port of the Service",
			change:       changeService(func(s *corev1.Service) { s.Spec.Ports[0].AppProtocol = new("redis") }),
			wantChildren: func(c *childSet) { c.Service.Spec.Ports[0].AppProtocol = new("redis") },
		},
		{
			name:    "a sidecar and fields of the Pods when another change is reverted",
			prepare: addVolume,
			change: changeWorker(func(d *appsv1.Deployment) {
				addFields(d)
				container(d).Image = "other"
			}),
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "template"),
			wantChildren: func(c *childSet) { addFields(c.Worker); setDefaults(c.Worker) },
		},
		{
			name: "a variable when a change outside its container is reverted",
			change: changeWorker(func(d *appsv1.Deployment) {
				appendVariable(d)
				d.Spec.Template.Labels[rayv1.LabelName] = "other"
			}),
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "template"),
			wantChildren: func(c *childSet) { appendVariable(c.Worker) },
		},
		{
			name: "a sidecar when the workers are scaled",
			change: func(f *fixture) {
				f.editDeployment(rayv1.RoleWorker, func(d *appsv1.Deployment) { addSidecar(&d.Spec.Template.Spec) })
				f.editRay(func(ray *rayv1.Ray) { ray.Spec.Worker.Replicas = new(int32(4)) })
			},
			wantWrites: []string{updateWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyUpdate Successfully update the deployment sample-cluster-worker: replicas"},
			wantChildren: func(c *childSet) {
				addSidecar(&c.Worker.Spec.Template.Spec)
				setDefaults(c.Worker)
				c.Worker.Spec.Replicas = new(int32(4))
			},
		},
	})
}

// addVolume adds a volume and an init container to the workers of the Ray.
func addVolume(f *fixture) {
	f.editRay(func(ray *rayv1.Ray) {
		pod := &ray.Spec.Worker.Template.Spec
		pod.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		pod.InitContainers = []corev1.Container{{Name: "wait", Image: "wait"}}
	})
	f.deliver()
}

// addFields adds to a Pod template all kinds of fields that other clients may add.
func addFields(d *appsv1.Deployment) {
	template := &d.Spec.Template
	addSidecar(&template.Spec)
	template.Spec.InitContainers = append(template.Spec.InitContainers, corev1.Container{Name: "init", Image: "init"})
	template.Spec.PriorityClassName = "high"
	template.Labels["team"] = "a"
	template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
}

// addSidecar adds what a sidecar injector adds.
func addSidecar(pod *corev1.PodSpec) {
	pod.Containers = append(pod.Containers, corev1.Container{
		Name: "sidecar", Image: "sidecar",
		VolumeMounts: []corev1.VolumeMount{{Name: "sidecar", MountPath: "/sidecar"}},
	})
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "sidecar", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
}

// appendVariable appends a variable to the environment of a container.
func appendVariable(d *appsv1.Deployment) {
	container(d).Env = append(container(d).Env, corev1.EnvVar{Name: "EXTRA", Value: "1"})
}
