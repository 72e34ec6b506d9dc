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

package autoscaler

import (
	"fmt"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/resources"
)

// settings are what a poll needs of the spec of a Ray. They are derived once for each generation, not in each poll.
type settings struct {
	generation int64
	// head is why the head cannot be polled, or nil.
	head error
	// port is the port of the GCS at the Service of the head.
	port int32
	// groups are those of workers, without what depends on nodes and Deployments.
	groups []Group
}

// settingsOf returns the settings of a Ray.
func (c *cluster) settingsOf(ray *rayv1.Ray) *settings {
	if c.settings == nil || c.settings.generation != ray.Generation {
		c.settings = newSettings(ray)
	}
	return c.settings
}

func newSettings(ray *rayv1.Ray) *settings {
	port := resources.GCSPort(ray)
	s := &settings{generation: ray.Generation, head: checkHead(ray, port), port: port}
	for _, group := range resources.Groups(ray)[1:] {
		g := Group{
			Name:      group.Name,
			Resources: resources.NodeResources(group),
			Labels:    resources.NodeLabels(group),
		}
		if group.Autoscaling != nil {
			g.Autoscaled, g.IdleTimeout = true, group.Autoscaling.IdleTimeout
			g.Min, g.Max = group.Autoscaling.MinReplicas, group.Autoscaling.MaxReplicas
		}
		s.groups = append(s.groups, g)
	}
	return s
}

// checkHead returns why the head of a Ray, with its GCS at a port, cannot be polled, as far as its template shows.
func checkHead(ray *rayv1.Ray, port int32) error {
	if resources.UsesTLS(ray) {
		return inactive(reasonTLS, "the head has RAY_USE_TLS=1, which autoscaling does not support; use spec.authentication and a NetworkPolicy instead")
	}
	if missing := resources.MissingHeadSettings(ray); len(missing) > 0 {
		return inactive(reasonHeadSettings, fmt.Sprintf("the head lacks %s, which autoscaling needs; add it to the first container of spec.head.template", enumerate(missing)))
	}
	if port == 0 {
		return inactive(reasonHeadSettings, "the Service of the head has no port of the GCS; add the port 6379 to the first container of spec.head.template")
	}
	return nil
}
