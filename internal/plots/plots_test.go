package plots_test

import (
	"fmt"
	"html/template"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/plots"
	"golang.org/x/net/html"
	"pgregory.net/rapid"
)

var words = plots.Words{None: "Nothing was answered.", Table: "Numbers", Time: "Minute", Gap: "-"}

func minutes(n int) (all []time.Time) {
	for i := range n {
		all = append(all, time.Date(2026, 1, 31, 8, 7+i, 0, 0, time.UTC))
	}
	return all
}

func values(n int, of func(i int) float64) (all []float64) {
	for i := range n {
		all = append(all, of(i))
	}
	return all
}

func outcomes() plots.Chart {
	return plots.Chart{
		ID: "outcomes", Title: "Outcomes per minute", Desc: "40 closed, 8 paid, 3 failed", Times: minutes(12), Words: words,
		Series: []plots.Series{
			{Name: "closed", Class: "s-closed", Values: values(12, func(i int) float64 { return float64(i * 3 % 11) })},
			{Name: "paid", Class: "s-paid", Values: values(12, func(i int) float64 { return float64(i % 3) })},
			{Name: "failed", Class: "s-failed", Values: values(12, func(i int) float64 { return float64(i / 9) })},
		},
	}
}

func latency() plots.Chart {
	return plots.Chart{
		ID: "latency", Title: "How long requests took", Desc: "half within 80 ms", Times: minutes(30), Words: words, Every: 5,
		Marks: plots.Durations(), Format: plots.Milliseconds,
		Series: []plots.Series{
			{Name: "p50", Class: "s-first", Values: values(30, func(i int) float64 {
				if i > 9 && i < 14 || i == 15 {
					return math.NaN()
				}
				return 60 + float64(i*i)
			})},
			{Name: "p99", Class: "s-second", Values: values(20, func(i int) float64 { return 900 + 4000*float64(i) })},
		},
	}
}

func tiers() plots.Rows {
	return plots.Rows{
		ID: "tiers", Title: "What waits", Desc: "most waits in closeorder.retry.30s", Head: "Topic", Unit: "Requests", Words: words,
		Names: []string{"closeorder.retry.30s", "closeorder.retry.5m", `<b> "of" & a very long name that no topic should have, but may`}, Values: []float64{12500, 3, 0},
	}
}

func TestPlotsAreDrawnAsTheirFilesShow(t *testing.T) {
	for name, c := range map[string]template.HTML{
		"bars":       outcomes().Bars(),
		"lines":      latency().Lines(),
		"rows":       tiers().Draw(),
		"bars-none":  plots.Chart{ID: "none", Title: "Outcomes per minute", Words: words}.Bars(),
		"lines-none": plots.Chart{ID: "none", Title: "Lag", Times: minutes(3), Series: []plots.Series{{Name: "lag", Values: []float64{math.NaN()}}}, Words: words}.Lines(),
		"rows-none":  plots.Rows{ID: "none", Title: "What waits", Words: words}.Draw(),
	} {
		t.Run(name, func(t *testing.T) { golden.Check(t, "testdata/"+name+".html", string(c)+"\n") })
	}
}

// Nobody knows what numbers come: whatever they are, each shape lies in the box, and
// what comes from outside stays text.
func TestWhateverTheNumbersAreEachShapeLiesInTheBox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(
			rapid.Just(math.NaN()), rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Just(-3.0), rapid.Just(math.MaxFloat64),
			rapid.Float64(), rapid.Float64Range(0, 5), rapid.Map(rapid.IntRange(0, 5_000_000), func(n int) float64 { return float64(n) }),
		)
		name := rapid.SampledFrom([]string{"closed", `<script>alert(1)</script>`, `"'><svg onload=x>`, "\x00\xff\u202e", strings.Repeat("W", 300), ""})
		of := func(least, most int) []float64 { return rapid.SliceOfN(number, least, most).Draw(t, "values") }
		c := plots.Chart{
			ID: "plot", Title: name.Draw(t, "title"), Desc: name.Draw(t, "desc"),
			Words: plots.Words{None: name.Draw(t, "none"), Table: "Numbers", Time: "Minute", Gap: "-"},
			Every: rapid.IntRange(0, 7).Draw(t, "every"),
		}
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "first"), 0)
		for range rapid.IntRange(0, 40).Draw(t, "times") {
			c.Times = append(c.Times, at)
			at = at.Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, time.Hour, 90 * 24 * time.Hour}).Draw(t, "step"))
		}
		for range rapid.IntRange(0, 4).Draw(t, "series") {
			c.Series = append(c.Series, plots.Series{Name: name.Draw(t, "name"), Class: "s-first", Values: of(0, 50)})
		}
		if rapid.Bool().Draw(t, "log") {
			c.Marks, c.Format = plots.Durations(), plots.Milliseconds
		}
		rows := plots.Rows{ID: "rows", Title: c.Title, Desc: c.Desc, Head: "Topic", Unit: "Requests", Words: c.Words, Values: of(0, 6)}
		for range rapid.IntRange(0, 6).Draw(t, "rows") {
			rows.Names = append(rows.Names, name.Draw(t, "row"))
		}
		for what, drawn := range map[string]template.HTML{"bars": c.Bars(), "lines": c.Lines(), "rows": rows.Draw()} {
			if err := sound(string(drawn)); err != nil {
				t.Fatalf("%s: %v\n%.2000s", what, err, drawn)
			}
		}
	})
}

// elements are those that a plot is made of, with their attributes.
var elements = map[string]string{
	"figure": "class id", "svg": "viewbox role aria-labelledby", "title": "id", "desc": "id", "g": "", "defs": "",
	"pattern": "id width height patternunits", "path": "class d", "rect": "class x y width height fill", "line": "class x1 x2 y1 y2",
	"circle": "class cx cy r", "text": "class x y", "ul": "class", "li": "class", "details": "id", "summary": "", "span": "class",
	"div": "class id role tabindex aria-labelledby", "table": "", "caption": "id", "thead": "", "tbody": "", "tr": "", "th": "scope class", "td": "class",
	"html": "", "head": "", "body": "",
}

var lengths = regexp.MustCompile(`-?[0-9.]+(e[+-]?\d+)?|NaN|Inf`)

// sound says what is wrong with a plot.
func sound(drawn string) error {
	doc, err := html.Parse(strings.NewReader(drawn))
	if err != nil {
		return err
	}
	wide, high := 0.0, 0.0
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		may, known := elements[n.Data]
		if !known {
			return fmt.Errorf("<%s> is no part of a plot", n.Data)
		}
		at := map[string]float64{}
		for _, a := range n.Attr {
			key := strings.ToLower(a.Key)
			if !strings.Contains(" "+may+" ", " "+key+" ") {
				return fmt.Errorf("<%s %s> is no part of a plot", n.Data, a.Key)
			}
			if key == "id" {
				if ids[a.Val] {
					return fmt.Errorf("two are called %q", a.Val)
				}
				ids[a.Val] = true
			}
			if slices.Contains([]string{"x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx", "cy", "r"}, key) {
				v, err := strconv.ParseFloat(a.Val, 64)
				if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("<%s %s=%q> is no length", n.Data, a.Key, a.Val)
				}
				at[key] = v
			}
			if key == "viewbox" {
				if _, err := fmt.Sscanf(a.Val, "0 0 %g %g", &wide, &high); err != nil {
					return fmt.Errorf("viewBox %q: %w", a.Val, err)
				}
			}
			if key == "d" && n.Parent.Data != "pattern" {
				for i, number := range lengths.FindAllString(a.Val, -1) {
					v, err := strconv.ParseFloat(number, 64)
					if most := []float64{wide, high}[i%2]; err != nil || !(v >= 0 && v <= most) {
						return fmt.Errorf("the path leaves the box: %s", number)
					}
				}
			}
		}
		if n.Data == "pattern" {
			continue
		}
		for key, v := range at {
			most, long := wide, at["width"]
			if slices.Contains([]string{"y", "y1", "y2", "cy", "height"}, key) {
				most, long = high, at["height"]
			}
			if key == "width" || key == "height" {
				long = 0
			}
			if v < 0 || v+long > most+0.11 { // both are rounded to a tenth
				return fmt.Errorf("<%s %s=%v> leaves the box of %v by %v", n.Data, key, v, wide, high)
			}
		}
	}
	if wide == 0 || high == 0 {
		return fmt.Errorf("there is no box")
	}
	return nil
}

func TestASoundPlotIsToldFromOthers(t *testing.T) {
	good := string(outcomes().Bars())
	for what, c := range map[string][2]string{
		"a shape beyond the box":    {`<rect class="s-paid" x="`, `<rect class="s-paid" x="9`},
		"a number that is none":     {`height="`, `height="NaN`},
		"a style of its own":        {`<rect `, `<rect style="x" `},
		"an element from elsewhere": {`<g>`, `<g><script></script>`},
		"an id twice":               {`</svg>`, `<g id="outcomes"></g></svg>`},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if what == "an id twice" {
			elements["g"] = "id"
		}
		if bad == good || sound(bad) == nil {
			t.Errorf("%s is not found", what)
		}
	}
	elements["g"] = ""
	if err := sound(good); err != nil {
		t.Error(err)
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"0": plots.Number(0), "0.25": plots.Number(0.25), "9999": plots.Number(9999), "12.5k": plots.Number(12500), "3M": plots.Number(3e6),
		"2G": plots.Number(2e9), "1.0e+300": plots.Number(1e300),
		"0 ms": plots.Milliseconds(0), "20 ms": plots.Milliseconds(20), "1.5 s": plots.Milliseconds(1500), "3 min": plots.Milliseconds(180e3), "2 h": plots.Milliseconds(7200e3), "10 d": plots.Milliseconds(864e6),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
