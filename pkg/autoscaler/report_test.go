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
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	rayv1 "github.com/kubeflow/ray-operator/pkg/apis/ray/v1"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs"
	"github.com/kubeflow/ray-operator/pkg/autoscaler/gcs/gcstest"
)

// TestReport checks what Ray shows of the autoscaler, and that it is sent only if it changes, and now and then.
func TestReport(t *testing.T) {
	f := newFixture(t)
	f.ray.Status.Conditions = []rayv1.RayCondition{{Type: rayv1.RayReady, Message: "worker: 2 Pods unschedulable"}}
	f.gcs.Unimplement("ReportClusterConfig") // as Ray 2.10
	f.update(func(s *gcs.ClusterState) {
		s.Tasks = []gcs.Demand{{Request: gcs.Request{Resources: cpu(2)}, Count: 4}, {Request: gcs.Request{Resources: gcs.Resources{"GPU": 1}}, Count: 1}}
	})
	f.poll()
	f.poll()
	report := f.gcs.Report()
	if len(report.Requested) != 2 || report.Requested[0].Count != 1 || len(report.Pending) != 1 || report.Pending[0].Details != "worker: 2 Pods unschedulable" {
		t.Errorf("pending nodes are reported as %+v", report)
	}
	if len(report.Infeasible) != 1 || report.Infeasible[0].Resources["GPU"] != 1 {
		t.Errorf("infeasible demand is reported as %+v", report.Infeasible)
	}
	calls := func() [2]int {
		return [2]int{f.gcs.Calls()["ReportAutoscalingState"], f.gcs.Calls()["ReportClusterConfig"]}
	}
	if got, want := calls(), [2]int{1, 1}; got != want {
		t.Errorf("%v reports, want %v: nothing has changed", got, want)
	}
	f.clock.Step(reportInterval)
	f.poll()
	if got, want := calls(), [2]int{2, 1}; got != want {
		t.Errorf("%v reports, want %v: a GCS may have forgotten the state", got, want)
	}
	f.update(func(s *gcs.ClusterState) { s.Session = "s2" })
	f.poll()
	if got, want := calls(), [2]int{3, 2}; got != want {
		t.Errorf("%v reports, want %v: another GCS", got, want)
	}
}

// TestConfig checks the bounds that Ray Data and Ray Train know.
func TestConfig(t *testing.T) {
	f := newFixture(t)
	f.poll()
	want := &gcs.ClusterConfig{Groups: []gcs.GroupConfig{{Name: "worker", Resources: map[string]uint64{"CPU": 4}, Max: 10}}}
	if diff := cmp.Diff(want, f.gcs.Config()); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// TestFailedReport checks that reports that fail are not repeated at each poll.
func TestFailedReport(t *testing.T) {
	f := newFixture(t)
	f.addTasks(100)
	state := f.gcs.State()
	reply, failure := gcstest.Reply(gcstest.EncodeState(&state)), gcstest.Fail(13, "internal")
	f.gcs.Misbehave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/GetClusterResourceState") {
			reply.ServeHTTP(w, r)
		} else {
			failure.ServeHTTP(w, r)
		}
	}))
	for range 10 {
		f.check(f.poll(), 10, "True DemandKnown")
	}
	if got := f.gcs.Calls()["ReportAutoscalingState"]; got != 1 {
		t.Errorf("%d reports in 10 seconds, want 1", got)
	}
	f.clock.Step(reportInterval)
	f.poll()
	if got := f.gcs.Calls()["ReportAutoscalingState"]; got != 2 {
		t.Errorf("%d reports, want 2", got)
	}
}
