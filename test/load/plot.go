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

package main

import (
	"bytes"
	"fmt"
	"math"
	"text/template"
)

// Size of a panel and positions of its axes, in pixels.
const (
	panelWidth, panelHeight = 460, 320
	plotLeft, plotRight     = 60, 430
	plotTop, plotBottom     = 50, 260
)

// panel shows one value over the number of Rays.
type panel struct {
	X      int // Of the left edge.
	Title  string
	XTicks []tick
	YTicks []tick
	Lines  []line
}

// tick is a label at an axis.
type tick struct {
	At    float64
	Label string
}

// line connects the loads of one kind.
type line struct {
	Name   string
	Color  string
	Points []point
}

// point is one load, in pixels.
type point struct{ X, Y float64 }

// plotted has the values in the plot.
var plotted = []struct {
	title string
	value func(*result) float64
}{
	{"operator CPU per Ray, create to done (ms)", func(r *result) float64 { return r.perRay(1000 * r.Create.CPU[operatorProcess]) }},
	{"operator memory, resident (MiB)", func(r *result) float64 { return r.Create.Resident }},
	{"API server CPU per Ray, create to done (ms)", func(r *result) float64 { return r.perRay(1000 * r.Create.CPU["kube-apiserver"]) }},
}

// plot returns the values over the number of Rays, as SVG.
func (b *bench) plot() ([]byte, error) {
	var panels []panel
	for i, p := range plotted {
		panels = append(panels, newPanel(i*panelWidth, p.title, b.Loads, p.value))
	}
	var out bytes.Buffer
	err := svg.Execute(&out, map[string]any{
		"Width": panelWidth * len(panels), "Height": panelHeight,
		"Left": plotLeft, "Right": plotRight, "Top": plotTop, "Bottom": plotBottom,
		"Caption": fmt.Sprintf("%s, %d cores, Kubernetes %s, %s", b.Machine.CPU, b.Machine.Cores, b.Machine.Kubernetes, b.Machine.Operator),
		"Panels":  panels,
	})
	return out.Bytes(), err
}

// newPanel returns a panel with a logarithmic axis for Rays and a linear axis for the value.
func newPanel(left int, title string, loads []*result, value func(*result) float64) panel {
	p := panel{X: left, Title: title}
	low, high, most := math.Inf(1), 1.0, 0.0
	for _, load := range loads {
		low = min(low, math.Floor(math.Log10(float64(load.Rays))))
		high = max(high, math.Ceil(math.Log10(float64(load.Rays))))
		most = max(most, value(load))
	}
	if len(loads) == 0 || low == high {
		low = high - 1
	}
	step := niceStep(most)
	top := step * max(1, math.Ceil(most/step))
	x := func(rays float64) float64 {
		return plotLeft + (plotRight-plotLeft)*(math.Log10(rays)-low)/(high-low)
	}
	y := func(value float64) float64 { return plotBottom - (plotBottom-plotTop)*value/top }

	for power := low; power <= high; power++ {
		p.XTicks = append(p.XTicks, tick{x(math.Pow(10, power)), fmt.Sprintf("%.0f", math.Pow(10, power))})
	}
	for at := 0.0; at <= top+step/2; at += step {
		p.YTicks = append(p.YTicks, tick{y(at), fmt.Sprintf("%g", at)})
	}
	for _, kind := range []struct {
		pods        bool
		name, color string
	}{{true, "with Pods", "#1f6feb"}, {false, "without Pods", "#bf5700"}} {
		l := line{Name: kind.name, Color: kind.color}
		for _, load := range loads {
			if load.Pods == kind.pods {
				l.Points = append(l.Points, point{x(float64(load.Rays)), y(value(load))})
			}
		}
		if len(l.Points) > 0 {
			p.Lines = append(p.Lines, l)
		}
	}
	return p
}

// niceStep returns a distance of ticks that results in about five ticks up to a value. It is 1, 2 or
// 5 times a power of ten.
func niceStep(most float64) float64 {
	if most <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, factor := range []float64{1, 2, 5} {
		if most/(factor*power) <= 6 {
			return factor * power
		}
	}
	return 10 * power
}

var svg = template.Must(template.New("plot").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="12">
<rect width="{{.Width}}" height="{{.Height}}" fill="white"/>
{{- range .Panels}}
<g transform="translate({{.X}},0)">
<text x="{{$.Left}}" y="30" font-weight="bold">{{html .Title}}</text>
{{- range .YTicks}}
<line x1="{{$.Left}}" x2="{{$.Right}}" y1="{{printf "%.1f" .At}}" y2="{{printf "%.1f" .At}}" stroke="#ddd"/>
<text x="{{$.Left}}" y="{{printf "%.1f" .At}}" dx="-6" dy="4" text-anchor="end">{{.Label}}</text>
{{- end}}
{{- range .XTicks}}
<line x1="{{printf "%.1f" .At}}" x2="{{printf "%.1f" .At}}" y1="{{$.Top}}" y2="{{$.Bottom}}" stroke="#ddd"/>
<text x="{{printf "%.1f" .At}}" y="{{$.Bottom}}" dy="18" text-anchor="middle">{{.Label}} Rays</text>
{{- end}}
{{- range $i, $line := .Lines}}
<polyline fill="none" stroke="{{.Color}}" stroke-width="2" points="{{range .Points}}{{printf "%.1f,%.1f " .X .Y}}{{end}}"/>
{{- range .Points}}
<circle cx="{{printf "%.1f" .X}}" cy="{{printf "%.1f" .Y}}" r="4" fill="{{$line.Color}}"/>
{{- end}}
<text x="{{$.Right}}" y="{{$.Top}}" dy="{{$i}}em" text-anchor="end" fill="{{.Color}}">{{.Name}}</text>
{{- end}}
</g>
{{- end}}
<text x="{{.Left}}" y="{{.Height}}" dy="-14" fill="#555">{{html .Caption}}</text>
</svg>
`))
