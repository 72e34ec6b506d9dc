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
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

// Endpoints returns the addresses of a Ray's head, as clients in the cluster use them. They do not depend on
// the domain of the cluster.
func Endpoints(ray *rayv1.Ray) rayv1.Endpoints {
	ports := headPorts(ray)
	address := func(name, scheme string) string {
		port := findPort(ports, name)
		if port == nil {
			return ""
		}
		return scheme + ServiceName(ray) + "." + ray.Namespace + ".svc:" + strconv.Itoa(int(port.ContainerPort))
	}
	return rayv1.Endpoints{
		GCS:       address("gcs", ""),
		Dashboard: address("dashboard", "http://"),
		Client:    address("client", "ray://"),
		Serve:     address("serve", "http://"),
	}
}

// GCSPort returns the port of the GCS at the Service of a Ray's head, or 0 if the Service does not have it.
func GCSPort(ray *rayv1.Ray) int32 {
	port := findPort(headPorts(ray), "gcs")
	if port == nil {
		return 0
	}
	return port.ContainerPort
}

// findPort returns the TCP port with a name of Ray's documentation, or else the one with its default number. It
// returns nil if there is neither.
func findPort(ports []corev1.ContainerPort, name string) *corev1.ContainerPort {
	i := slices.IndexFunc(ports, func(port corev1.ContainerPort) bool { return port.Name == name && isTCPPort(port, port.ContainerPort) })
	if i < 0 {
		known := slices.IndexFunc(wellKnownPorts, func(port corev1.ContainerPort) bool { return port.Name == name })
		number := wellKnownPorts[known].ContainerPort
		i = slices.IndexFunc(ports, func(port corev1.ContainerPort) bool { return isTCPPort(port, number) })
	}
	if i < 0 {
		return nil
	}
	return &ports[i]
}
