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
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"text/template"
	"time"
)

// Sizes in pixels: a unit of Grafana's grid, and the margins around the plot of a panel.
const (
	gridWidth, gridHeight                            = 50, 30
	marginLeft, marginRight, marginTop, marginBottom = 58, 26, 34, 52
)

var colors = []string{"#3871dc", "#e0752d", "#56a64b", "#c4162a", "#8f3bb8", "#1f9e9e", "#b8860b", "#666666"}

// drawing is a panel with coordinates in pixels.
type drawing struct {
	X, Y, Width, Height      int
	Title                    string
	Row                      bool
	Left, Right, Top, Bottom float64
	XTicks, YTicks           []tick
	Lines                    []drawnLine
}

// tick is a label of an axis.
type tick struct {
	At    float64
	Label string
}

// drawnLine is a line and the position of its legend.
type drawnLine struct {
	Name, Color, Points, Area string
	X, Y                      float64
}

// draw renders the panels as SVG.
func draw(t *testing.T, d *dashboard, lines map[string][]line, since, until time.Time) []byte {
	t.Helper()
	var drawings []drawing
	bottom := 0
	for i := range d.Panels {
		p := &d.Panels[i]
		drawings = append(drawings, newDrawing(p, lines[p.Title], float64(since.Unix()), float64(until.Unix())))
		bottom = max(bottom, p.Grid.Y+p.Grid.H)
	}
	var out bytes.Buffer
	if err := svg.Execute(&out, map[string]any{"Width": 24 * gridWidth, "Height": bottom * gridHeight, "Panels": drawings}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func newDrawing(p *panel, lines []line, since, until float64) drawing {
	g := drawing{
		X: p.Grid.X * gridWidth, Y: p.Grid.Y * gridHeight, Width: p.Grid.W * gridWidth, Height: p.Grid.H * gridHeight,
		Title: p.Title, Row: p.Type == "row",
	}
	if g.Row {
		return g
	}
	g.Left, g.Right = marginLeft, float64(g.Width-marginRight)
	g.Top, g.Bottom = marginTop, float64(g.Height-marginBottom)
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	if stacked {
		stack(lines)
	}
	maximum := 0.0
	for _, l := range lines {
		for _, sample := range l.samples {
			maximum = max(maximum, sample.Value)
		}
	}
	scale := 1.0
	if p.FieldConfig.Defaults.Unit == "bytes" {
		scale = 1 << 20
	}
	step := scale * tickDistance(maximum/scale, 4)
	top := step * max(1, math.Ceil(maximum/step))
	x := func(at float64) float64 { return g.Left + (g.Right-g.Left)*(at-since)/(until-since) }
	y := func(value float64) float64 { return g.Bottom - (g.Bottom-g.Top)*value/top }
	for i := range int(math.Round(top/step)) + 1 {
		value := float64(i) * step
		g.YTicks = append(g.YTicks, tick{y(value), number(value, p.FieldConfig.Defaults.Unit)})
	}
	for at := 0.0; at <= until-since; at += tickDistance(until-since, 5) {
		g.XTicks = append(g.XTicks, tick{x(since + at), fmt.Sprintf("%g s", at)})
	}
	g.Lines = drawLines(&g, lines, stacked, x, y)
	return g
}

// drawLines returns the lines in reverse order, so that lower areas of a stack cover higher ones.
func drawLines(g *drawing, lines []line, stacked bool, x, y func(float64) float64) []drawnLine {
	var drawn []drawnLine
	legendX, legendY := g.Left, g.Bottom+32
	for i, l := range lines {
		d := drawnLine{Name: l.name, Color: colors[i%len(colors)], X: legendX, Y: legendY}
		if legendX += float64(28 + 7*len(l.name)); legendX > g.Right-40 {
			legendX, legendY = g.Left, legendY+14
		}
		var points strings.Builder
		for _, sample := range l.samples {
			fmt.Fprintf(&points, "%.0f,%.1f ", x(sample.At), y(sample.Value))
		}
		d.Points = strings.TrimSpace(points.String())
		if n := len(l.samples); stacked && n > 0 {
			d.Area = fmt.Sprintf("%.0f,%.0f %s %.0f,%.0f", x(l.samples[0].At), g.Bottom, d.Points, x(l.samples[n-1].At), g.Bottom)
		}
		drawn = append([]drawnLine{d}, drawn...)
	}
	return drawn
}

// stack adds the values of all previous lines to each line.
func stack(lines []line) {
	sum := map[float64]float64{}
	for _, l := range lines {
		for i := range l.samples {
			sample := &l.samples[i]
			sum[sample.At] += sample.Value
			sample.Value = sum[sample.At]
		}
	}
}

// tickDistance returns the distance of ticks, 1, 2 or 5 times a power of ten, for about a number of
// ticks up to a maximum.
func tickDistance(maximum float64, ticks int) float64 {
	if maximum <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(maximum/float64(ticks))))
	for _, factor := range []float64{1, 2, 5} {
		if maximum/(factor*power) <= float64(ticks)+1 {
			return factor * power
		}
	}
	return 10 * power
}

// number formats a number with a unit of Grafana.
func number(value float64, unit string) string {
	switch {
	case unit == "bytes":
		return fmt.Sprintf("%.0f MiB", value/(1<<20))
	case unit == "s" && value > 0 && value < 1:
		return fmt.Sprintf("%.4g ms", value*1000)
	case unit == "s":
		return fmt.Sprintf("%.4g s", value)
	case unit == "ops" || unit == "reqps":
		return fmt.Sprintf("%.4g/s", value)
	default:
		return fmt.Sprintf("%.4g", value)
	}
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

var svg = template.Must(template.New("dashboard").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="11">
<rect width="{{.Width}}" height="{{.Height}}" fill="#f4f5f5"/>
{{- range .Panels}}{{$p := .}}
<g transform="translate({{.X}},{{.Y}})">
{{- if .Row}}
<text x="10" y="20" font-size="14" font-weight="bold">{{html .Title}}</text>
{{- else}}
<rect x="4" y="4" width="{{.Width}}" height="{{.Height}}" transform="scale(0.985)" fill="white" stroke="#ddd"/>
<text x="14" y="22" font-weight="bold">{{html .Title}}</text>
{{- range .YTicks}}
<line x1="{{$p.Left}}" x2="{{$p.Right}}" y1="{{printf "%.0f" .At}}" y2="{{printf "%.0f" .At}}" stroke="#e5e5e5"/>
<text x="{{$p.Left}}" y="{{printf "%.0f" .At}}" dx="-5" dy="4" text-anchor="end" fill="#555">{{.Label}}</text>
{{- end}}
{{- range .XTicks}}
<text x="{{printf "%.0f" .At}}" y="{{$p.Bottom}}" dy="14" text-anchor="middle" fill="#555">{{.Label}}</text>
{{- end}}
{{- range .Lines}}
{{- if .Area}}
<polygon fill="{{.Color}}" fill-opacity="0.35" points="{{.Area}}"/>
{{- end}}
<polyline fill="none" stroke="{{.Color}}" stroke-width="1.5" points="{{.Points}}"/>
<rect x="{{.X}}" y="{{.Y}}" width="10" height="3" fill="{{.Color}}"/>
<text x="{{.X}}" y="{{.Y}}" dx="14" dy="5">{{html .Name}}</text>
{{- end}}
{{- end}}
</g>
{{- end}}
</svg>
`))
