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
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dashboard has the fields of a Grafana dashboard that the tests use.
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

// panel is the title of a row, or a graph of its targets.
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

// mayBeZero has the panels with values that can be 0 at every scrape.
var mayBeZero = map[string]bool{"Queue depth": true, "Longest running sync": true, "Informer lag": true}

// line is a time series in a panel.
type line struct {
	name    string
	samples []sample
}

// queryPanel returns the lines of a panel. It fails unless every query has data.
func (s *server) queryPanel(p *panel, allNamespaces string, since time.Time) []line {
	s.Helper()
	var lines []line
	for _, target := range p.Targets {
		// Grafana uses at least four scrape intervals, which are one second in this test.
		expression := strings.NewReplacer("$__rate_interval", "5s", "$namespace", allNamespaces).Replace(target.Expr)
		if strings.Contains(expression, "$") {
			s.Errorf("panel %q: unknown variable in %s", p.Title, target.Expr)
		}
		count, maximum := 0, 0.0
		for _, found := range s.queryRange(expression, since) {
			l := line{name: legend(target.Legend, found.Labels)}
			for _, sample := range found.Values {
				if !math.IsNaN(sample.Value) && !math.IsInf(sample.Value, 0) {
					l.samples = append(l.samples, sample)
					maximum = max(maximum, sample.Value)
				}
			}
			count += len(l.samples)
			lines = append(lines, l)
		}
		switch {
		case count == 0:
			s.Errorf("panel %q: no data for %s", p.Title, target.Expr)
		case maximum <= 0 && !mayBeZero[p.Title]:
			s.Errorf("panel %q: all values are 0 for %s", p.Title, target.Expr)
		}
	}
	return lines
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

// legend returns the name of a line as Grafana formats it.
func legend(format string, labels map[string]string) string {
	return placeholder.ReplaceAllStringFunc(format, func(text string) string { return labels[strings.Trim(text, "{}")] })
}
