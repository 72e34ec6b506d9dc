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
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/test/faults/oracle"
	"github.com/kubeflow/ray-operator/test/faults/proxy"
)

// rayName is the name of the Ray of a case.
const rayName = "sample"

// workload is a change by users, during which faults are injected.
type workload struct {
	name string
	// from is the spec before, nil if there is no Ray. to is the spec at the end, nil if the Ray is
	// deleted.
	from, to *rayv1.RaySpec
	// steps make the change, one after the other. If there are none, the Ray is created, its tasks change, or
	// its spec is replaced.
	steps []step
	// writes are the writes of an undisturbed operator, in order. The first status may be followed
	// by more than one, if Pods are slow.
	writes []string
	// recoveries is how often Health becomes True again without a new generation.
	recoveries int
	// blocked means that the operator has to wait for other controllers, so that the order of its
	// writes may vary.
	blocked bool
	// orphans means that children without an owner remain.
	orphans bool
	// collected means that a step waits for the garbage collector.
	collected bool
	// tasksBefore and tasksAfter are the numbers of tasks of a Ray that runs.
	tasksBefore, tasksAfter int64
}

// step makes a part of a change in a namespace.
type step func(ctx context.Context, namespace string) error

// The writes of all workloads.
const (
	createService = "create services/sample-head"
	updateService = "update services/sample-head"
	createHead    = "create deployments/sample-head"
	updateHead    = "update deployments/sample-head"
	createWorker  = "create deployments/sample-worker"
	updateWorker  = "update deployments/sample-worker"
	deleteWorker  = "delete deployments/sample-worker"
	createGroup   = "create deployments/sample-worker-gpu"
	updateGroup   = "update deployments/sample-worker-gpu"
	deleteGroup   = "delete deployments/sample-worker-gpu"
	createRenamed = "create deployments/sample-worker-spot"
	updateStatus  = "update rays/status/sample"
	markPod       = oracle.MarkPod
)

// headFirst are the writes for new templates of the head and the workers. Those of the workers wait for the
// head, which makes the Ray unhealthy. Then they are replaced all at once, and get the default strategy again.
var headFirst = []string{updateHead, updateStatus, updateWorker, updateWorker, updateStatus}

var workloads = []workload{
	{name: "create", to: newSpec(), writes: []string{createService, createHead, createWorker, updateStatus, updateStatus}},
	{name: "create-with-redis", to: newSpec(redis), writes: []string{createService, createHead, createWorker, updateStatus, updateStatus}},
	{name: "scale-up", from: newSpec(), to: newSpec(workers(4)), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "scale-down", from: newSpec(), to: newSpec(workers(1)), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "scale-to-zero", from: newSpec(), to: newSpec(workers(0)), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "image", from: newSpec(), to: newSpec(image("rayproject/ray:2")), writes: headFirst},
	{name: "ports", from: newSpec(), to: newSpec(port), writes: []string{updateHead, updateService, updateStatus, updateStatus}},
	{name: "head-service", from: newSpec(), to: newSpec(headService), writes: []string{updateService, updateStatus}},
	{name: "strategy", from: newSpec(), to: newSpec(strategy), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "labels-and-env", from: newSpec(), to: newSpec(labelsAndEnv), writes: headFirst},
	{name: "authentication", from: newSpec(), to: newSpec(authentication), writes: headFirst},
	{name: "worker-removed", from: newSpec(), to: newSpec(noWorker), writes: []string{deleteWorker, updateStatus}},
	{name: "worker-added", from: newSpec(noWorker), to: newSpec(), writes: []string{createWorker, updateStatus, updateStatus}},
	{name: "group-added", from: newSpec(), to: newSpec(group("gpu")), writes: []string{createGroup, updateStatus, updateStatus}},
	{name: "group-removed", from: newSpec(group("gpu")), to: newSpec(), writes: []string{deleteGroup, updateStatus}},
	{name: "group-renamed", from: newSpec(group("gpu")), to: newSpec(group("spot")), writes: []string{createRenamed, deleteGroup, updateStatus, updateStatus}},
	{name: "group-image", from: newSpec(group("gpu")), to: newSpec(group("gpu"), image("rayproject/ray:2")), writes: []string{updateHead, updateStatus, updateWorker, updateGroup, updateWorker, updateGroup, updateStatus}},
	{name: "suspend", from: newSpec(group("gpu")), to: newSpec(group("gpu"), suspend), writes: []string{updateHead, updateWorker, updateGroup, updateStatus, updateStatus}},
	{name: "resume", from: newSpec(group("gpu"), suspend), to: newSpec(group("gpu")), writes: []string{updateHead, updateWorker, updateGroup, updateStatus, updateStatus}},
	{name: "autoscaling-added", from: newSpec(), to: newSpec(autoscaling(0)), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "autoscaling-changed", from: newSpec(autoscaling(0)), to: newSpec(autoscaling(3)), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "autoscaling-removed", from: newSpec(autoscaling(3)), to: newSpec(), writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "tasks-submitted", from: newSpec(running), to: newSpec(running), tasksBefore: 2, tasksAfter: 4, recoveries: 1, writes: []string{updateWorker, updateStatus, updateStatus}},
	{name: "tasks-finished", from: newSpec(running), to: newSpec(running), tasksBefore: 2, tasksAfter: 1, recoveries: 1, writes: []string{markPod, updateWorker, updateStatus, updateStatus}},
	{name: "delete-background", from: newSpec(), steps: []step{deleteRay(metav1.DeletePropagationBackground)}},
	{name: "delete-foreground", from: newSpec(), steps: []step{deleteRay(metav1.DeletePropagationForeground)}},
	{name: "delete-orphan", from: newSpec(), steps: []step{deleteRay(metav1.DeletePropagationOrphan)}, orphans: true},
	{name: "recreate", from: newSpec(), to: newSpec(), steps: []step{deleteRay(metav1.DeletePropagationBackground), createSample}, blocked: true, writes: []string{createService, createHead, createWorker, updateStatus, updateStatus}},
	{name: "adopt", from: newSpec(), to: newSpec(), steps: []step{orphanChildren, createSample}, collected: true, writes: []string{updateHead, updateWorker, updateService, updateStatus, updateStatus}},
	{name: "child-deleted", from: newSpec(), to: newSpec(), steps: []step{deleteChild}, recoveries: 1, writes: []string{createWorker, updateStatus, updateStatus}},
	{name: "child-edited", from: newSpec(), to: newSpec(), steps: []step{editDeployment}, recoveries: 1, writes: []string{updateWorker}},
	{name: "service-edited", from: newSpec(), to: newSpec(), steps: []step{editService}, writes: []string{updateService}},
}

// allow returns the allowance of the faults plus that of the workload. If the operator is blocked,
// it tries to create each child once, and reports each once. After a fault it may repeat that, and
// report again what another error has replaced.
func (w *workload) allow(allowance oracle.Allowance, faults []proxy.Fault) oracle.Allowance {
	allowance.Recoveries += w.recoveries
	if w.blocked {
		each := len(children)
		allowance.NormalEvents += each
		for _, fault := range faults {
			if fault.Kind == proxy.Fail {
				allowance.NormalEvents += each
			}
		}
		each *= 1 + len(faults)
		allowance.Rejected += each
		allowance.ProblemStatuses += each
	}
	return allowance
}

// newSpec returns the spec of a Ray with a head and two workers, and applies changes to it.
func newSpec(changes ...func(*rayv1.RaySpec)) *rayv1.RaySpec {
	template := func(container string, ports ...corev1.ContainerPort) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			// Pods terminate at once.
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				// With a command, the Service has the ports of the container only.
				Name: container, Image: "rayproject/ray:1", Command: []string{"ray", "start"}, Ports: ports,
				// Without a probe, Pods are available only after some seconds. Simulated kubelets ignore it.
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"ray", "health-check"}}}},
			}},
		}}
	}
	spec := &rayv1.RaySpec{
		Head: rayv1.HeadSpec{
			Replicas: new(int32(1)),
			Template: template("head", corev1.ContainerPort{ContainerPort: 6379, Protocol: corev1.ProtocolTCP}),
		},
		Worker: &rayv1.WorkerSpec{Replicas: new(int32(2)), Template: template("worker")},
	}
	for _, change := range changes {
		change(spec)
	}
	return spec
}

func workers(replicas int32) func(*rayv1.RaySpec) {
	return func(spec *rayv1.RaySpec) { spec.Worker.Replicas = &replicas }
}

func headReplicas(replicas int32) func(*rayv1.RaySpec) {
	return func(spec *rayv1.RaySpec) { spec.Head.Replicas = &replicas }
}

func image(name string) func(*rayv1.RaySpec) {
	return func(spec *rayv1.RaySpec) {
		spec.Head.Template.Spec.Containers[0].Image = name
		spec.Worker.Template.Spec.Containers[0].Image = name
		for i := range spec.WorkerGroups {
			spec.WorkerGroups[i].Template.Spec.Containers[0].Image = name
		}
	}
}

// group adds a worker group like the worker.
func group(name string) func(*rayv1.RaySpec) {
	return func(spec *rayv1.RaySpec) {
		spec.WorkerGroups = append(spec.WorkerGroups, rayv1.WorkerGroup{Name: name, WorkerSpec: *spec.Worker.DeepCopy()})
	}
}

func suspend(spec *rayv1.RaySpec) { spec.Suspend = new(true) }

func port(spec *rayv1.RaySpec) {
	head := &spec.Head.Template.Spec.Containers[0]
	head.Ports = append(head.Ports, corev1.ContainerPort{ContainerPort: 8265, Protocol: corev1.ProtocolTCP})
}

func labelsAndEnv(spec *rayv1.RaySpec) {
	for _, template := range []*corev1.PodTemplateSpec{&spec.Head.Template, &spec.Worker.Template} {
		template.Labels = map[string]string{"team": "a"}
		template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "GREETING", Value: "hello"}}
	}
}

func authentication(spec *rayv1.RaySpec) {
	spec.Authentication = &rayv1.AuthenticationSpec{TokenSecretKeyRef: rayv1.SecretKeyReference{Name: "token", Key: "token"}}
}

func redis(spec *rayv1.RaySpec) {
	spec.GCS = &rayv1.GCSSpec{Redis: &rayv1.RedisSpec{
		Address: "redis:6379", PasswordSecretKeyRef: &rayv1.SecretKeyReference{Name: "redis", Key: "password"},
	}}
	// By default it is the UID of the Ray, so that no two Rays have the same Pods.
	head := &spec.Head.Template.Spec.Containers[0]
	head.Env = append(head.Env, corev1.EnvVar{Name: "RAY_external_storage_namespace", Value: "sample"})
}

func headService(spec *rayv1.RaySpec) {
	spec.HeadService = &rayv1.HeadServiceSpec{
		Type: new(corev1.ServiceTypeNodePort), PublishNotReadyAddresses: new(true), Annotations: map[string]string{"example.com/a": "b"}, Labels: map[string]string{"team": "a"},
	}
}

func strategy(spec *rayv1.RaySpec) {
	spec.Worker.Strategy = &rayv1.WorkerStrategy{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))}
}

// autoscaling makes the workers autoscaled, with at most five.
func autoscaling(minReplicas int32) func(*rayv1.RaySpec) {
	return func(spec *rayv1.RaySpec) {
		spec.Worker.Autoscaling = &rayv1.AutoscalingSpec{MinReplicas: &minReplicas, MaxReplicas: 5}
	}
}

// running lets Ray run, as far as the operator sees it: see fakeray. A worker without a task is removed after a
// second.
func running(spec *rayv1.RaySpec) {
	autoscaling(0)(spec)
	spec.Worker.Autoscaling.IdleTimeoutSeconds = new(int32(1))
	head, worker := &spec.Head.Template.Spec.Containers[0], &spec.Worker.Template.Spec.Containers[0]
	head.Command, head.Ports = nil, []corev1.ContainerPort{{Name: "gcs", ContainerPort: gcsPort, Protocol: corev1.ProtocolTCP}}
	worker.Command = nil
	worker.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")} // for one task
}

// runs reports whether Ray runs with a spec.
func runs(spec *rayv1.RaySpec) bool { return spec.Head.Template.Spec.Containers[0].Command == nil }

func noWorker(spec *rayv1.RaySpec) { spec.Worker = nil }

// do makes the change.
func (w *workload) do(ctx context.Context, s *setup) error {
	for _, step := range w.stepsIn(s) {
		if err := step(ctx, s.namespace); err != nil {
			return err
		}
	}
	return nil
}

// stepsIn returns the steps that make the change in a setup.
func (w *workload) stepsIn(s *setup) []step {
	switch {
	case len(w.steps) > 0:
		return w.steps
	case w.from == nil:
		return []step{func(ctx context.Context, namespace string) error { return createRay(ctx, namespace, w.to) }}
	case w.tasksAfter != w.tasksBefore:
		return []step{func(context.Context, string) error { s.setTasks(w.tasksAfter); return nil }}
	default:
		return []step{func(ctx context.Context, namespace string) error { return replaceSpec(ctx, namespace, w.to) }}
	}
}

func createRay(ctx context.Context, namespace string, spec *rayv1.RaySpec) error {
	ray := &rayv1.Ray{ObjectMeta: metav1.ObjectMeta{Name: rayName}, Spec: *spec}
	_, err := rays.RayV1().Rays(namespace).Create(ctx, ray, metav1.CreateOptions{})
	return err
}

func replaceSpec(ctx context.Context, namespace string, spec *rayv1.RaySpec) error {
	value, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/spec","value":%s}]`, value)
	_, err = rays.RayV1().Rays(namespace).Patch(ctx, rayName, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

func deleteRay(policy metav1.DeletionPropagation) step {
	return func(ctx context.Context, namespace string) error {
		return rays.RayV1().Rays(namespace).Delete(ctx, rayName, metav1.DeleteOptions{PropagationPolicy: &policy})
	}
}

// createSample creates the Ray again. After a deletion in the background, its children may still exist.
func createSample(ctx context.Context, namespace string) error {
	return createRay(ctx, namespace, newSpec())
}

// orphanChildren deletes the Ray without its children, and waits until it is gone.
func orphanChildren(ctx context.Context, namespace string) error {
	if err := deleteRay(metav1.DeletePropagationOrphan)(ctx, namespace); err != nil {
		return err
	}
	return eventually(ctx, func() error {
		_, err := rays.RayV1().Rays(namespace).Get(ctx, rayName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("the Ray still exists: %w", err)
	})
}

func deleteChild(ctx context.Context, namespace string) error {
	return kube.AppsV1().Deployments(namespace).Delete(ctx, rayName+"-worker", metav1.DeleteOptions{})
}

func editDeployment(ctx context.Context, namespace string) error {
	_, err := kube.AppsV1().Deployments(namespace).Patch(ctx, rayName+"-worker", types.MergePatchType,
		[]byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
	return err
}

func editService(ctx context.Context, namespace string) error {
	_, err := kube.CoreV1().Services(namespace).Patch(ctx, rayName+"-head", types.MergePatchType,
		[]byte(`{"spec":{"selector":{"ray.kubeflow.org/role":"worker"}}}`), metav1.PatchOptions{})
	return err
}

// deleteAll deletes the Ray, or its orphans, without waiting.
func deleteAll(ctx context.Context, namespace string) error {
	err := deleteRay(metav1.DeletePropagationBackground)(ctx, namespace)
	if apierrors.IsNotFound(err) {
		return kube.AppsV1().Deployments(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	}
	return err
}
