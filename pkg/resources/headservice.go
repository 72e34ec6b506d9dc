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
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// setHeadService applies the user's settings to the Service of a head. The user may override the recommended
// labels, but not those that select.
func setHeadService(service *corev1.Service, settings *rayv1.HeadServiceSpec) {
	if settings == nil {
		return
	}
	if settings.Type != nil {
		service.Spec.Type = *settings.Type
	}
	if settings.PublishNotReadyAddresses != nil {
		service.Spec.PublishNotReadyAddresses = *settings.PublishNotReadyAddresses
	}
	service.Annotations = maps.Clone(settings.Annotations)
	maps.Copy(service.Labels, settings.Labels)
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		if protocol := appProtocol(port.Name); protocol != "" {
			port.AppProtocol = new(protocol)
		}
	}
}

// HeadServiceKeys returns the keys of the annotations and labels that the user sets on the Service of a
// Ray's head, sorted.
func HeadServiceKeys(ray *rayv1.Ray) (annotations, labels []string) {
	settings := ray.Spec.HeadService
	if settings == nil {
		return nil, nil
	}
	return slices.Sorted(maps.Keys(settings.Annotations)), slices.Sorted(maps.Keys(settings.Labels))
}

// appProtocols are the application protocols by the first part of a port's name. The names follow the
// convention PROTOCOL[-SUFFIX] of service meshes
// (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/), the values are those
// that Kubernetes defines (https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol).
// gRPC is HTTP/2, for which Kubernetes has a name.
var appProtocols = map[string]string{
	"http":  "http",
	"https": "https",
	"http2": "kubernetes.io/h2c",
	"grpc":  "kubernetes.io/h2c",
	"ws":    "kubernetes.io/ws",
	"wss":   "kubernetes.io/wss",
}

// appProtocol returns the application protocol of a port with a name, or "".
func appProtocol(name string) string {
	protocol, _, _ := strings.Cut(name, "-")
	return appProtocols[protocol]
}
