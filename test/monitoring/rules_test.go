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
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rulesFile contains the alerts. make codegen generates prometheus_rule.yaml from it.
const rulesFile = "manifests/monitoring/rules.yaml"

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// readRules returns all alerts.
func readRules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	readYAML(t, rulesFile, &file)
	var rules []rule
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		t.Fatalf("%s has no rules", rulesFile)
	}
	return rules
}

// TestRules checks the rules and runs their unit tests with promtool.
func TestRules(t *testing.T) {
	promtool := filepath.Join(*prometheus, "promtool")
	t.Log(run(t, promtool, "check", "rules", "--lint-fatal", path(rulesFile)))
	t.Log(run(t, promtool, "test", "rules", path("test/monitoring/rules_test.yaml")))
}

// TestScrapeConfig checks the scrape job in docs/operations.md with promtool. The job must have the
// name that the alerts select.
func TestScrapeConfig(t *testing.T) {
	data, err := os.ReadFile(path("docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(data), "```yaml\nscrape_configs:")
	config, _, _ = strings.Cut("scrape_configs:"+config, "```")
	var parsed struct {
		Jobs []map[string]any `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(config), &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Jobs) != 1 || parsed.Jobs[0]["job_name"] != "ray-operator-metrics" || parsed.Jobs[0]["honor_labels"] != true {
		t.Fatalf("docs/operations.md: got %q, want one job ray-operator-metrics with honor_labels", config)
	}
	// The Debian package of Prometheus is built without Kubernetes service discovery.
	delete(parsed.Jobs[0], "kubernetes_sd_configs")
	data, err = yaml.Marshal(map[string]any{"scrape_configs": parsed.Jobs})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	writeFile(t, file, data)
	run(t, filepath.Join(*prometheus, "promtool"), "check", "config", "--syntax-only", file)
}

// TestEveryAlertIsTested verifies that rules_test.yaml has a case that fires and a case that does not
// fire for each alert, and no case for an unknown alert, which never fires.
func TestEveryAlertIsTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string `json:"alertname"`
				Fired []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	readYAML(t, "test/monitoring/rules_test.yaml", &file)
	firing, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Fired) > 0 {
				firing[c.Alert] = true
			} else {
				silent[c.Alert] = true
			}
		}
	}
	var names []string
	for _, rule := range readRules(t) {
		names = append(names, rule.Alert)
	}
	slices.Sort(names)
	for kind, tested := range map[string]map[string]bool{"fire": firing, "do not fire": silent} {
		if got := slices.Sorted(maps.Keys(tested)); !slices.Equal(got, names) {
			t.Errorf("alerts with cases that %s in rules_test.yaml:\ngot  %v\nwant %v", kind, got, names)
		}
	}
}

// TestRunbooks verifies that every alert has a severity, a summary, a description, and a runbook_url
// that links to its own section in docs/operations.md.
func TestRunbooks(t *testing.T) {
	data, err := os.ReadFile(path("docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, alerts, found := strings.Cut(string(data), "\n## Alerts\n")
	if !found {
		t.Fatal("docs/operations.md has no section Alerts")
	}
	alerts, _, _ = strings.Cut(alerts, "\n## ")
	sections := map[string]string{}
	for _, section := range strings.Split(alerts, "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	for _, rule := range readRules(t) {
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: got severity %q, want critical or warning", rule.Alert, severity)
		}
		want := "https://github.com/kubeflow/ray-operator/blob/main/docs/operations.md#" + strings.ToLower(rule.Alert)
		if got := rule.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: got runbook_url %q, want %q", rule.Alert, got, want)
		}
		for _, key := range []string{"summary", "description"} {
			if rule.Annotations[key] == "" {
				t.Errorf("%s: no %s", rule.Alert, key)
			}
		}
		for _, part := range []string{"It means", "Look at", "Do:"} {
			if !strings.Contains(sections[rule.Alert], "**"+part+"**") {
				t.Errorf("docs/operations.md: section %s has no %q", rule.Alert, part)
			}
		}
		delete(sections, rule.Alert)
	}
	for name := range sections {
		t.Errorf("docs/operations.md has a section for the unknown alert %s", name)
	}
}

var (
	selector = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=|!=|=~|!~)"[^"]*"`)
)

// checkSelectors verifies that the operator serves every metric and label that the alerts select. An
// alert on a metric that does not exist never fires.
func (s *server) checkSelectors(rules []rule) {
	s.Helper()
	for _, rule := range rules {
		selectors := selector.FindAllStringSubmatch(rule.Expr, -1)
		if len(selectors) == 0 {
			s.Errorf("%s: no selector in %s", rule.Alert, rule.Expr)
		}
		for _, selected := range selectors {
			for _, matched := range matcher.FindAllStringSubmatch(selected[2], -1) {
				expression := fmt.Sprintf(`count(%s{job="ray-operator-metrics",%s!=""})`, selected[1], matched[1])
				if found, err := s.query(expression); err != nil || len(found) == 0 {
					s.Errorf("%s: metric %s with label %s not found (%v)", rule.Alert, selected[1], matched[1], err)
				}
			}
		}
	}
}

// alertStates maps alerts to their states: inactive, pending or firing.
func (s *server) alertStates() (map[string]string, error) {
	var data struct {
		Groups []struct {
			Rules []struct {
				Name   string `json:"name"`
				State  string `json:"state"`
				Health string `json:"health"`
				Error  string `json:"lastError"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := s.get("rules", nil, &data); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				return nil, fmt.Errorf("rule %s: health %s: %s", rule.Name, rule.Health, rule.Error)
			}
			states[rule.Name] = rule.State
		}
	}
	return states, nil
}

// waitAlert waits until an alert has a state.
func (s *server) waitAlert(name, want string) {
	s.Helper()
	eventually(s.T, name+" is "+want, func() error {
		states, err := s.alertStates()
		if err == nil && states[name] != want {
			err = fmt.Errorf("got state %q", states[name])
		}
		return err
	})
}
