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
	"context"
	"errors"
	"reflect"
	"time"

	"k8s.io/klog/v2"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
)

// reportInterval is after how long a report that has not changed is repeated, since a GCS forgets it when it restarts,
// and after how long one that failed is sent again.
const reportInterval = 30 * time.Second

// maxReported is the number of pending nodes of a group that are reported at most.
const maxReported = 100

// reported is what was last reported to the GCS of a Ray.
type reported struct {
	session string
	state   *gcs.AutoscalingState
	config  *gcs.ClusterConfig
	at      time.Time
	// failedAt is when a report failed last.
	failedAt time.Time
}

// report reports to Ray which nodes are pending and what is infeasible, for ray status, the dashboard and the driver,
// and the bounds of the groups, for Ray Data and Ray Train. Nothing depends on it, so a failure is only logged.
func (a *Autoscaler) report(ctx context.Context, ray *rayv1.Ray, c *cluster, target gcs.Target, session string, groups []Group, decision *Decision) {
	now := a.clock.Now()
	if now.Sub(c.reported.failedAt) < reportInterval {
		return
	}
	state, config := newState(ray, c, decision, now), newConfig(groups)
	last := c.reported
	isNew, isEmpty := last.session != session, reflect.DeepEqual(state, &gcs.AutoscalingState{})
	// A GCS that has nothing has an empty state already.
	changed := !reflect.DeepEqual(state, last.state) && (last.state != nil || !isEmpty)
	sendState := changed || !isEmpty && (isNew || now.Sub(last.at) >= reportInterval)
	sendConfig := isNew || !reflect.DeepEqual(config, last.config)
	if !sendState && !sendConfig {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	if sendState {
		sent := *state
		sent.Version = now.UnixMilli()
		if err := a.gcsClient.ReportState(ctx, target, &sent); isFailure(err) {
			klog.FromContext(ctx).V(4).Info("Cannot report the state of autoscaling", "reason", err)
			c.reported.failedAt = now
			return
		}
		c.reported.state, c.reported.at = state, now
	}
	if sendConfig {
		if err := a.gcsClient.ReportConfig(ctx, target, config); isFailure(err) {
			klog.FromContext(ctx).V(4).Info("Cannot report the bounds of the groups", "reason", err)
			c.reported.failedAt = now
			return
		}
		c.reported.config = config
	}
	c.reported.session = session
}

// isFailure returns whether a report failed, which a version of Ray that does not know it is not.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, gcs.ErrUnimplemented)
}

// newState returns the state of autoscaling as Ray shows it. The message of the condition Ready says why nodes are
// pending.
func newState(ray *rayv1.Ray, c *cluster, decision *Decision, now time.Time) *gcs.AutoscalingState {
	state := &gcs.AutoscalingState{
		Infeasible:           decision.Infeasible.Requests,
		InfeasibleGangs:      decision.Infeasible.Gangs,
		InfeasibleConstraint: decision.Infeasible.Constraint,
	}
	details := ""
	for i := range ray.Status.Conditions {
		if condition := &ray.Status.Conditions[i]; condition.Type == rayv1.RayReady {
			details = condition.Message
		}
	}
	before := c.pendingSince
	c.pendingSince = map[string]time.Time{}
	for i := range decision.Groups {
		d := &decision.Groups[i]
		if d.Pending <= 0 {
			continue
		}
		since, found := before[d.Name]
		if !found {
			since = now
		}
		c.pendingSince[d.Name] = since
		for range min(d.Pending, maxReported) { // ray status counts requests, whatever their count is
			state.Requested = append(state.Requested, gcs.InstanceRequest{Group: d.Name, Count: 1, Since: since})
		}
		if details != "" {
			state.Pending = append(state.Pending, gcs.PendingInstance{Group: d.Name, Instance: ray.Name, Details: details})
		}
	}
	return state
}

// newConfig returns the bounds of the groups. Ray takes only whole numbers.
func newConfig(groups []Group) *gcs.ClusterConfig {
	config := &gcs.ClusterConfig{}
	for i := range groups {
		group := &groups[i]
		if group.Resources == nil {
			continue
		}
		minimum, maximum := group.Desired, group.Desired
		if group.Autoscaled {
			minimum, maximum = group.Min, group.Max
		}
		resources := map[string]uint64{}
		for name, amount := range group.Resources {
			resources[name] = uint64(max(0, amount))
		}
		config.Groups = append(config.Groups, gcs.GroupConfig{Name: group.Name, Resources: resources, Min: uint32(max(0, minimum)), Max: maximum})
	}
	return config
}
