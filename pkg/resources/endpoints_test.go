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
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
)

func TestEndpoints(t *testing.T) {
	const host = "x-head.team-a.svc:"
	for _, test := range []struct {
		name    string
		command []string
		ports   []corev1.ContainerPort
		args    []string
		want    rayv1.Endpoints
	}{
		{
			name: "a generated start",
			want: rayv1.Endpoints{GCS: host + "6379", Dashboard: "http://" + host + "8265", Client: "ray://" + host + "10001", Serve: "http://" + host + "8000"},
		},
		{
			name: "ports that the user moves",
			args: []string{"--dashboard-port=9000", "--ray-client-server-port=9001"},
			want: rayv1.Endpoints{GCS: host + "6379", Dashboard: "http://" + host + "9000", Client: "ray://" + host + "9001", Serve: "http://" + host + "8000"},
		},
		{
			name:    "only ports that a container with a command lists",
			command: []string{"ray"},
			ports:   []corev1.ContainerPort{{ContainerPort: 6379}, {ContainerPort: 8265, Protocol: corev1.ProtocolUDP}, {ContainerPort: 1234}},
			want:    rayv1.Endpoints{GCS: host + "6379"},
		},
		{
			name:    "names come before numbers",
			command: []string{"ray"},
			ports:   []corev1.ContainerPort{{ContainerPort: 8000, Name: "other"}, {ContainerPort: 80, Name: "serve"}, {ContainerPort: 8265, Name: "http-dashboard"}},
			want:    rayv1.Endpoints{Dashboard: "http://" + host + "8265", Serve: "http://" + host + "80"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ray := &rayv1.Ray{}
			ray.Namespace, ray.Name = "team-a", "x"
			ray.Spec.Head.Start = &rayv1.StartSpec{Args: test.args}
			ray.Spec.Head.Template.Spec.Containers = []corev1.Container{{Command: test.command, Ports: test.ports}}
			if diff := cmp.Diff(test.want, Endpoints(ray)); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
		})
	}
}
