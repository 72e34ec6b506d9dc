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

// rulesFile has the alerts; prometheus_rule.yaml is made of it by make codegen.
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

// TestRules has promtool check the rules and run their tests.
func TestRules(t *testing.T) {
	promtool := filepath.Join(*prometheus, "promtool")
	t.Log(run(t, promtool, "check", "rules", "--lint-fatal", path(rulesFile)))
	t.Log(run(t, promtool, "test", "rules", path("test/monitoring/rules_test.yaml")))
}

// TestScrapeConfig has promtool check the job that docs/operations.md has for a Prometheus of
// one's own, which must have the name that the alerts go by.
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
		t.Fatalf("docs/operations.md does not have the job, but %q", config)
	}
	// Debian's Prometheus is built without discovery in Kubernetes.
	delete(parsed.Jobs[0], "kubernetes_sd_configs")
	written, err := yaml.Marshal(map[string]any{"scrape_configs": parsed.Jobs})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	writeFile(t, file, written)
	run(t, filepath.Join(*prometheus, "promtool"), "check", "config", "--syntax-only", file)
}

// TestEveryAlertIsTested wants a case in which an alert fires, and one in which it does not.
// Promtool ran them; a name that no alert has would be silent always.
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
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Fired) > 0 {
				fires[c.Alert] = true
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
	for what, tested := range map[string]map[string]bool{"fires": fires, "does not fire": silent} {
		if got := slices.Sorted(maps.Keys(tested)); !slices.Equal(got, names) {
			t.Errorf("rules_test.yaml has a case that %s for\n%v, want one for all of\n%v", what, got, names)
		}
	}
}

// TestRunbooks wants every alert to say how bad it is, what is the matter, and what to do: in a
// section of its own, which its runbook_url leads to.
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
			t.Errorf("%s has the severity %q", rule.Alert, severity)
		}
		want := "https://github.com/kubeflow/ray-operator/blob/main/docs/operations.md#" + strings.ToLower(rule.Alert)
		if got := rule.Annotations["runbook_url"]; got != want {
			t.Errorf("%s has the runbook_url %q, want %q", rule.Alert, got, want)
		}
		for _, key := range []string{"summary", "description"} {
			if rule.Annotations[key] == "" {
				t.Errorf("%s has no %s", rule.Alert, key)
			}
		}
		for _, part := range []string{"It means", "Look at", "Do:"} {
			if !strings.Contains(sections[rule.Alert], "**"+part+"**") {
				t.Errorf("docs/operations.md does not have, in a section %s, %q", rule.Alert, part)
			}
		}
		delete(sections, rule.Alert)
	}
	for name := range sections {
		t.Errorf("docs/operations.md has a section on the alert %s, which there is not", name)
	}
}

var (
	selector = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=|!=|=~|!~)"[^"]*"`)
)

// checkSelectors wants the operator to serve every metric that the alerts are about, with every
// label that they go by: an alert on what is not there never fires.
func (s *server) checkSelectors(rules []rule) {
	s.Helper()
	for _, rule := range rules {
		selectors := selector.FindAllStringSubmatch(rule.Expr, -1)
		if len(selectors) == 0 {
			s.Errorf("%s selects nothing: %s", rule.Alert, rule.Expr)
		}
		for _, selected := range selectors {
			for _, matched := range matcher.FindAllStringSubmatch(selected[2], -1) {
				expression := fmt.Sprintf(`count(%s{job="ray-operator-metrics",%s!=""})`, selected[1], matched[1])
				if found, err := s.query(expression); err != nil || len(found) == 0 {
					s.Errorf("%s goes by the label %s of %s, which is not there (%v)", rule.Alert, matched[1], selected[1], err)
				}
			}
		}
	}
}

// alertStates returns the state of every alert: inactive, pending or firing.
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
				return nil, fmt.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.Error)
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
			err = fmt.Errorf("it is %s", states[name])
		}
		return err
	})
}
