package monitoring

import (
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dashboard is what the tests read of Grafana's.
type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
			AllValue   string `json:"allValue"`
		} `json:"list"`
	} `json:"templating"`
}

// panel is a row's title, or shows the targets.
type panel struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	Grid  struct {
		X, Y, W, H int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit   string `json:"unit"`
			Custom struct {
				Stacking struct {
					Mode string `json:"mode"`
				} `json:"stacking"`
			} `json:"custom"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	data, err := os.ReadFile(path("manifests/monitoring/dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// mayBeZero are the panels that are above 0 for shorter than a scrape comes by.
var mayBeZero = map[string]bool{"Queue depth": true, "Longest running sync": true, "Informer lag": true}

// shown is a line of a panel.
type shown struct {
	name    string
	samples []sample
}

// show returns the lines of a panel since a time, and fails unless every query has data.
func (s *server) show(p *panel, allNamespaces string, since time.Time) []shown {
	s.Helper()
	var lines []shown
	for _, target := range p.Targets {
		// Prometheus scrapes every second here, and Grafana takes at least four intervals.
		expression := strings.NewReplacer("$__rate_interval", "5s", "$namespace", allNamespaces).Replace(target.Expr)
		if strings.Contains(expression, "$") {
			s.Errorf("the panel %q has a variable that the dashboard has not: %s", p.Title, target.Expr)
		}
		numbers, most := 0, 0.0
		for _, found := range s.queryRange(expression, since) {
			line := shown{name: legend(target.Legend, found.Labels)}
			for _, sample := range found.Values {
				if !math.IsNaN(sample.Value) && !math.IsInf(sample.Value, 0) {
					line.samples = append(line.samples, sample)
					most = max(most, sample.Value)
				}
			}
			numbers += len(line.samples)
			lines = append(lines, line)
		}
		switch {
		case numbers == 0:
			s.Errorf("the panel %q has no data for %s", p.Title, target.Expr)
		case most <= 0 && !mayBeZero[p.Title]:
			s.Errorf("the panel %q shows nothing but 0 for %s", p.Title, target.Expr)
		}
	}
	return lines
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// legend returns the name of a line, as Grafana makes it.
func legend(format string, labels map[string]string) string {
	return placeholder.ReplaceAllStringFunc(format, func(text string) string { return labels[strings.Trim(text, "{}")] })
}
