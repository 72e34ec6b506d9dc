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

package resources

import (
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Names of Ray's resources that have a flag of their own.
const (
	resourceCPU         = "CPU"
	resourceGPU         = "GPU"
	resourceMemory      = "memory"
	resourceObjectStore = "object_store_memory"
)

// objectStorePercent is the share of the memory that the object store gets, as Ray's own default.
const objectStorePercent = 30

// resourceFlags are the flags of ray start for those resources, in the order of the command line.
var resourceFlags = []struct{ resource, flag string }{
	{resourceCPU, "--num-cpus"},
	{resourceGPU, "--num-gpus"},
	{resourceMemory, "--memory"},
	{resourceObjectStore, "--object-store-memory"},
}

// accelerators are the names that Ray gives to devices other than GPUs.
var accelerators = map[corev1.ResourceName]string{
	"google.com/tpu":            "TPU",
	"aws.amazon.com/neuroncore": "neuron_cores",
}

// startResources returns the resources that Ray may schedule on a node of a group: those of its first
// container, unless the user sets others. Ray counts whole CPUs and bytes.
func startResources(group Group) map[string]int64 {
	spec := &group.Template.Spec
	container := &spec.Containers[0]
	result := map[string]int64{resourceCPU: max(1, limitOrRequest(spec, corev1.ResourceCPU))}
	if len(container.Resources.Claims) == 0 {
		// Else Ray counts all GPUs that it sees. Only Ray knows what a claim is for.
		result[resourceGPU] = 0
	}
	for name, quantity := range container.Resources.Limits {
		switch {
		case isGPU(string(name)):
			result[resourceGPU] += quantity.Value()
		case accelerators[name] != "":
			result[accelerators[name]] = quantity.Value()
		}
	}
	var users map[string]resource.Quantity
	if group.Start != nil {
		users = group.Start.Resources
	}
	for name, quantity := range users {
		result[name] = quantity.Value()
	}
	splitMemory(result, limitOrRequest(spec, corev1.ResourceMemory))
	return result
}

// splitMemory divides the memory of a node between its tasks and its object store, unless the user did.
// Both together are the memory that the Pod has, so that Ray does not promise it twice.
func splitMemory(resources map[string]int64, total int64) {
	if total == 0 {
		return // Ray divides the memory of the machine.
	}
	if _, set := resources[resourceObjectStore]; !set {
		resources[resourceObjectStore] = total / 100 * objectStorePercent
	}
	if _, set := resources[resourceMemory]; !set {
		resources[resourceMemory] = max(0, total-resources[resourceObjectStore])
	}
}

// limitOrRequest returns how much of a resource the first container of a Pod has: its limit, else that of
// the Pod, else its request, else that of the Pod, else 0. Fractions are rounded up.
func limitOrRequest(spec *corev1.PodSpec, name corev1.ResourceName) int64 {
	container, pod := spec.Containers[0].Resources, spec.Resources
	if pod == nil {
		pod = &corev1.ResourceRequirements{}
	}
	for _, list := range []corev1.ResourceList{container.Limits, pod.Limits, container.Requests, pod.Requests} {
		if quantity, set := list[name]; set {
			return quantity.Value()
		}
	}
	return 0
}

// isGPU returns whether a resource of Kubernetes is a GPU or a part of one.
func isGPU(name string) bool {
	return strings.HasSuffix(name, "/gpu") || name == "nvidia.com/gpu.shared" ||
		strings.HasPrefix(name, "nvidia.com/mig-") || strings.HasPrefix(name, "gpu.intel.com/")
}

// resourceArgs returns the arguments of ray start for a node with these resources.
func resourceArgs(resources map[string]int64) []string {
	var args []string
	custom := maps.Clone(resources)
	for _, known := range resourceFlags {
		if value, set := resources[known.resource]; set {
			args = append(args, known.flag+"="+strconv.FormatInt(value, 10))
			delete(custom, known.resource)
		}
	}
	if len(custom) > 0 {
		args = append(args, "--resources="+mustMarshal(custom))
	}
	return args
}
