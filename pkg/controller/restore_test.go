package controller

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// changeHead, changeWorker and changeService are changes of a child by somebody else.

func changeHead(change func(*appsv1.Deployment)) func(*fixture) {
	return func(f *fixture) { f.editDeployment(rayv1.RoleHead, change) }
}

func changeWorker(change func(*appsv1.Deployment)) func(*fixture) {
	return func(f *fixture) { f.editDeployment(rayv1.RoleWorker, change) }
}

func changeService(change func(*corev1.Service)) func(*fixture) {
	return func(f *fixture) { f.editService(change) }
}

// reverted returns the events after parts of children were put back.
func reverted(childrenAndParts ...string) []string {
	var events []string
	for i := 0; i < len(childrenAndParts); i += 2 {
		events = append(events, "Normal SuccessfullyUpdate Successfully update the "+childrenAndParts[i]+": revert external changes to its "+childrenAndParts[i+1])
	}
	return events
}

func TestDeletedChildrenComeBack(t *testing.T) {
	runSyncTests(t, []syncTest{
		{
			name:       "a deleted Service is created again",
			change:     func(f *fixture) { f.drop(serviceResource, serviceKey) },
			wantWrites: []string{createService},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the service sample-cluster-head"},
			wantHealth: healthy,
		},
		{
			name:       "a deleted head is created again",
			change:     func(f *fixture) { f.drop(deploymentResource, deploymentName(rayv1.RoleHead)) },
			wantWrites: []string{createHead, updateStatus},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-head"},
		},
		{
			name:       "deleted workers are created again",
			change:     func(f *fixture) { f.drop(deploymentResource, deploymentName(rayv1.RoleWorker)) },
			wantWrites: []string{createWorker, updateStatus},
			wantEvents: []string{"Normal SuccessfullyCreate Successfully create the deployment sample-cluster-worker"},
		},
	})
}

func TestServiceIsPutBack(t *testing.T) {
	tests := []struct {
		name, part string
		change     func(*corev1.Service)
	}{
		{"a changed selector is put back", "selector", func(s *corev1.Service) { s.Spec.Selector[rayv1.LabelRole] = "worker" }},
		{"a selector that was added to is put back", "selector", func(s *corev1.Service) { s.Spec.Selector["version"] = "2" }},
		{"another type is put back", "type", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }},
		{"another type is put back without what is invalid beside its own", "type", func(s *corev1.Service) {
			s.Spec.Type, s.Spec.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"10.0.0.0/8"}
			s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey] = "10.0.0.0/8"
		}},
		{"a port that was taken out is put back", "ports", func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[1:] }},
		{"a port that was added is taken out", "ports", func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "ssh", Port: 22, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(22)})
		}},
		{"another target port is put back", "ports", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("gcs") }},
		{"a label that was taken out is put back", "labels", func(s *corev1.Service) { delete(s.Labels, "app.kubernetes.io/instance") }},
		{"a changed role is put back", "labels", func(s *corev1.Service) { s.Labels[rayv1.LabelRole] = "worker" }},
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

func TestDeploymentIsPutBack(t *testing.T) {
	tests := []struct {
		name, part string
		change     func(*appsv1.Deployment)
	}{
		{"more replicas are put back", "replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) }},
		{"no replicas are put back", "replicas", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) }},
		{"another strategy is put back", "strategy", func(d *appsv1.Deployment) {
			d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType}
		}},
		{"another image is put back", "template", func(d *appsv1.Deployment) { container(d).Image = "other" }},
		{"an argument that was added is taken out", "template", func(d *appsv1.Deployment) { container(d).Args = append(container(d).Args, "--evil") }},
		{"a command that was taken out is put back", "template", func(d *appsv1.Deployment) { container(d).Command = nil }},
		{"a port that was taken out is put back", "template", func(d *appsv1.Deployment) { container(d).Ports = container(d).Ports[1:] }},
		{"an environment that was emptied is put back", "template", func(d *appsv1.Deployment) { container(d).Env = nil }},
		{"a variable that was changed is put back", "template", func(d *appsv1.Deployment) { container(d).Env[0].Value = "elsewhere" }},
		{"variables in another order are put back", "template", func(d *appsv1.Deployment) {
			env := container(d).Env
			env[0], env[1] = env[1], env[0]
		}},
		{"a smaller request is put back", "template", func(d *appsv1.Deployment) {
			container(d).Resources.Requests[corev1.ResourceCPU] = resource.MustParse("100m")
		}},
		{"a selecting label of the Pods is put back", "template", func(d *appsv1.Deployment) { d.Spec.Template.Labels[rayv1.LabelName] = "other" }},
		{"a grace period of 0 seconds is put back", "template", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(30))
		}},
		{"a forbidden privilege escalation is put back", "template", func(d *appsv1.Deployment) {
			container(d).SecurityContext.AllowPrivilegeEscalation = new(true)
		}},
		{"a label and the replicas are put back in one write", "labels, replicas", func(d *appsv1.Deployment) {
			d.Labels[rayv1.LabelRole] = "worker"
			d.Spec.Replicas = new(int32(2))
		}},
	}
	for _, test := range tests {
		runSyncTests(t, []syncTest{{
			name:       test.name,
			prepare:    withZeroValues,
			change:     changeHead(test.change),
			wantWrites: []string{updateHead},
			wantEvents: reverted("deployment sample-cluster-head", test.part),
			wantHealth: healthy,
		}})
	}
	runSyncTests(t, []syncTest{{
		name:       "a label that was taken out is put back, without another generation",
		change:     changeHead(func(d *appsv1.Deployment) { delete(d.Labels, "app.kubernetes.io/instance") }),
		wantWrites: []string{updateHead},
		wantEvents: reverted("deployment sample-cluster-head", "labels"),
		wantHealth: healthy,
	}})
}

// withZeroValues sets fields of the head to what a comparison easily takes for unset.
func withZeroValues(f *fixture) {
	f.editRay(func(ray *rayv1.Ray) {
		pod := &ray.Spec.Head.Template.Spec
		pod.TerminationGracePeriodSeconds = new(int64(0))
		pod.Containers[0].SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}
	})
	f.deliver()
}

// TestOthersAdditionsSurvive has what the operator does not set, and so leaves alone.
func TestOthersAdditionsSurvive(t *testing.T) {
	tests := []struct {
		name   string
		change func(*appsv1.Deployment)
	}{
		{"a sidecar stays", func(d *appsv1.Deployment) { addSidecar(&d.Spec.Template.Spec) }},
		{"an init container stays", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "init"}}
		}},
		{"a restart by kubectl happens", func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
		}},
		{"a label of the Pods stays", func(d *appsv1.Deployment) { d.Spec.Template.Labels["team"] = "a" }},
		{"a variable after the operator's stays", func(d *appsv1.Deployment) {
			container(d).Env = append(container(d).Env, corev1.EnvVar{Name: "EXTRA", Value: "1"})
		}},
		{"a variable before the operator's stays", func(d *appsv1.Deployment) {
			container(d).Env = append([]corev1.EnvVar{{Name: "EXTRA", Value: "1"}}, container(d).Env...)
		}},
		{"a security context stays", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
		}},
		{"a limit stays", func(d *appsv1.Deployment) {
			container(d).Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
		}},
		{"an annotation of the Deployment stays", func(d *appsv1.Deployment) { d.Annotations["note"] = "x" }},
		{"a label of the Deployment stays", func(d *appsv1.Deployment) { d.Labels["note"] = "x" }},
		{"a pause of the rollout stays", func(d *appsv1.Deployment) { d.Spec.Paused = true }},
		{"the bounds of a rolling update stay", func(d *appsv1.Deployment) {
			d.Spec.Strategy.RollingUpdate.MaxSurge = new(intstr.FromInt32(7))
		}},
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
			name:         "an annotation of the Service stays",
			change:       changeService(func(s *corev1.Service) { s.Annotations["note"] = "x" }),
			wantChildren: func(c *childSet) { c.Service.Annotations = map[string]string{"note": "x"} },
		},
		{
			name:         "the session affinity of the Service stays",
			change:       changeService(func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }),
			wantChildren: func(c *childSet) { c.Service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP },
		},
		{
			name:         "the protocol of an application behind a port stays",
			change:       changeService(func(s *corev1.Service) { s.Spec.Ports[0].AppProtocol = new("redis") }),
			wantChildren: func(c *childSet) { c.Service.Spec.Ports[0].AppProtocol = new("redis") },
		},
		{
			name:    "a sidecar and fields of the Pods stay where another change is undone",
			prepare: withVolume,
			change: changeWorker(func(d *appsv1.Deployment) {
				addOthers(d)
				container(d).Image = "other"
			}),
			wantWrites:   []string{updateWorker},
			wantEvents:   reverted("deployment sample-cluster-worker", "template"),
			wantChildren: func(c *childSet) { addOthers(c.Worker); setDefaults(c.Worker) },
		},
		{
			name: "a variable stays where a change outside of its container is undone",
			change: changeWorker(func(d *appsv1.Deployment) {
				container(d).Env = append(container(d).Env, corev1.EnvVar{Name: "EXTRA", Value: "1"})
				d.Spec.Template.Labels[rayv1.LabelName] = "other"
			}),
			wantWrites: []string{updateWorker},
			wantEvents: reverted("deployment sample-cluster-worker", "template"),
			wantChildren: func(c *childSet) {
				container(c.Worker).Env = append(container(c.Worker).Env, corev1.EnvVar{Name: "EXTRA", Value: "1"})
			},
		},
		{
			name: "a sidecar stays when the workers are scaled",
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

func container(d *appsv1.Deployment) *corev1.Container { return &d.Spec.Template.Spec.Containers[0] }

// withVolume gives the workers a volume and an init container of the user's.
func withVolume(f *fixture) {
	f.editRay(func(ray *rayv1.Ray) {
		pod := &ray.Spec.Worker.Template.Spec
		pod.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		pod.InitContainers = []corev1.Container{{Name: "wait", Image: "wait"}}
	})
	f.deliver()
}

// addOthers adds to a template in every way in which others may.
func addOthers(d *appsv1.Deployment) {
	template := &d.Spec.Template
	addSidecar(&template.Spec)
	template.Spec.InitContainers = append(template.Spec.InitContainers, corev1.Container{Name: "init", Image: "init"})
	template.Spec.PriorityClassName = "high"
	template.Labels["team"] = "a"
	template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
}

// addSidecar adds all that a sidecar injector adds.
func addSidecar(pod *corev1.PodSpec) {
	pod.Containers = append(pod.Containers, corev1.Container{
		Name: "sidecar", Image: "sidecar",
		VolumeMounts: []corev1.VolumeMount{{Name: "sidecar", MountPath: "/sidecar"}},
	})
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "sidecar", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
}
