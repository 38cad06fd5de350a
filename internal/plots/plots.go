// Package plots draws small plots as SVG for pages: without a script, a style of
// its own or a colour, which the page's style sheet gives to classes. Each has a
// title and a description in words, and its numbers in a table beside it: who
// cannot see it, or wants to copy a number, loses nothing. It knows nothing of what
// the numbers are.
//
//	Chart --Bars, Lines--> figure: svg, legend, details: table
//	Rows  --Draw---------> figure: svg, details: table
package plots

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Words are the texts of a plot that stand in the language of the page.
type Words struct {
	// None stands where there is no number, Table over the numbers, Time over the
	// column of times; Gap is a number that is not known, in a cell of the table.
	None, Table, Time, Gap string
}

// Series are the numbers of one kind, one for each time: NaN, an infinity, or one
// that is missing is not known. Class is that of its shapes, and one of the style
// sheet's: s-closed, s-paid, s-failed, s-first, s-second.
type Series struct {
	Name, Class string
	Values      []float64
}

func (s Series) at(i int) float64 {
	if i >= len(s.Values) || math.IsInf(s.Values[i], 0) {
		return math.NaN()
	}
	return s.Values[i]
}

// Chart is a plot over time. What is negative counts as zero.
type Chart struct {
	// ID tells it from the others of its page: an HTML id.
	ID string
	// Title says what it shows, Desc what can be seen in it, in words.
	Title, Desc string
	// Times ascend; they are shown in UTC.
	Times  []time.Time
	Series []Series
	// Format writes a number as it stands at the axis and in the table; nil: [Number]
	// there, and all its digits here.
	Format func(float64) string
	// Marks, if not empty, make the axis of numbers logarithmic: they are the round
	// numbers that may stand at it, above zero and ascending. Of lines alone.
	Marks []float64
	// Every row of so many stands in the table, the last one always; 0 is 1.
	Every int
	Words Words
}

// The box of a chart, in units of the SVG: it is as wide as its place on the page.
const (
	width, height            = 360, 190
	left, right, top, bottom = 52, 10, 10, 24
)

// Bars draws the series above each other, the first one at the bottom: bars that
// stand for the times from each one up to the next.
func (c Chart) Bars() template.HTML {
	sums := make([]float64, len(c.Times))
	most, any := 0.0, false
	for i := range c.Times {
		for _, s := range c.Series {
			if v := s.at(i); !math.IsNaN(v) {
				sums[i] += max(v, 0)
				any = true
			}
		}
		sums[i] = min(sums[i], math.MaxFloat64)
		most = max(most, sums[i])
	}
	if !any {
		return c.empty()
	}
	y := linear(most)
	var b strings.Builder
	c.begin(&b)
	c.patterns(&b)
	c.axes(&b, y)
	step := float64(width-left-right) / float64(len(c.Times))
	gap := min(1, step/4)
	for i := range c.Times {
		if sums[i] == 0 {
			continue
		}
		b.WriteString("<g><title>" + html.EscapeString(c.words(i)) + "</title>")
		x, below := float64(left)+float64(i)*step, 0.0
		for n, s := range c.Series {
			v := max(s.at(i), 0)
			if math.IsNaN(v) || v == 0 {
				continue
			}
			from, to := y.at(below), y.at(min(below+v, math.MaxFloat64))
			below += v
			shape := fmt.Sprintf(`x="%s" y="%s" width="%s" height="%s"`, unit(x+gap/2), unit(to), unit(step-gap), unit(max(from-to, 0)))
			fmt.Fprintf(&b, `<rect class="%s" %s/>`, html.EscapeString(s.Class), shape)
			if n > 0 {
				fmt.Fprintf(&b, `<rect fill="url(#%s)" %s/>`, c.pattern(n), shape)
			}
		}
		b.WriteString("</g>")
	}
	c.end(&b)
	return template.HTML(b.String()) // every value in it is escaped
}

// Lines draws each series as a line, which has a gap where a number is not known;
// a number alone is a dot.
func (c Chart) Lines() template.HTML {
	least, most := math.Inf(1), math.Inf(-1)
	for i := range c.Times {
		for _, s := range c.Series {
			if v := s.at(i); !math.IsNaN(v) {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if least > most {
		return c.empty()
	}
	y := linear(most)
	if len(c.Marks) > 1 {
		y = logarithmic(least, most, c.Marks)
	}
	var b strings.Builder
	c.begin(&b)
	c.axes(&b, y)
	for _, s := range c.Series {
		class := html.EscapeString(s.Class)
		var path strings.Builder
		for i := 0; i < len(c.Times); i++ {
			if math.IsNaN(s.at(i)) {
				continue
			}
			first := i
			for i+1 < len(c.Times) && !math.IsNaN(s.at(i+1)) {
				i++
			}
			if first == i {
				fmt.Fprintf(&b, `<circle class="dot %s" cx="%s" cy="%s" r="2.5"/>`, class, unit(c.x(i)), unit(y.at(s.at(i))))
				continue
			}
			for n := first; n <= i; n++ {
				move := " L"
				if n == first {
					move = "M"
				}
				path.WriteString(move + unit(c.x(n)) + " " + unit(y.at(s.at(n))))
			}
		}
		if path.Len() > 0 {
			fmt.Fprintf(&b, `<path class="line %s" d="%s"/>`, class, path.String())
		}
	}
	c.end(&b)
	return template.HTML(b.String()) // every value in it is escaped
}

// x is where a time stands in a chart of lines.
func (c Chart) x(i int) float64 {
	first, last := c.Times[0], c.Times[len(c.Times)-1]
	all := last.Sub(first)
	if all <= 0 {
		return left
	}
	return left + float64(width-left-right)*min(max(float64(c.Times[i].Sub(first))/float64(all), 0), 1)
}

// begin writes all that stands before the shapes.
func (c Chart) begin(b *strings.Builder) { begin(b, c.ID, c.Title, c.Desc, height) }

func begin(b *strings.Builder, id, title, desc string, height float64) {
	id = html.EscapeString(id)
	fmt.Fprintf(b, `<figure class="plot" id="%s"><svg viewBox="0 0 %d %s" role="img" aria-labelledby="%s-title %s-desc"><title id="%s-title">%s</title><desc id="%s-desc">%s</desc>`,
		id, width, unit(height), id, id, id, html.EscapeString(title), id, html.EscapeString(desc))
}

// pattern is the id of what is drawn over the colour of series n, so that it can be
// told from the others without its colour.
func (c Chart) pattern(n int) string {
	return html.EscapeString(c.ID) + []string{"-dots", "-lines"}[(n-1)%2]
}

func (c Chart) patterns(b *strings.Builder) {
	fmt.Fprintf(b, `<defs><pattern id="%s" width="4" height="4" patternUnits="userSpaceOnUse"><path class="ink" d="M1 2 L2 2"/></pattern>`, c.pattern(1))
	fmt.Fprintf(b, `<pattern id="%s" width="5" height="5" patternUnits="userSpaceOnUse"><path class="ink" d="M0 5 L5 0"/></pattern></defs>`, c.pattern(2))
}

// axes draws the lines of round numbers, and round times below.
func (c Chart) axes(b *strings.Builder, y axis) {
	for _, v := range y.ticks {
		at := unit(y.at(v))
		class := "grid"
		if v == y.ticks[0] {
			class = "axis"
		}
		fmt.Fprintf(b, `<line class="%s" x1="%d" x2="%d" y1="%s" y2="%s"/><text class="end" x="%d" y="%s">%s</text>`,
			class, left, width-right, at, at, left-6, unit(y.at(v)+4), html.EscapeString(c.format(v)))
	}
	first, last := c.Times[0], c.Times[len(c.Times)-1]
	if !last.After(first) {
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`, left, height-6, clock(first))
		return
	}
	every := roundTime(last.Sub(first))
	for t := first.Truncate(every); !t.After(last); t = t.Add(every) {
		if t.Before(first) {
			continue
		}
		x := left + float64(width-left-right)*float64(t.Sub(first))/float64(last.Sub(first))
		class := "middle"
		if x > width-22 { // the text stays in the box
			class, x = "end", width-1
		}
		fmt.Fprintf(b, `<text class="%s" x="%s" y="%d">%s</text>`, class, unit(x), height-6, clock(t))
	}
}

// end writes the legend and the table, and closes all.
func (c Chart) end(b *strings.Builder) {
	b.WriteString(`</svg>`)
	if len(c.Series) > 1 {
		b.WriteString(`<ul class="legend">`)
		for _, s := range c.Series {
			fmt.Fprintf(b, `<li class="%s">%s</li>`, html.EscapeString(s.Class), html.EscapeString(s.Name))
		}
		b.WriteString(`</ul>`)
	}
	heads := []string{c.Words.Time}
	for _, s := range c.Series {
		heads = append(heads, s.Name)
	}
	table(b, c.ID, c.Title, c.Words.Table, heads, func(row func(...string)) {
		for i := len(c.Times) - 1; i >= 0; i -= max(c.Every, 1) { // the newest first
			cells := []string{clock(c.Times[i])}
			for _, s := range c.Series {
				cells = append(cells, c.cell(s.at(i)))
			}
			row(cells...)
		}
	})
	b.WriteString(`</figure>`)
}

// empty is a chart without a number: it says so.
func (c Chart) empty() template.HTML {
	var b strings.Builder
	begin(&b, c.ID, c.Title, c.Words.None, height)
	none(&b, c.Words.None, height/2)
	b.WriteString(`</svg></figure>`)
	return template.HTML(b.String()) // every value in it is escaped
}

func none(b *strings.Builder, text string, y float64) {
	fmt.Fprintf(b, `<text class="none middle" x="%d" y="%s">%s</text>`, width/2, unit(y), html.EscapeString(text))
}

// words are the numbers of one time, for those who point at it.
func (c Chart) words(i int) string {
	parts := make([]string, 0, len(c.Series))
	for _, s := range c.Series {
		parts = append(parts, s.Name+" "+c.cell(s.at(i)))
	}
	return clock(c.Times[i]) + ": " + strings.Join(parts, ", ")
}

func (c Chart) format(v float64) string {
	if c.Format == nil {
		return Number(v)
	}
	return c.Format(v)
}

func (c Chart) cell(v float64) string {
	if math.IsNaN(v) {
		return c.Words.Gap
	}
	if v = max(v, 0); c.Format != nil {
		return c.Format(v)
	}
	return exact(v)
}

// exact writes a number with all its digits.
func exact(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Rows is a plot of bars that lie below each other, with their names. What is
// negative or not known counts as zero.
type Rows struct {
	// ID, Title and Desc are as a chart's.
	ID, Title, Desc string
	// Head is over the column of names, Unit over that of the numbers.
	Head, Unit string
	Names      []string
	// Values are as many as the names.
	Values []float64
	Words  Words
}

// mostName is how many runes of a name stand beside its bar; its whole stands in
// the table.
const mostName = 44

// Draw draws it.
func (r Rows) Draw() template.HTML {
	const row, bar = 38, 12
	var b strings.Builder
	most := 0.0
	for i := range r.Names {
		most = max(most, r.value(i))
	}
	if len(r.Names) == 0 {
		begin(&b, r.ID, r.Title, r.Words.None, row)
		none(&b, r.Words.None, row/2+4)
		b.WriteString(`</svg></figure>`)
		return template.HTML(b.String()) // every value in it is escaped
	}
	begin(&b, r.ID, r.Title, r.Desc, float64(row*len(r.Names)))
	const first, room = 2, width - 4 - 70 // 70 for the number behind the bar
	for i, name := range r.Names {
		y, long := float64(i*row), 0.0
		if most > 0 {
			long = room * (r.value(i) / most)
		}
		short := name
		if all := []rune(name); len(all) > mostName {
			short = string(all[:mostName-1]) + "…"
		}
		fmt.Fprintf(&b, `<g><title>%s</title><text x="%d" y="%s">%s</text>`, html.EscapeString(name+": "+Number(r.value(i))), first, unit(y+14), html.EscapeString(short))
		fmt.Fprintf(&b, `<line class="axis" x1="%d" x2="%d" y1="%s" y2="%s"/>`, first, first, unit(y+18), unit(y+18+bar))
		if long > 0 {
			fmt.Fprintf(&b, `<rect class="s-row" x="%d" y="%s" width="%s" height="%d"/>`, first, unit(y+18), unit(max(long, 1)), bar)
		}
		fmt.Fprintf(&b, `<text x="%s" y="%s">%s</text></g>`, unit(first+max(long, 1)+5), unit(y+18+bar-1), html.EscapeString(Number(r.value(i))))
	}
	b.WriteString(`</svg>`)
	table(&b, r.ID, r.Title, r.Words.Table, []string{r.Head, r.Unit}, func(row func(...string)) {
		for i, name := range r.Names {
			row(name, exact(r.value(i)))
		}
	})
	b.WriteString(`</figure>`)
	return template.HTML(b.String()) // every value in it is escaped
}

func (r Rows) value(i int) float64 {
	if i >= len(r.Values) || math.IsNaN(r.Values[i]) || math.IsInf(r.Values[i], 0) {
		return 0
	}
	return max(r.Values[i], 0)
}

// table writes the numbers behind a summary: the first column names the row.
func table(b *strings.Builder, id, title, summary string, heads []string, rows func(row func(cells ...string))) {
	id = html.EscapeString(id)
	fmt.Fprintf(b, `<details id="%s-table"><summary>%s<span class="hidden">: %s</span></summary>`, id, html.EscapeString(summary), html.EscapeString(title))
	fmt.Fprintf(b, `<div class="wide" id="%s-wide" role="region" tabindex="0" aria-labelledby="%s-caption"><table><caption id="%s-caption">%s</caption><thead><tr>`, id, id, id, html.EscapeString(title))
	for i, head := range heads {
		class := ` class="num"`
		if i == 0 {
			class = ""
		}
		fmt.Fprintf(b, `<th scope="col"%s>%s</th>`, class, html.EscapeString(head))
	}
	b.WriteString(`</tr></thead><tbody>`)
	rows(func(cells ...string) {
		fmt.Fprintf(b, `<tr><th scope="row">%s</th>`, html.EscapeString(cells[0]))
		for _, cell := range cells[1:] {
			fmt.Fprintf(b, `<td class="num">%s</td>`, html.EscapeString(cell))
		}
		b.WriteString(`</tr>`)
	})
	b.WriteString(`</tbody></table></div></details>`)
}

// clock is a time of the day, in UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05Z")[:5] + "Z" }

// unit writes a length in units of the SVG, to a tenth.
func unit(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// Number writes a number shortly: 1250, 12.5k, 3M. It has two digits behind the
// point at most.
func Number(v float64) string {
	short := func(v float64) string {
		return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
	}
	switch {
	case v >= 1e15:
		return strconv.FormatFloat(v, 'e', 1, 64)
	case v >= 1e12:
		return short(v/1e12) + "T"
	case v >= 1e9:
		return short(v/1e9) + "G"
	case v >= 1e6:
		return short(v/1e6) + "M"
	case v >= 1e4:
		return short(v/1e3) + "k"
	}
	return short(v)
}

// Durations are the round numbers of milliseconds, for the axis of a [Chart].
func Durations() []float64 {
	const second, minute, hour, day = 1e3, 60e3, 3600e3, 86400e3
	return []float64{1, 10, 100, second, 10 * second, minute, 10 * minute, hour, 6 * hour, day, 10 * day, 100 * day, 1000 * day}
}

// Milliseconds writes a number of milliseconds as people say it: 20 ms, 1.5 s, 3 min, 2 h.
func Milliseconds(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{24 * 3600e3, " d"}, {3600e3, " h"}, {60e3, " min"}, {1e3, " s"}} {
		if v >= u.of {
			return Number(math.Round(v/u.of*10)/10) + u.name
		}
	}
	return Number(math.Round(v)) + " ms"
}
