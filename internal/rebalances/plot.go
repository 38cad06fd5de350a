package rebalances

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
	plotWidth    = 300 // of one panel, without its axis
	rateHeight   = 90
	waitHeight   = 90
	panelGap     = 18
	cellLeft     = 52
	cellTop      = 50
	cellBottom   = 30
	cellWidth    = cellLeft + plotWidth + 20
	cellHeight   = cellTop + rateHeight + panelGap + waitHeight + cellBottom
	plotTop      = 112
	leastWait    = 10.0      // ms, at the bottom
	mostWait     = 100_000.0 // ms, at the top
	rateAtTheTop = 2.0       // times what is published
)

// style has the colours for light and for dark. The plot brings its own
// background: what shows it may have another one.
const style = `
text { font: 11px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 13px; font-weight: 600 }
.faint { fill: #59636e }
.back { fill: #ffffff }
.grid { stroke: #e4e7eb }
.mark { stroke: #59636e; stroke-dasharray: 2 2 }
.want { stroke: #1f2328; stroke-dasharray: 5 3; opacity: .6 }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
.stays { fill: #0969da } .line.stays { fill: none; stroke: #0969da }
.moves { fill: #bf8700 } .line.moves { fill: none; stroke: #bf8700 }
.orphaned { fill: #cf222e } .line.orphaned { fill: none; stroke: #cf222e }
.beside { stroke: #1f2328; stroke-width: 1; opacity: .7 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.back { fill: #0d1117 }
.grid { stroke: #2a313a }
.mark { stroke: #9198a1 }
.want { stroke: #e6edf3 }
.stays { fill: #58a6ff } .line.stays { fill: none; stroke: #58a6ff }
.moves { fill: #d29922 } .line.moves { fill: none; stroke: #d29922 }
.orphaned { fill: #ff7b72 } .line.orphaned { fill: none; stroke: #ff7b72 }
.beside { stroke: #e6edf3 }
}
`

var words = map[Class]string{
	Stays:    "partitions that stay with their owner",
	Moves:    "partitions that go from one member to another",
	Orphaned: "partitions whose owner died or left",
}

// WritePlot writes an SVG: a column for each result, a row for each scene, and
// in each cell the outcomes of every second and the p99 of what was published
// in it.
func WritePlot(w io.Writer, results []Result) error {
	rows := 0
	for _, r := range results {
		rows = max(rows, len(r.Scenes))
	}
	if rows == 0 {
		return fmt.Errorf("rebalances: nothing to plot")
	}
	p := &plot{}
	width, height := 10+cellWidth*max(len(results), 2), plotTop+cellHeight*rows
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`, width, height, width, height)
	p.f(`<title>Outcomes per second and their p99 while the group rebalances</title><style>%s</style>`, style)
	p.f(`<rect class="back" width="%d" height="%d"/>`, width, height)
	p.legend()
	for column, r := range results {
		for row, f := range r.Scenes {
			p.f(`<g transform="translate(%d %d)">`, 10+column*cellWidth, plotTop+row*cellHeight)
			p.cell(r, f)
			p.f(`</g>`)
		}
	}
	p.f(`</svg>`)
	_, err := io.WriteString(w, p.String())
	return err
}

type plot struct{ strings.Builder }

// f writes a line.
func (p *plot) f(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *plot) legend() {
	y := 10
	for _, c := range classes {
		p.f(`<rect class="%s" x="14" y="%d" width="11" height="11"/><text x="32" y="%d">%s</text>`, c, y, y+10, words[c])
		y += 18
	}
	p.f(`<text class="faint" x="14" y="%d">Bars: outcomes in each second; line: those of a worker that nobody disturbed; dashed: requests published in a second.</text>`, y+12)
	p.f(`<text class="faint" x="14" y="%d">Lines: p99 of the waiting times, by the second of publishing; dashed: twice the p99 of quiet times.</text>`, y+28)
}

// cell draws one scene.
func (p *plot) cell(r Result, f Figure) {
	span := float64(len(f.Seconds))
	x := func(second float64) float64 { return cellLeft + plotWidth*second/max(span, 1) }
	p.f(`<text class="title" x="%d" y="14">%s</text>`, cellLeft, html.EscapeString(f.Name))
	p.f(`<text class="faint" x="%d" y="28">%s, %s ids</text>`, cellLeft, html.EscapeString(r.Program), html.EscapeString(r.IDs))

	var published []int
	for _, s := range f.Seconds {
		published = append(published, s.Published)
	}
	slices.Sort(published)
	rate := 0
	if len(published) > 0 {
		rate = published[len(published)/2]
	}
	top := rateAtTheTop * float64(max(rate, 1))
	rateY := func(n float64) float64 { return cellTop + rateHeight*(1-min(n, top)/top) }
	waitTop := cellTop + rateHeight + panelGap
	waitY := func(ms float64) float64 {
		span := math.Log(mostWait / leastWait)
		return float64(waitTop) + waitHeight*(1-math.Log(max(min(ms, mostWait), leastWait)/leastWait)/span)
	}
	for _, n := range []float64{0, float64(rate), top} {
		p.f(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, cellLeft, cellLeft+plotWidth, rateY(n), rateY(n))
		p.f(`<text class="faint" text-anchor="end" x="%d" y="%.1f">%.0f/s</text>`, cellLeft-5, rateY(n)+4, n)
	}
	for _, ms := range []float64{10, 100, 1000, 10_000, 100_000} {
		p.f(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, cellLeft, cellLeft+plotWidth, waitY(ms), waitY(ms))
		p.f(`<text class="faint" text-anchor="end" x="%d" y="%.1f">%s</text>`, cellLeft-5, waitY(ms)+4, millisOrSeconds(ms))
	}
	p.bars(f, x, rateY)
	p.beside(f, x, rateY)
	p.f(`<line class="want" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, cellLeft, cellLeft+plotWidth, rateY(float64(rate)), rateY(float64(rate)))
	for _, c := range classes {
		p.line(c, f, x, waitY)
	}
	limit := maxTimesQuiet * f.Summary.QuietP99
	p.f(`<line class="want" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, cellLeft, cellLeft+plotWidth, waitY(limit), waitY(limit))
	bottom := waitTop + waitHeight
	for i, e := range f.Events {
		p.f(`<line class="mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"><title>%s, at %.1f s</title></line>`,
			x(e.At), x(e.At), cellTop-4, bottom, html.EscapeString(e.What), e.At)
		if i == 0 {
			p.f(`<text class="faint" x="%.1f" y="%d">%s</text>`, x(e.At)+3, cellTop-6, html.EscapeString(e.What))
		}
	}
	step := max(math.Ceil(span/60)*10, 10)
	for s := 0.0; s <= span; s += step {
		p.f(`<text class="faint" text-anchor="middle" x="%.1f" y="%d">%.0f s</text>`, x(s), bottom+16, s)
	}
}

// bars stacks the answers of each second, what stays at the bottom.
func (p *plot) bars(f Figure, x, y func(float64) float64) {
	for i, s := range f.Seconds {
		below := 0.0
		for _, c := range classes {
			n := float64(s.ByClass[c].Answered)
			if height := y(below) - y(below+n); height > 0 {
				p.f(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
					c, x(float64(i))+.2, y(below+n), x(1)-x(0)-.4, height)
			}
			below += n
		}
	}
}

// beside draws the answers of the worker that nobody disturbed.
func (p *plot) beside(f Figure, x, y func(float64) float64) {
	var points []string
	for i, s := range f.Seconds {
		if s.Beside.Published > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64(i)+.5), y(float64(s.Beside.Answered))))
		}
	}
	if len(points) > 1 {
		p.f(`<polyline class="line beside" points="%s"/>`, strings.Join(points, " "))
	}
}

// line draws the p99 of a class, with gaps where nothing of it was published.
func (p *plot) line(c Class, f Figure, x, y func(float64) float64) {
	var points []string
	flush := func() {
		switch len(points) {
		case 0:
		case 1:
			px, py, _ := strings.Cut(points[0], ",")
			p.f(`<circle class="%s" cx="%s" cy="%s" r="1.6"/>`, c, px, py)
		default:
			p.f(`<polyline class="line %s" points="%s"/>`, c, strings.Join(points, " "))
		}
		points = nil
	}
	for i, s := range f.Seconds {
		if share := s.ByClass[c]; share.Requests > 0 {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64(i)+.5), y(share.P99)))
		} else {
			flush()
		}
	}
	flush()
}

func millisOrSeconds(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.0f s", ms/1000)
}
