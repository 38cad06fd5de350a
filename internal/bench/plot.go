package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// Measures of the plot, in pixels.
const (
	panelWidth  = 330
	panelHeight = 190
	panelLeft   = 62
	panelTop    = 34
	cellWidth   = panelLeft + panelWidth + 24
	cellHeight  = panelTop + panelHeight + 44
	plotTop     = 118
)

// style has the colours for light and for dark. The plot brings its own
// background: what shows it may have another one.
const style = `
text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 13px; font-weight: 600 }
.faint { fill: #59636e }
.back { fill: #ffffff }
.grid { stroke: #e4e7eb }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.ideal { stroke-width: 1; stroke-dasharray: 3 3; opacity: .6 }
.l0 { stroke: #8250df } .d0 { fill: #8250df }
.l1 { stroke: #0969da } .d1 { fill: #0969da }
.l2 { stroke: #1a7f37 } .d2 { fill: #1a7f37 }
.l3 { stroke: #bf8700 } .d3 { fill: #bf8700 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.back { fill: #0d1117 }
.grid { stroke: #2a313a }
.l0 { stroke: #a371f7 } .d0 { fill: #a371f7 }
.l1 { stroke: #58a6ff } .d1 { fill: #58a6ff }
.l2 { stroke: #3fb950 } .d2 { fill: #3fb950 }
.l3 { stroke: #d29922 } .d3 { fill: #d29922 }
}
`

// axis is a logarithmic one, from the bottom to the top.
type axis struct {
	bottom, top float64
	ticks       []float64
}

// y is the place of a value in a panel; what is outside stands at the edge.
func (a axis) y(v float64) float64 {
	v = min(max(v, a.bottom), a.top)
	return panelTop + panelHeight*(1-math.Log(v/a.bottom)/math.Log(a.top/a.bottom))
}

// panel is what a row of the plot shows.
type panel struct {
	title string
	unit  string
	axis  axis
	of    func(Swept) float64
	// ideal is what the limit and the latency allow; 0 for no such thing.
	ideal func(latencyMs, limit int) float64
}

var panels = []panel{
	{"outcomes per second, of a burst", "/s", axis{30, 30_000, []float64{100, 1000, 10_000}},
		func(s Swept) float64 { return s.PerSecond },
		func(latencyMs, limit int) float64 {
			if latencyMs == 0 {
				return 0
			}
			return 1000 * float64(limit) / float64(latencyMs)
		}},
	{"p99 in half of that load, at most 1,000/s", " ms", axis{1, 10_000, []float64{1, 10, 100, 1000, 10_000}},
		func(s Swept) float64 { return s.P99 },
		func(latencyMs, _ int) float64 { return float64(latencyMs) }},
}

// writePlot writes an SVG: a column for each program, throughput above and p99
// below, against the gateway's latency, a line for each limit of calls.
func writePlot(w io.Writer, points []Swept) error {
	if len(points) == 0 {
		return fmt.Errorf("nothing to plot: -plot wants -scenarios %s, or -with a file that has it", sweepName)
	}
	var programs []string
	var latencies, limits []int
	for _, s := range points {
		if !slices.Contains(programs, s.Program) {
			programs = append(programs, s.Program)
		}
		latencies, limits = append(latencies, s.LatencyMs), append(limits, s.Limit)
	}
	slices.Sort(latencies)
	slices.Sort(limits)
	p := &plot{latencies: slices.Compact(latencies), limits: slices.Compact(limits)}
	width, height := 10+cellWidth*len(programs), plotTop+cellHeight*len(panels)
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`, width, height, width, height)
	p.f(`<title>Throughput and p99 against the gateway's latency and the limit of calls</title><style>%s</style>`, style)
	p.f(`<rect class="back" width="%d" height="%d"/>`, width, height)
	for i, limit := range p.limits {
		p.f(`<rect class="d%d" x="14" y="%d" width="11" height="11"/><text x="32" y="%d">at most %d calls at one time</text>`, i, 12+18*i, 22+18*i, limit)
	}
	p.f(`<text class="faint" x="14" y="%d">Dashed: what the limit and the latency allow.</text>`, 28+18*len(p.limits))
	for column, program := range programs {
		for row, panel := range panels {
			p.f(`<g transform="translate(%d %d)">`, 10+column*cellWidth, plotTop+row*cellHeight)
			p.panel(panel, program, points)
			p.f(`</g>`)
		}
	}
	p.f(`</svg>`)
	_, err := io.WriteString(w, p.String())
	return err
}

type plot struct {
	strings.Builder

	latencies, limits []int
}

// f writes a line.
func (p *plot) f(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// x is the place of a latency: they stand at equal distances.
func (p *plot) x(latencyMs int) float64 {
	i := slices.Index(p.latencies, latencyMs)
	return panelLeft + panelWidth*(float64(i)+.5)/float64(len(p.latencies))
}

func (p *plot) panel(of panel, program string, points []Swept) {
	p.f(`<text class="title" x="%d" y="14">%s</text>`, panelLeft, html.EscapeString(program))
	p.f(`<text class="faint" x="%d" y="28">%s</text>`, panelLeft, of.title)
	for _, tick := range of.axis.ticks {
		y := of.axis.y(tick)
		p.f(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, panelLeft, panelLeft+panelWidth, y, y)
		p.f(`<text class="faint" text-anchor="end" x="%d" y="%.1f">%s%s</text>`, panelLeft-5, y+4, thousands(int(tick)), of.unit)
	}
	for _, ms := range p.latencies {
		p.f(`<text class="faint" text-anchor="middle" x="%.1f" y="%d">%d ms</text>`, p.x(ms), panelTop+panelHeight+16, ms)
	}
	p.f(`<text class="faint" text-anchor="middle" x="%d" y="%d">the gateway takes</text>`, panelLeft+panelWidth/2, panelTop+panelHeight+32)
	for i, limit := range p.limits {
		var ideal, real []string
		for _, ms := range p.latencies {
			if v := of.ideal(ms, limit); v > of.axis.bottom && v < of.axis.top {
				ideal = append(ideal, fmt.Sprintf("%.1f,%.1f", p.x(ms), of.axis.y(v)))
			}
			for _, s := range points {
				if s.Program == program && s.Limit == limit && s.LatencyMs == ms {
					real = append(real, fmt.Sprintf("%.1f,%.1f", p.x(ms), of.axis.y(of.of(s))))
					p.f(`<circle class="d%d" cx="%.1f" cy="%.1f" r="2.4"><title>%d ms, %d calls: %.0f%s</title></circle>`, i, p.x(ms), of.axis.y(of.of(s)), ms, limit, of.of(s), of.unit)
				}
			}
		}
		if len(ideal) > 1 {
			p.f(`<polyline class="line ideal l%d" points="%s"/>`, i, strings.Join(ideal, " "))
		}
		p.f(`<polyline class="line l%d" points="%s"/>`, i, strings.Join(real, " "))
	}
}
