package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/timeline"
	"golang.org/x/text/language"
)

var (
	//go:embed pages/*.html
	pageFiles embed.FS
	//go:embed assets
	assetFiles embed.FS
	//go:embed zh.json
	chinese []byte

	// words are the texts of the pages in the languages other than English, by the
	// English ones.
	words = map[string]map[string]string{"zh": readWords(chinese)}

	languages = []language.Tag{language.English, language.SimplifiedChinese}
	matcher   = language.NewMatcher(languages)

	templates = map[string]*template.Template{"en": parse("en"), "zh": parse("zh")}
)

func readWords(file []byte) map[string]string {
	var all map[string]string
	if err := json.Unmarshal(file, &all); err != nil {
		panic("zh.json: " + err.Error())
	}
	return all
}

// wished is the language that a browser wishes for, as far as there is one: en or zh.
func wished(r *http.Request) string {
	tags, _, _ := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	_, i, _ := matcher.Match(tags...)
	return []string{"en", "zh"}[i]
}

// say is a text in a language, its values set in as by fmt.Sprintf.
func say(lang, text string, values ...any) string {
	if other, ok := words[lang][text]; ok {
		text = other
	}
	if len(values) == 0 {
		return text
	}
	return fmt.Sprintf(text, values...)
}

// tags are the languages as HTML names them.
var tags = map[string]string{"en": "en", "zh": "zh-CN"}

// tongue is the language of a text that may have no translation, as HTML names it.
func tongue(lang, text string) string {
	if _, ok := words[lang][text]; ok {
		return tags[lang]
	}
	return tags["en"]
}

// badge is a state: a sign, a word and, by class (good, paid, warn, bad or a state
// that has one), a colour.
func badge(lang string, class, state any) template.HTML {
	return template.HTML(fmt.Sprintf(`<span class="state %s"><span aria-hidden="true">%s</span> %s</span>`,
		html.EscapeString(fmt.Sprint(class)), mark(class), html.EscapeString(say(lang, fmt.Sprint(state)))))
}

func parse(lang string) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"t":      func(text string, values ...any) string { return say(lang, text, values...) },
		"word":   func(text any) string { return say(lang, fmt.Sprint(text)) },
		"tongue": func(text string) string { return tongue(lang, text) },
		"badge":  func(class, state any) template.HTML { return badge(lang, class, state) },
		"when":   when,
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"age":    func(t time.Time) string { return age(lang, t) },
		"num":    num,
		"dash":   dash,
		"place":  place,
		"link":   link,
		"mark":   mark,
		"plot":   func(d *nowPage, name string) template.HTML { return d.plot(lang, name) },
		"tiers":  func(d *nowPage) template.HTML { return d.tiers(lang) },
	}).Funcs(more()).ParseFS(pageFiles, "pages/*.html"))
}

// render writes a template in the language of the view, around the page's own.
func render(w io.Writer, name string, v view) error {
	if v.Problem == "" {
		var own strings.Builder
		if err := templates[v.Lang].ExecuteTemplate(&own, v.Page.Name(), v); err != nil {
			return err
		}
		v.Main = template.HTML(own.String()) // by html/template, just now
	}
	return templates[v.Lang].ExecuteTemplate(w, name, v)
}

// when is a moment, to the second and in UTC; the script adds the local one.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return "-"
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339Nano) + `">` + t.Format("2006-01-02 15:04:05Z") + `</time>`)
}

// age is how long ago something was, or how long it takes.
func age(lang string, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if d := time.Since(t); d >= 0 {
		return say(lang, "%s ago", inSeconds(lang, d))
	}
	return say(lang, "in %s", inSeconds(lang, time.Until(t)))
}

// inSeconds is a duration to the second, in the units of the language.
func inSeconds(lang string, d time.Duration) string {
	text := strings.Replace(timeline.Span(d.Round(time.Second)), ".0 s", " s", 1)
	if lang == "zh" {
		return chineseUnits.Replace(text)
	}
	return text
}

// chineseUnits are those of timeline.Span.
var chineseUnits = strings.NewReplacer(" d", " 天", " h", " 小时", " min", " 分钟", " s", " 秒")

// num writes a whole number with separators: 1,234,567.
func num(n any) string {
	if v, is := n.(*int64); is {
		n = *v
	}
	text := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

func dash(s any) string {
	if text := fmt.Sprint(s); text != "" {
		return text
	}
	return "-"
}

// place is where a record stands, as the commands take it.
func place(partition int, offset int64) string {
	return strconv.Itoa(partition) + ":" + strconv.FormatInt(offset, 10)
}

// link is a path with a query of names and values; empty values are left out.
func link(path string, pairs ...any) (string, error) {
	if len(pairs)%2 != 0 {
		return "", fmt.Errorf("link %s: a name without a value", path)
	}
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if value := fmt.Sprint(pairs[i+1]); value != "" {
			q.Add(fmt.Sprint(pairs[i]), value)
		}
	}
	if len(q) == 0 {
		return path, nil
	}
	return path + "?" + q.Encode(), nil
}

// mark is the sign that stands before a state, so that its colour says nothing that
// is not said otherwise.
func mark(state any) string {
	switch fmt.Sprint(state) {
	case string(events.Closed), "done", "good":
		return "✓"
	case string(events.Paid):
		return "¥"
	case string(events.Failed), "lost", "contradictory", "stopped", "unplanned", "bad":
		return "✗"
	case "unproven", "paused", "warn":
		return "!"
	}
	return "…"
}

// assets serves the style sheet, the script and the icon, which stand in the program:
// a browser asks whether they have changed, and is told by their hash.
func assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/assets/")
		file, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		sum := sha256.Sum256(file)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file))
	})
}
