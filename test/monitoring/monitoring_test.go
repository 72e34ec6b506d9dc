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

package monitoring

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestMonitoring runs two operators under load and scrapes them with Prometheus. Every panel of the
// dashboard has data, every alert selects existing metrics, and the states of alerts are correct.
func TestMonitoring(t *testing.T) {
	for _, name := range []string{"crd", "policy", "rbac"} {
		kubectl(t, "apply", "-k", path("manifests/"+name))
	}
	kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd/rays.ray.kubeflow.org")
	targets := map[string]string{"ray-operator-1": freeAddress(t), "ray-operator-2": freeAddress(t)}
	s := startPrometheus(t, targets)
	start := time.Now()
	operators := startOperators(t, targets)
	eventually(t, "both operators are scraped and one is the leader", func() error {
		return s.expect(map[string]float64{`sum(up{job="ray-operator-metrics"})`: 2, "sum(leader_election_master_status)": 1, "count(leader_election_master_status)": 2})
	})

	l := newLoad(t, "team-a", "team-b")
	l.run(*loadTime)
	healthy := float64(len(l.rays) - l.invalid())
	if l.invalid() == 0 || healthy == 0 {
		t.Fatalf("%d of %d Rays are invalid, want both valid and invalid Rays", l.invalid(), len(l.rays))
	}
	eventually(t, "the metrics have the number of healthy and unhealthy Rays", func() error {
		return s.expect(map[string]float64{
			`sum(ray_operator_rays{health="True"})`: healthy, `sum(ray_operator_rays{health!="True"})`: float64(l.invalid()),
		})
	})

	s.checkDashboard(l.namespaces, start)
	s.checkSelectors(readRules(t))
	s.waitAlert("RaysUnhealthy", "pending")
	s.waitAlert("RayOperatorPanics", "inactive")
	states, err := s.alertStates()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"RayOperatorDown", "RayOperatorReplicaDown", "RayOperatorNoLeader", "RayOperatorRestarts", "RayOperatorSyncStuck", "RayOperatorRequestsFail"} {
		if states[name] != "inactive" {
			t.Errorf("%s: got state %q while the operators are healthy, want inactive", name, states[name])
		}
	}
	for _, stop := range operators {
		stop()
	}
	s.waitAlert("RayOperatorDown", "pending")
	s.waitAlert("RaysUnhealthy", "inactive")
}

// startOperators starts operators with the permissions in manifests/rbac.
func startOperators(t *testing.T, addresses map[string]string) (stops []func()) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	writeFile(t, config, []byte(run(t, path("hack/operator-kubeconfig.sh"), path("bin/cluster/kubectl"))))
	for _, name := range slices.Sorted(maps.Keys(addresses)) {
		stops = append(stops, start(t, path("bin/ray-operator"), "--kubeconfig", config, "--leader-elect",
			"--health-bind-address=127.0.0.1:0", "--metrics-bind-address", addresses[name]))
	}
	return stops
}

// expect returns an error unless each expression has its expected value.
func (s *server) expect(values map[string]float64) error {
	for expression, want := range values {
		found, err := s.query(expression)
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].Value.Value != want {
			return fmt.Errorf("%s: got %v, want %v", expression, found, want)
		}
	}
	return nil
}

// checkDashboard verifies that every query of the dashboard has data, and renders the dashboard if
// -picture is set.
func (s *server) checkDashboard(namespaces []string, since time.Time) {
	s.Helper()
	d := readDashboard(s.T)
	all := ""
	for _, variable := range d.Templating.List {
		if variable.Name == "namespace" {
			all = variable.AllValue
			s.checkNamespaces(variable.Definition, namespaces)
		}
	}
	lines := map[string][]line{}
	for i := range d.Panels {
		if p := &d.Panels[i]; p.Type != "row" {
			lines[p.Title] = s.queryPanel(p, all, since)
		}
	}
	if len(lines) == 0 {
		s.Error("the dashboard has no panels")
	}
	if *picture != "" && !s.Failed() {
		writeFile(s.T, *picture, draw(s.T, d, lines, since, time.Now()))
	}
}

// checkNamespaces verifies that the variable lists the namespaces of Rays, not the operator's.
func (s *server) checkNamespaces(definition string, want []string) {
	s.Helper()
	metric := selector.FindString(definition)
	var values []string
	if err := s.get("label/namespace/values", url.Values{"match[]": {metric}}, &values); err != nil {
		s.Fatal(err)
	}
	if definition != "label_values("+metric+", namespace)" || !slices.Equal(values, want) {
		s.Errorf("values of the dashboard variable %s: got %v, want %v", definition, values, want)
	}
}
