package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/access"
	"github.com/closeorder/closeorder/internal/status"
	"golang.org/x/net/html"
)

// hostile are values that somebody may have written into a record, a header or a
// reply.
var hostile = map[string]string{
	"markup":                    `<script>alert(1)</script><img src=x onerror=alert(1)><!-- ]]>`,
	"the end of an attribute":   `"><svg onload=alert(1)>`,
	"the end of another one":    `' onmouseover='alert(1)' style='`,
	"the end of an element":     `</td></table></main></details></title></textarea></script><h1>x</h1>`,
	"an address that runs":      `javascript:alert(document.domain)`,
	"an address of others":      `//evil.example/x?a=b#c`,
	"a template":                `{{.Build}}{{template "layout"}}%s%!d(string=x)`,
	"control characters":        "a\x00b\x1b[2J\x07\r\nevent: page\ndata: <b>\n\nx",
	"text that turns":           "\u202emoc.elpmaxe\u202c\u2066a\u2069\u200f",
	"text without a width":      "10\u200b01\ufeff\u00ad\u2060\u3164\u2800\ufe0f\U000e0041",
	"ends of lines of others":   "a\u2028b\u2029c\u0085d",
	"bytes that are no text":    "\xff\xfe\xc0\xaf\xed\xa0\x80",
	"entities":                  `&lt;b&gt;&#x202e;&#0;&quot;&amp;amp;`,
	"a very long one":           strings.Repeat("W", 3000),
	"a long one in small parts": strings.Repeat("字 ", 300) + "字",
}

// fill fills all that is exported in v, and in what it holds, with a text. Numbers
// are 3, and count up in lists.
func fill(v reflect.Value, text string, flag bool, at time.Time, n int) {
	if !v.CanSet() {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(at))
		return
	case reflect.TypeFor[error]():
		v.Set(reflect.ValueOf(errors.New(text)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(flag)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, flag, at, n)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, text, flag, at, n)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text, flag, at, n+i)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, text, flag, at, n)
		fill(value, text, flag, at, n)
		v.SetMapIndex(key, value)
	}
}

// filled is a server all of whose answers hold a text.
func filled(t *testing.T, text string, flag bool, at time.Time) *fakes {
	f := newFakes(t)
	for _, into := range []any{
		&f.index.progress, &f.index.requests, &f.index.at, &f.index.places, &f.index.letters, &f.index.groups, &f.index.minutes,
		&f.desk.replays, &f.desk.steps, &f.desk.audits, &f.desk.entries, &f.topics.report, &f.topics.letter,
	} {
		fill(reflect.ValueOf(into).Elem(), text, flag, at, 3)
	}
	report := &status.Report{}
	fill(reflect.ValueOf(report).Elem(), text, flag, at, 3)
	report.Members[1].Foreign, report.Members[1].Says.Stuck = false, "" // one that speaks
	var sample Sample
	fill(reflect.ValueOf(&sample).Elem(), text, flag, at, 3)
	f.looks.is = lookedAt{Report: report, Ended: at}
	if flag {
		f.looks.is.Trouble = text
	}
	f.looks.samples = []Sample{sample, sample}
	return f
}

// question is the query with which each page is asked.
func question(p *page, text string) string {
	q := url.Values{"at": {"3:3"}, "id": {text}}
	for _, name := range []string{"q", "out_trade_no", "mch_id", "sub_mch_id", "code", "to"} {
		q.Set(name, text)
	}
	if p.Path == "/audit" {
		q.Set("id", "3")
	}
	return "?" + q.Encode()
}

// harmless is what takes the place of a hostile text, to see what a page is made of.
const harmless = "x"

func TestNoValueBecomesMarkupOrHides(t *testing.T) {
	kinds := map[bool]map[string]string{true: {}, false: {}} // of harmless pages, by page and language
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	each := func(f *fakes, text string, see func(name string, w *httptest.ResponseRecorder), langs ...string) {
		for _, p := range f.pages() {
			for _, lang := range langs {
				see(p.Path+" "+lang, f.get(p.Path+question(p, text), "Accept-Language", lang))
			}
		}
	}
	for _, flag := range []bool{true, false} {
		each(filled(t, harmless, flag, at), harmless, func(name string, w *httptest.ResponseRecorder) {
			if w.Code != http.StatusOK {
				t.Errorf("%s cannot be made: %d %s", name, w.Code, w.Body)
			}
			kinds[flag][name] = skeleton(nodes(t, w))
		}, "en", "zh-CN")
	}
	if len(kinds[true]) < 20 {
		t.Fatalf("%d pages were seen", len(kinds[true]))
	}
	for what, text := range hostile {
		flags := []bool{true, false}
		if !slices.Contains([]string{"markup", "the end of an attribute", "text that turns", "bytes that are no text"}, what) {
			flags = flags[:1] // the templates are the same, and these texts are enough for the other half
		}
		for _, flag := range flags {
			t.Run(fmt.Sprintf("%s, %v", what, flag), func(t *testing.T) {
				langs := []string{"en"}
				if what == "markup" { // one is enough: the templates are the same
					langs = append(langs, "zh-CN")
				}
				each(filled(t, text, flag, at), text, func(name string, w *httptest.ResponseRecorder) {
					if w.Code >= http.StatusInternalServerError {
						t.Errorf("%s: %d", name, w.Code)
						return
					}
					doc := nodes(t, w)
					if err := plainNodes(doc); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					// A page that refuses a value is another one.
					if is, want := skeleton(doc), kinds[flag][name]; w.Code == http.StatusOK && is != want {
						t.Errorf("%s is made of other elements: %s", name, differ(is, want))
					}
				}, langs...)
			})
		}
	}
}

func nodes(t *testing.T, w *httptest.ResponseRecorder) *html.Node {
	t.Helper()
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// skeleton is what a page is made of: elements, the names of their attributes, and
// where they end.
func skeleton(doc *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node, int)
	walk = func(n *html.Node, depth int) {
		if n.Type == html.CommentNode {
			b.WriteString("comment\n")
		}
		if n.Type == html.ElementNode {
			names := make([]string, 0, len(n.Attr))
			for _, a := range n.Attr {
				names = append(names, a.Key)
			}
			slices.Sort(names)
			fmt.Fprintf(&b, "%d %s %s\n", depth, n.Data, names)
		}
		for c := range n.ChildNodes() {
			walk(c, depth+1)
		}
	}
	walk(doc, 0)
	return b.String()
}

// differ is the first line in which two texts differ.
func differ(is, want string) string {
	a, b := strings.Split(is, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q, want %q, behind %q", a[i], b[i], a[max(0, i-3):i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// plain says what of a page could run, lead elsewhere or hide.
func plain(page string) error {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return err
	}
	return plainNodes(doc)
}

func plainNodes(doc *html.Node) error {
	hides := func(text string) error {
		if i := strings.IndexFunc(text, hidden); i >= 0 {
			return fmt.Errorf("%q is not seen, in %.80q", []rune(text[i:])[0], text[max(0, i-20):])
		}
		return nil
	}
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			if err := hides(n.Data); err != nil {
				return err
			}
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "script" {
			if len(n.Attr) == 0 || n.Attr[0].Key != "src" || n.FirstChild != nil {
				return errors.New("a script stands in the page")
			}
		}
		for _, a := range n.Attr {
			if err := hides(a.Val); err != nil {
				return err
			}
			switch {
			case a.Key == "style" || n.Data == "style" || strings.HasPrefix(a.Key, "on"):
				return fmt.Errorf("<%s %s>", n.Data, a.Key)
			case slices.Contains([]string{"href", "src", "action", "formaction", "data", "srcset", "poster"}, a.Key):
				to, err := url.Parse(a.Val)
				if err != nil || to.Scheme != "" || to.Host != "" || !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "?") {
					return fmt.Errorf("<%s %s=%.80q> leads elsewhere", n.Data, a.Key, a.Val)
				}
			case a.Key == "http-equiv" || n.Data == "base" || n.Data == "iframe":
				return fmt.Errorf("<%s %s>", n.Data, a.Key)
			}
		}
	}
	return nil
}

func TestWhatCouldRunLeadElsewhereOrHideIsFound(t *testing.T) {
	for what, page := range map[string]string{
		"a script":                        `<script>x</script>`,
		"an attribute that runs":          `<p onclick="x">`,
		"a style":                         `<p style="x">`,
		"an address that runs":            `<a href="javascript:x">`,
		"an address of others":            `<a href="//evil.example/">`,
		"an address with a hidden scheme": "<a href=\" \tjavascript:x\">",
		"a form that is sent elsewhere":   `<form action="https://evil.example/">`,
		"text that turns":                 "<p>\u202e",
		"text that turns, as an entity":   `<p title="&#x202e;">`,
		"a page that goes elsewhere":      `<meta http-equiv="refresh" content="0;url=//evil.example">`,
	} {
		if plain(page) == nil {
			t.Errorf("%s is not found", what)
		}
	}
	if err := plain(`<script src="/assets/app.js"></script><a href="/order?a=b">字 ¥</a>`); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotSeenIsShownByItsNumber(t *testing.T) {
	for text, want := range map[string]string{
		"T-1 字 ¥ é ñ 😀 — “a”\n\tb":   "", // the empty one: as it is
		"\u3000\u00a0":               "",
		"e\u0301 नी":                 "", // marks that are seen
		"":                           "",
		"a\x00b":                     `a\u{0000}b`,
		"\x1b[2J\r":                  `\u{001b}[2J\u{000d}`,
		"\x7f\u0085":                 `\u{007f}\u{0085}`,
		"\u202eabc\u2066":            `\u{202e}abc\u{2066}`,
		"a\u200bb\ufeff\u00ad\u2060": `a\u{200b}b\u{feff}\u{00ad}\u{2060}`,
		"\u2028\u2029":               `\u{2028}\u{2029}`,
		"\u115f\u3164\uffa0\u034f":   `\u{115f}\u{3164}\u{ffa0}\u{034f}`, // letters and marks that look like nothing
		"\u2800\ufe0f\U000e0041":     `\u{2800}\u{fe0f}\u{e0041}`,
		"\ue000\U0010ffff":           `\u{e000}\u{10ffff}`,
		"\xff字\xed\xa0\x80":          `\xff字\xed\xa0\x80`,
		"\ufffd":                     `\u{fffd}`, // as it may stand for anything
	} {
		if want == "" {
			want = text
		}
		if got := string(visible([]byte(text))); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestDocumentsAreJSONWhateverTheyHold(t *testing.T) {
	times := map[string]time.Time{"a time": noon, "a time beyond the year 9999": time.UnixMilli(1 << 60), "a time before the year 0": time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)}
	for what, text := range hostile {
		for when, at := range times {
			if when != "a time" && what != "markup" {
				continue // one text is enough for the times
			}
			f := filled(t, text, true, at)
			for _, p := range f.pages() {
				if p.json() == "" {
					continue
				}
				w := f.get(p.json() + question(p, text))
				var doc map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code >= http.StatusInternalServerError {
					t.Errorf("%s with %s and %s: %d, %v: %.300s", p.json(), what, when, w.Code, err, w.Body)
				}
				if when == "a time" {
					continue
				}
				if w := f.get(p.Path + question(p, text)); w.Code >= http.StatusInternalServerError {
					t.Errorf("%s with %s and %s: %d", p.Path, what, when, w.Code)
				}
			}
		}
	}
}

// flushed cuts off who follows a page after so many events.
type flushed struct {
	*httptest.ResponseRecorder
	left int
	end  context.CancelFunc
}

func (w *flushed) Flush() {
	if w.left--; w.left == 0 {
		w.end()
	}
}

func TestAnEventIsOneWhateverItHolds(t *testing.T) {
	for what, text := range hostile {
		f := filled(t, text, true, noon)
		for _, p := range f.pages() {
			if !p.Live {
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, p.Path+question(p, text), nil)
			for name, value := range map[string]string{"Accept": "text/event-stream", "X-User": "wang", "X-Role": string(access.Operator)} {
				r.Header.Set(name, value)
			}
			w := &flushed{httptest.NewRecorder(), 1, cancel}
			f.ServeHTTP(w, r)
			body := w.Body.String()
			name, data, ok := strings.Cut(body, "\n")
			if !ok || name != "event: page" && name != "event: trouble" || !strings.HasSuffix(data, "\n\n") || strings.ContainsAny(body, "\r\x00") {
				t.Errorf("%s with %s: %.200q", p.Path, what, body)
				continue
			}
			var main strings.Builder
			for line := range strings.SplitSeq(strings.TrimSuffix(data, "\n\n"), "\n") {
				line, ok := strings.CutPrefix(line, "data: ")
				if !ok {
					t.Fatalf("%s with %s: the line %q ends the event", p.Path, what, line)
				}
				main.WriteString(line + "\n")
			}
			if err := plain(main.String()); err != nil && name == "event: page" {
				t.Errorf("%s with %s: %v", p.Path, what, err)
			}
		}
	}
}
