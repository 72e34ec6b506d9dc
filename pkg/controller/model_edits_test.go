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
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// specEdits are the changes of users to the spec of a Ray. The last ones, specRemovals, remove a field.
var specEdits = []struct {
	field  string
	change func(spec *rayv1.RaySpec, m int)
}{
	{"worker.replicas", func(spec *rayv1.RaySpec, m int) {
		if spec.Worker != nil {
			spec.Worker.Replicas = new(int32(m % 4))
		}
	}},
	{"head.replicas", func(spec *rayv1.RaySpec, m int) { spec.Head.Replicas = new(int32(m % 2)) }},
	{"suspend", func(spec *rayv1.RaySpec, m int) { spec.Suspend = []*bool{nil, new(true), new(false)}[m%3] }},
	{"an image", func(spec *rayv1.RaySpec, m int) { modelContainer(spec, m).Image = fmt.Sprintf("ray:%d", 1+m/2%2) }},
	{"an environment variable", func(spec *rayv1.RaySpec, m int) {
		modelContainer(spec, m).Env[0].Value = []string{"hello", "bye"}[m/2%2]
	}},
	{"a port of the head", func(spec *rayv1.RaySpec, m int) {
		// A generated start lists 8265 anyway, so without a record, the port that it replaces looks like one
		// that another client has inserted (docs/design.md, known limits).
		spec.Head.Template.Spec.Containers[0].Ports[1].ContainerPort = int32(8266 + m%2)
	}},
	{"worker, by adding or removing it", func(spec *rayv1.RaySpec, _ int) {
		if spec.Worker != nil {
			spec.Worker = nil
		} else {
			spec.Worker = modelSpec().Worker
		}
	}},
	{"a worker group, by adding, renaming or removing it", func(spec *rayv1.RaySpec, m int) {
		switch {
		case len(spec.WorkerGroups) == 0:
			spec.WorkerGroups = []rayv1.WorkerGroup{modelGroup("gpu")}
		case m%3 == 0:
			spec.WorkerGroups = nil
		case m%3 == 1:
			renamed := map[string]string{"gpu": "spot", "spot": "gpu"}[spec.WorkerGroups[0].Name]
			spec.WorkerGroups = []rayv1.WorkerGroup{{Name: renamed, WorkerSpec: spec.WorkerGroups[0].WorkerSpec}}
		default:
			spec.WorkerGroups = []rayv1.WorkerGroup{modelGroup("gpu"), modelGroup("spot")}
		}
	}},
	{"a worker group", func(spec *rayv1.RaySpec, m int) {
		for i := range spec.WorkerGroups {
			spec.WorkerGroups[i].Replicas = new(int32(m % 4))
			spec.WorkerGroups[i].Template.Spec.Containers[0].Image = fmt.Sprintf("ray:%d", 1+m/4%2)
		}
	}},
	{"autoscaling", autoscaleModel},
	{"autoscaling, by removing it", func(spec *rayv1.RaySpec, _ int) { removeAutoscaling(spec) }},
	{"the nodeSelector of the head, by adding or removing it", func(spec *rayv1.RaySpec, _ int) {
		pod := &spec.Head.Template.Spec
		if pod.NodeSelector != nil {
			pod.NodeSelector = nil
		} else {
			pod.NodeSelector = map[string]string{"gpu": "yes"}
		}
	}},
	{"headService, by changing or removing it,", func(spec *rayv1.RaySpec, m int) {
		spec.HeadService = []*rayv1.HeadServiceSpec{
			nil,
			{PublishNotReadyAddresses: new(true)},
			{Type: new(corev1.ServiceTypeNodePort)},
			{Annotations: map[string]string{"lb": "internal"}, Labels: map[string]string{"team": "a"}},
			{Annotations: map[string]string{"lb": "external"}, Labels: map[string]string{"team": "b"}},
		}[m%5]
	}},
	{"authentication, by changing or removing it,", func(spec *rayv1.RaySpec, m int) {
		spec.Authentication = nil
		if m%3 > 0 {
			spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: fmt.Sprintf("token-%d", m%3), Key: "token"}}
		}
	}},
}

// specRemovals is the number of specEdits, at the end, that schedules with corruptsRecords do not have.
const specRemovals = 4

func modelContainer(spec *rayv1.RaySpec, m int) *corev1.Container {
	if m%2 == 1 && spec.Worker != nil {
		return &spec.Worker.Template.Spec.Containers[0]
	}
	return &spec.Head.Template.Spec.Containers[0]
}

// recordEdits is the number of childEdits, at the end, that only schedules with corruptsRecords have.
const recordEdits = 6

// childEdits are the changes of other clients to a child. One of the two specs is nil.
var childEdits = []struct {
	name   string
	change func(o object, deployment *appsv1.DeploymentSpec, service *corev1.ServiceSpec, m int)
}{
	{"replicas or selector", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, m int) {
		if d != nil {
			d.Replicas = new(int32(m % 5))
		} else {
			s.Selector = map[string]string{"app": externalName}
		}
	}},
	{"image or ports", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Template.Spec.Containers[0].Image = externalName
		} else {
			s.Ports = s.Ports[:1]
		}
	}},
	{"strategy or type", func(_ object, d *appsv1.DeploymentSpec, s *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		} else {
			s.Type = corev1.ServiceTypeNodePort
		}
	}},
	{"containers", func(_ object, d *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) {
		if d != nil {
			d.Template.Spec.Containers = withSidecar(d.Template.Spec.Containers)
		}
	}},
	{"all labels", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetLabels(nil) }},
	{"a label", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) {
		o.SetLabels(labels.Merge(o.GetLabels(), map[string]string{rayv1.LabelRole: externalName}))
	}},
	{"an annotation", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		annotate(o, externalName, strconv.Itoa(m))
	}},
	{"ownerReferences", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetOwnerReferences(nil) }},
	{"the record, with invalid JSON,", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		annotate(o, rayv1.AnnotationLastApplied, []string{"", "{", "7", `{"rayGeneration":"x"}`}[m%4])
	}},
	{"all annotations", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, _ int) { o.SetAnnotations(nil) }},
	{"rayGeneration in the record", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		editLastApplied(o, func(r *lastApplied) { r.RayGeneration = []int64{0, -1, 1000, 1}[m%4] })
	}},
	{"generation in the record", func(o object, d *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		if d != nil {
			editLastApplied(o, func(r *lastApplied) { r.Generation = []int64{0, 1, 1000}[m%3] })
		}
	}},
	{"the target in the record", func(o object, d *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		if d != nil {
			editLastApplied(o, func(r *lastApplied) {
				r.Replicas = []*int32{nil, new(int32(0)), new(int32(2)), new(int32(-1)), new(int32(1000))}[m%5]
			})
		}
	}},
	{"a hash in the record", func(o object, _ *appsv1.DeploymentSpec, _ *corev1.ServiceSpec, m int) {
		editLastApplied(o, func(r *lastApplied) {
			if m%2 == 0 {
				r.Inputs = ""
			} else {
				r.Rendering = ""
			}
		})
	}},
}
