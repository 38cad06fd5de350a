package browsertest

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// policy is the console's.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// A check that finds nothing says something only if it finds what is there.
func TestTheBrowserTellsWhatIsPlanted(t *testing.T) {
	const sound = `<main><h1>A page</h1><p><a href="/next">next</a></p></main>`
	trouble := func(v *visitor) []string { return v.troubles() }
	fit := func(v *visitor) []string { return v.unfit(everyRule) }
	astray := func(v *visitor) []string { return v.astray() }
	wide := func(v *visitor) []string { v.widens(360); return v.tooWide() }
	cases := map[string]struct {
		body  string
		check func(*visitor) []string
		want  string // in a finding; none where it is empty
	}{
		"a sound page has no trouble":             {sound, trouble, ""},
		"a sound page is fit":                     {sound, fit, ""},
		"a sound page leads nobody astray":        {sound, astray, ""},
		"a sound page is not too wide":            {sound, wide, ""},
		"an image of another host":                {sound + `<img src="http://203.0.113.7/x.png" alt="x">`, trouble, "203.0.113.7"},
		"a script in the page":                    {sound + `<script>1</script>`, trouble, "inline script"},
		"a style on an element":                   {sound + `<p style="color:red">x</p>`, trouble, "inline style"},
		"a message on the console":                {sound + `<script src="/says.js"></script>`, trouble, `console.log: "hello"`},
		"an exception":                            {sound + `<script src="/throws.js"></script>`, trouble, "exception: Uncaught Error: broken"},
		"an image that is not there":              {sound + `<img src="/missing.png" alt="x">`, trouble, "/missing.png answers 404"},
		"a field without a label":                 {`<main><h1>A page</h1><input name="x"></main>`, fit, "label:"},
		"a text that can hardly be read":          {`<main><h1>A page</h1><p class="pale">pale</p></main>`, fit, "color-contrast:"},
		"a text that can hardly be read at night": {`<main><h1>A page</h1><p class="night">pale</p></main>`, func(v *visitor) []string { v.likesDark(true); return v.unfit(colours) }, "color-contrast:"},
		"a page without a heading":                {`<main><p>text</p></main>`, fit, "page-has-heading-one:"},
		"an order of its own":                     {`<main><h1>A page</h1><a href="/a">first</a> <a href="/b" tabindex="1">second</a></main>`, astray, "Tab came to 1"},
		"a focus that nobody sees":                {`<main><h1>A page</h1><a class="unmarked" href="/a">first</a></main>`, astray, "nothing shows"},
		"a link outside of the window":            {`<main><h1>A page</h1><a class="away" href="/a">first</a></main>`, astray, "not to be seen"},
		"a trap":                                  {`<main><h1>A page</h1><input id="trap" aria-label="x"><a href="/a">first</a></main><script src="/trap.js"></script>`, astray, "Tab came to 1"},
		"a table that is too wide":                {`<main><h1>A page</h1><p class="broad">text</p></main>`, wide, "wide in a window of 360"},
	}
	files := map[string]string{
		"/says.js":   `console.log("hello")`,
		"/throws.js": `throw new Error("broken")`,
		"/trap.js":   `document.getElementById("trap").addEventListener("keydown", (e) => e.preventDefault())`,
		"/icon.svg":  `<svg xmlns="http://www.w3.org/2000/svg"/>`,
		"/style.css": `:root { color-scheme: light dark } body { background: Canvas; color: CanvasText } .pale { color: #aaa; background: #fff } .night { color: #444 }
			:focus-visible { outline: 2px solid Highlight } .unmarked:focus-visible { outline: none } .away { position: absolute; left: -500px } .broad { width: 900px }`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		name, isCase := strings.CutPrefix(r.URL.Path, "/case/")
		switch text, isFile := files[r.URL.Path]; {
		case isFile && strings.HasSuffix(r.URL.Path, ".css"):
			w.Header().Set("Content-Type", "text/css")
			fmt.Fprint(w, text)
		case isFile && strings.HasSuffix(r.URL.Path, ".svg"):
			w.Header().Set("Content-Type", "image/svg+xml")
			fmt.Fprint(w, text)
		case isFile:
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, text)
		case isCase:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, `<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width"><link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/style.css"></head><body>%s</body></html>`, cases[name].body)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	v := browserFor(t).opens(t, server.URL, likes{})
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			c := cases[name]
			v.in(t, func(v *visitor) {
				v.likesDark(false)
				v.widens(1280)
				v.goes("/case/" + url.PathEscape(name))
				found := c.check(v)
				v.forgets()
				if c.want == "" && len(found) > 0 || c.want != "" && !strings.Contains(strings.Join(found, "\n"), c.want) {
					t.Errorf("found %q, and not %q", found, c.want)
				}
			})
		})
	}
}
